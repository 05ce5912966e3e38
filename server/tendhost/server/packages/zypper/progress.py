"""Progress of zypper, parsed from the lines of its log."""

import re

from tendhost.server.packages.progress import (
    Phase,
    RedrawnLineParser,
    TransactionProgress,
    numbered_step,
)

# Retrieving package tb-simple-2.0-1.noarch (6/8),   6.0 KiB (    1   B unpacked)
# Retrieving: tb-simple-2.0-1.noarch (Fleet) (6/8),   6.0 KiB          (zypper 1.14.60 and later)
# In cache tb-simple-2.0-1.noarch.rpm (6/8),   6.0 KiB (    1   B unpacked)
# ( 3/12) Installing: tb-conf-2.0-1.noarch [........done]
# (1/2) Removing tb-newdep-2.0-1.noarch [.....done]
_FETCHED = re.compile(r"(?:Retrieving(?: package|:)|In cache) .{1,600}? \((\d{1,5})/(\d{1,5})\)")
_DOING = re.compile(r"\( *(\d{1,5})/(\d{1,5})\) ([A-Z][a-z]+):? (\S+)")
_PHASES = {"Installing": Phase.UNPACK, "Removing": Phase.REMOVE}


class ZypperLogParser(RedrawnLineParser):
    """Parses the log of `zypper`."""

    def parse_line(self, line: str) -> TransactionProgress | None:
        """See LineParser."""
        if match := _FETCHED.match(line):
            return numbered_step(Phase.DOWNLOAD, "", match[1], match[2], line)
        if match := _DOING.match(line):
            phase = _PHASES.get(match[3], Phase.OTHER)
            package = match[4].rsplit("-", 2)[0]
            failed = line.rstrip().endswith("error]")
            return numbered_step(
                Phase.ERROR if failed else phase, package, match[1], match[2], line
            )
        return None
