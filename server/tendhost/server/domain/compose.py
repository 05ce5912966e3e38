"""What became of a host's compose projects in an update."""

from dataclasses import dataclass
from enum import StrEnum


class ProjectOutcome(StrEnum):
    """How the update of a compose project ended."""

    UNCHANGED = "unchanged"
    UPDATED = "updated"
    PUT_BACK = "put_back"
    """It was not healthy in time, and runs its former images again."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceChange:
    """The image of one service before and after."""

    service: str
    image: str
    """As the compose file names it."""
    before: str
    """The id of the image ("sha256:…"); empty: it did not run."""
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectChange:
    """A compose project in an update."""

    path: str
    outcome: ProjectOutcome
    problem: str = ""
    """In words; empty: none."""
    services: tuple[ServiceChange, ...] = ()
