"""Hooks, health checks and their results."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook:
    """A script that runs on the host, as root; see the contract for its environment."""

    script: str
    timeout: timedelta = timedelta(minutes=5)
    allowed_exit_codes: tuple[int, ...] = (0,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """The hooks before and after an update; None: none."""

    pre: Hook | None = None
    post: Hook | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpProbe:
    """A port of the host that has to take connections from the server."""

    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpProbe:
    """A URL that has to answer the server; "{address}" in it is the host's own address."""

    url: str
    statuses: tuple[int, ...] = ()
    """Empty: 200 to 299."""
    body: str = ""
    """A regular expression in RE2 syntax; empty: any body."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthCheck:
    """One thing that has to hold: exactly one of `command`, `tcp`, `http` and `units` is given."""

    command: str = ""
    tcp: TcpProbe | None = None
    http: HttpProbe | None = None
    units: tuple[str, ...] = ()
    timeout: timedelta = timedelta(seconds=10)
    attempts: int = 3
    interval: timedelta = timedelta(seconds=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthChecks:
    """What a host has to pass to count as healthy, and for how long."""

    checks: tuple[HealthCheck, ...] = ()
    settle: timedelta | None = None
    """None: once is enough."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """What one check found when it was last tried, and how often it was tried and failed."""

    name: str
    healthy: bool
    message: str
    attempts: int
    failures: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthResult:
    """What the checks of a host found together."""

    healthy: bool
    message: str
    checks: tuple[CheckResult, ...]
