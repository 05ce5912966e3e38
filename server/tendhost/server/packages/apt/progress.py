"""Progress of apt, parsed from the lines of `APT::Status-Fd`.

The lines are those of apt's README.progress-reporting:

    dlstatus:NUMBER:PERCENT:TEXT           pmstatus:PACKAGE:PERCENT:TEXT
    pmerror:PACKAGE:PERCENT:TEXT           pmconffile:FILE:PERCENT:'CURRENT' 'NEW' EDITED SHIPPED
"""

import re

from tendhost.server.packages.apt.failures import package_name
from tendhost.server.packages.progress import LineParser, Phase, TransactionProgress

_LINE = re.compile(r"(dlstatus|pmstatus|pmerror|pmconffile):(.*?):(\d{1,3}(?:\.\d+)?):(.*)\Z")
_PHASES = (
    (("Preparing to configure", "Configuring", "Installed"), Phase.CONFIGURE),
    (("Preparing for removal", "Removing", "RemovedHost", "Preparing to completely", "Completely"),
     Phase.REMOVE),
    (("Installing", "Preparing", "Unpacking"), Phase.UNPACK),
)  # fmt: skip


class AptStatusParser(LineParser):
    """Parses the stream of `APT::Status-Fd`."""

    longest_line = 4096
    """A status line holds a path and a few words."""

    def parse_line(self, line: str) -> TransactionProgress | None:
        """See LineParser."""
        match = _LINE.match(line.rstrip("\r"))
        if match is None:
            return None
        kind, package, percent, text = match.groups()
        if kind == "dlstatus":
            package, phase = "", Phase.DOWNLOAD
        elif kind == "pmerror":
            package, phase = package_name(package), Phase.ERROR
        elif kind == "pmconffile":
            phase = Phase.CONFFILE
        else:
            phase = next((p for starts, p in _PHASES if text.startswith(starts)), Phase.OTHER)
        return TransactionProgress(
            phase=phase, package=package, percent=min(float(percent), 100.0), text=text
        )
