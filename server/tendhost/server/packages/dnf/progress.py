"""dnf's progress, read from the lines of its log as they come."""

import re

from tendhost.server.packages.progress import Phase, TransactionProgress

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
_LONGEST = 64 * 1024


class DnfLogParser:
    """Takes the log in pieces of any size and hands out what is complete."""

    def __init__(self) -> None:
        self._rest = b""

    @property
    def held(self) -> int:
        """Bytes of a line that is not complete yet."""
        return len(self._rest)

    def feed(self, data: bytes) -> list[TransactionProgress]:
        """The progress that `data` completes. Lines of other kinds are passed over."""
        *lines, rest = (self._rest + data).replace(b"\r", b"\n").split(b"\n")
        self._rest = rest[:_LONGEST]
        texts = (line[:1000].decode("utf-8", "replace") for line in lines)
        return [found for text in texts if (found := _parse_line(text)) is not None]


def _parse_line(line: str) -> TransactionProgress | None:
    if match := _FETCHED.match(line):
        return _step(Phase.DOWNLOAD, "", match[1], match[2], line)
    if match := _DOING.match(line):
        phase = _PHASES.get(match[1], Phase.OTHER)
        return _step(phase, _package(match[2]), match[3], match[4], line)
    if match := _FIVE.match(line):
        if match[3] is None:
            return _step(Phase.DOWNLOAD, "", match[1], match[2], line)
        phase = _PHASES.get(match[3], Phase.OTHER)
        return _step(phase, _package(match[4]), match[1], match[2], line)
    return None


def _step(phase: Phase, package: str, number: str, total: str, line: str) -> TransactionProgress:
    percent = min(100.0, 100.0 * int(number) / max(1, int(total)))
    return TransactionProgress(
        phase=phase, package=package, percent=percent, text=" ".join(line.split())
    )


def _package(nevra: str) -> str:
    # A name of dnf 5's may be cut by its column: what is left of it tells enough.
    parts = nevra.rsplit("-", 2)
    return parts[0] if len(parts) == 3 else nevra
