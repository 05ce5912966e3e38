"""zypper's progress, read from the lines of its log as they come."""

import re

from tendhost.server.packages.progress import Phase, TransactionProgress

# Retrieving package tb-simple-2.0-1.noarch (6/8),   6.0 KiB (    1   B unpacked)
# Retrieving: tb-simple-2.0-1.noarch (Fleet) (6/8),   6.0 KiB          (zypper 1.14.60 and later)
# In cache tb-simple-2.0-1.noarch.rpm (6/8),   6.0 KiB (    1   B unpacked)
# ( 3/12) Installing: tb-conf-2.0-1.noarch [........done]
# (1/2) Removing tb-newdep-2.0-1.noarch [.....done]
_FETCHED = re.compile(r"(?:Retrieving(?: package|:)|In cache) .{1,600}? \((\d{1,5})/(\d{1,5})\)")
_DOING = re.compile(r"\( *(\d{1,5})/(\d{1,5})\) ([A-Z][a-z]+):? (\S+)")
_PHASES = {"Installing": Phase.UNPACK, "Removing": Phase.REMOVE}
_LONGEST = 64 * 1024


class ZypperLogParser:
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
        phase = _PHASES.get(match[3], Phase.OTHER)
        package = match[4].rsplit("-", 2)[0]
        failed = line.rstrip().endswith("error]")
        return _step(Phase.ERROR if failed else phase, package, match[1], match[2], line)
    return None


def _step(phase: Phase, package: str, number: str, total: str, line: str) -> TransactionProgress:
    percent = min(100.0, 100.0 * int(number) / max(1, int(total)))
    return TransactionProgress(
        phase=phase, package=package, percent=percent, text=" ".join(line.split())
    )
