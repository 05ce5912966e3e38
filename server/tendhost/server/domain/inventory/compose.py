"""A host's containers, images and compose projects, and what became of them in an update."""

from dataclasses import dataclass
from enum import StrEnum


class ComposeVersion(StrEnum):
    """Which docker compose a host has."""

    AUTO = "auto"
    """Version 2 where it is there, else version 1."""
    V1 = "v1"
    """`docker-compose`"""
    V2 = "v2"
    """`docker compose`"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """A container, running or not."""

    id: str
    name: str
    image: str
    """The image that it was made from, as it was named then."""
    image_id: str
    state: str
    """As docker names it: "running", "exited"."""
    status: str
    """The state in docker's words: "Up 2 hours (healthy)"."""
    health: str = ""
    """"healthy", "unhealthy", "starting"; empty: it has no check."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A container image."""

    id: str
    tags: tuple[str, ...]
    digests: tuple[str, ...]
    """What it is called in registries, "NAME@sha256:…"."""
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ComposeService:
    """A service of a project. Of several containers, the one that is worst off is told of."""

    name: str
    image: str
    """As the compose file names it; empty: it is built on the host."""
    image_id: str = ""
    """Of the image that runs; empty: nothing runs."""
    local_id: str = ""
    """Of the image that `image` names on the host now; empty: none."""
    digest: str = ""
    """Of the image that runs, as a registry knows it: "sha256:…"; empty: from no registry."""
    pinned: bool = False
    """Whether `image` is named by its digest, and so never another one."""
    state: str = ""
    """As docker names it; empty: no container."""
    health: str = ""
    container: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComposeProject:
    """A compose project."""

    path: str
    version: ComposeVersion | None
    """V1 or V2; None: there is no docker compose to use."""
    problem: str = ""
    """Why it cannot be used, in words; empty: it can."""
    services: tuple[ComposeService, ...] = ()
    obstacle: str = ""
    """Why an update leaves its containers as they are, although images of them move; empty: nothing."""


class ProjectOutcome(StrEnum):
    """How the update of a compose project ended."""

    UNCHANGED = "unchanged"
    UPDATED = "updated"
    ROLLED_BACK = "rolled_back"
    """It was not healthy in time, and runs its former images again."""
    DEFERRED = "deferred"
    """It runs as before, since a registry could not serve it for now; the next update tries again."""
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
