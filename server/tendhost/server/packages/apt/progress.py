"""apt's progress as it comes through `APT::Status-Fd`, read piece by piece.

The lines are those of apt's README.progress-reporting:

    dlstatus:NUMBER:PERCENT:TEXT           pmstatus:PACKAGE:PERCENT:TEXT
    pmerror:PACKAGE:PERCENT:TEXT           pmconffile:FILE:PERCENT:'CURRENT' 'NEW' EDITED SHIPPED
"""

import re

from tendhost.server.packages.apt.failures import package_name
from tendhost.server.packages.progress import Phase, TransactionProgress

_LINE = re.compile(r"(dlstatus|pmstatus|pmerror|pmconffile):(.*?):(\d{1,3}(?:\.\d+)?):(.*)\Z")
_PHASES = (
    (("Preparing to configure", "Configuring", "Installed"), Phase.CONFIGURE),
    (("Preparing for removal", "Removing", "Removed", "Preparing to completely", "Completely"),
     Phase.REMOVE),
    (("Installing", "Preparing", "Unpacking"), Phase.UNPACK),
)  # fmt: skip
_LONGEST = 64 * 1024
_LONGEST_LINE = 4096
"""Of what is taken for a status line: a path and a few words."""


class AptStatusParser:
    """Takes the status stream in pieces of any size and hands out what is complete."""

    def __init__(self) -> None:
        self._rest = b""

    @property
    def held(self) -> int:
        """Bytes of a line that is not complete yet."""
        return len(self._rest)

    def feed(self, data: bytes) -> list[TransactionProgress]:
        """The progress that `data` completes. Lines of other kinds are passed over."""
        *lines, rest = (self._rest + data).split(b"\n")
        # A line without an end is no status line; what follows its cut is passed over as well.
        self._rest = rest[:_LONGEST]
        return [found for line in lines if (found := _parse_line(line)) is not None]


def _parse_line(line: bytes) -> TransactionProgress | None:
    match = _LINE.match(line[:_LONGEST_LINE].decode("utf-8", "replace").rstrip("\r"))
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
