"""Progress of dnf, parsed from the lines of its log."""

import re

from tendhost.server.packages.progress import (
    Phase,
    RedrawnLineParser,
    TransactionProgress,
    numbered_step,
)

# (3/12): tb-simple-2.0-1.noarch.rpm      5.9 MB/s | 6.0 kB     00:00
#   Upgrading        : tb-simple-2.0-1.noarch                                6/15
# [ 3/12] tb-simple-0:2.0-1.noarch        100% |  10.0 KiB/s |   6.0 KiB |  00m00s    (dnf 5)
# [ 6/15] Upgrading tb-simple-0:2.0-1.noa 100% |  10.0 KiB/s |   6.0 KiB |  00m00s    (dnf 5)
_FETCHED = re.compile(r"\((\d{1,5})/(\d{1,5})\): \S+\.rpm\s")
_DOING = re.compile(r" +([A-Z][a-z]+(?: [a-z]+)?) *: (\S*) +(\d{1,5})/(\d{1,5}) *\Z")
_FIVE = re.compile(r"\[ *(\d{1,5})/(\d{1,5})\] (?:([A-Z][a-z]+) )?(\S+) +(\d{1,3})%")
_PHASES = {
    "Installing": Phase.UNPACK,
    "Upgrading": Phase.UNPACK,
    "Downgrading": Phase.UNPACK,
    "Reinstalling": Phase.UNPACK,
    "Running scriptlet": Phase.CONFIGURE,
    "Cleanup": Phase.REMOVE,
    "Removing": Phase.REMOVE,
    "Erasing": Phase.REMOVE,
    "Obsoleting": Phase.REMOVE,
}


class DnfLogParser(RedrawnLineParser):
    """Parses the log of `dnf`."""

    def parse_line(self, line: str) -> TransactionProgress | None:
        """See LineParser."""
        if match := _FETCHED.match(line):
            return numbered_step(Phase.DOWNLOAD, "", match[1], match[2], line)
        if match := _DOING.match(line):
            phase = _PHASES.get(match[1], Phase.OTHER)
            return numbered_step(phase, _package(match[2]), match[3], match[4], line)
        if match := _FIVE.match(line):
            if match[3] is None:
                return numbered_step(Phase.DOWNLOAD, "", match[1], match[2], line)
            phase = _PHASES.get(match[3], Phase.OTHER)
            return numbered_step(phase, _package(match[4]), match[1], match[2], line)
        return None


def _package(nevra: str) -> str:
    # A name of dnf 5's may be cut by its column: what is left of it tells enough.
    parts = nevra.rsplit("-", 2)
    return parts[0] if len(parts) == 3 else nevra
