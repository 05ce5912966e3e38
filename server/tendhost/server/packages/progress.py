"""Progress of a package transaction or compose update, and the parser of the lines that show it."""

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Protocol

from tendhost.server.domain.bounds import LONGEST_NAME, text
from tendhost.server.packages.terminal import plain_text


class Phase(StrEnum):
    """What the package manager is doing."""

    DOWNLOAD = "download"
    UNPACK = "unpack"
    CONFIGURE = "configure"
    REMOVE = "remove"
    COMPOSE = "compose"
    """A compose project, named in `package` by its folder."""
    OTHER = "other"
    """Triggers, scripts, and what else has no name of its own."""
    CONFFILE = "conffile"
    """A question about a configuration file, named in `package`."""
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionProgress:
    """One step forward. Download and installation count from 0 to 100 each."""

    phase: Phase
    package: str
    """Empty while downloading, for several packages come at once."""
    percent: float
    """It may step back a little: apt counts some of the work only once it comes up."""
    text: str

    def __post_init__(self) -> None:
        # Package managers tell steps by the thousand, and each of them becomes an event.
        object.__setattr__(self, "package", text(self.package, most=LONGEST_NAME))
        object.__setattr__(self, "text", text(self.text, most=LONGEST_NAME))


class ProgressParser(Protocol):
    """Parses what a command prints, in pieces of any size, and returns the progress in it."""

    @property
    def held(self) -> int:
        """Bytes of a line that is not complete yet."""
        ...

    def feed(self, data: bytes) -> list[TransactionProgress]:
        """The progress that `data` completes. Lines of other kinds are passed over."""
        ...


class ProgressSource(Protocol):
    """A kind of job whose output shows its progress."""

    @property
    def progress_in_log(self) -> bool:
        """Whether progress is in the job's standard error; else it is in its standard output."""
        ...

    def progress_parser(self) -> ProgressParser:
        """A new parser of that output."""
        ...


LONGEST_HELD = 64 * 1024
"""Bytes that are held of a line without an end: no line of progress is as long, and memory is bounded."""


class LineParser(ABC):
    """A ProgressParser of output in which each line shows at most one step."""

    longest_line: ClassVar[int] = 1000
    """Bytes of a line that are parsed; what follows them is cut off."""
    line_ends: ClassVar[re.Pattern[bytes]] = re.compile(rb"\n")

    def __init__(self) -> None:
        self._rest = b""

    @property
    def held(self) -> int:
        """Bytes of a line that is not complete yet."""
        return len(self._rest)

    def feed(self, data: bytes) -> list[TransactionProgress]:
        """The progress that `data` completes. Lines of other kinds are skipped."""
        *lines, rest = self.line_ends.split(self._rest + data)
        # The rest of a line that is cut here is skipped as well, as no line begins in its middle.
        self._rest = rest[:LONGEST_HELD]
        texts = (plain_text(line[: self.longest_line]) for line in lines)
        return [step for text in texts if (step := self.parse_line(text)) is not None]

    @abstractmethod
    def parse_line(self, line: str) -> TransactionProgress | None:
        """The step that a line without its end shows; None for a line of another kind."""


class RedrawnLineParser(LineParser):
    """A LineParser for commands that draw the same line again after a carriage return."""

    line_ends = re.compile(rb"[\r\n]")


def numbered_step(
    phase: Phase, package: str, number: str, total: str, line: str
) -> TransactionProgress:
    """The step that a line such as "(3/12) Installing: …" shows, as `number` of `total`."""
    percent = min(100.0, 100.0 * int(number) / max(1, int(total)))
    text = " ".join(line.split())
    return TransactionProgress(phase=phase, package=package, percent=percent, text=text)
