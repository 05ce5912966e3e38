"""How far a package manager says that it is."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from tendhost.server.domain.bounds import LONGEST_NAME, text


class Phase(StrEnum):
    """What the package manager is at."""

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
    """Takes what a package manager prints in pieces of any size, and hands out what is complete."""

    @property
    def held(self) -> int:
        """Bytes of a line that is not complete yet."""
        ...

    def feed(self, data: bytes) -> list[TransactionProgress]:
        """The progress that `data` completes. Lines of other kinds are passed over."""
        ...


class ProgressSource(Protocol):
    """Whose command a job runs."""

    @property
    def progress_in_log(self) -> bool:
        """Whether progress is read from the job's standard error; else it is its standard output."""
        ...

    def progress_parser(self) -> ProgressParser:
        """A fresh parser of that."""
        ...
