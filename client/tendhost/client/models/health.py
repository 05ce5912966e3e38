"""Hooks, health checks and their results."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook:
    """Script that runs on the host as root; see the contract for its environment."""

    script: str
    """Empty: it is secret, and the server does not show it; in a change it stays as it is."""
    timeout: timedelta = timedelta(minutes=5)
    allowed_exit_codes: tuple[int, ...] = (0,)
    secret: bool = False
    """Whether the server shows the script to nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """Hooks before and after a change; None: no hook."""

    pre: Hook | None = None
    post: Hook | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpProbe:
    """TCP port of the host that must accept connections from the server."""

    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpProbe:
    """URL that must answer the server; "{address}" in it is the host's own address."""

    url: str
    statuses: tuple[int, ...] = ()
    """Empty means 200 to 299."""
    body: str = ""
    """Regular expression in RE2 syntax; empty: any body."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthCheck:
    """Health check: exactly one of `command`, `tcp`, `http` and `units` is set."""

    command: str = ""
    tcp: TcpProbe | None = None
    http: HttpProbe | None = None
    units: tuple[str, ...] = ()
    timeout: timedelta = timedelta(seconds=10)
    attempts: int = 3
    interval: timedelta = timedelta(seconds=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthChecks:
    """Health checks of a host, and the time for which they must hold."""

    checks: tuple[HealthCheck, ...] = ()
    settle: timedelta | None = None
    """None: each check must hold once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """Result of one health check at its last attempt, with the number of attempts and failures."""

    name: str
    healthy: bool
    message: str
    attempts: int
    failures: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthResult:
    """Result of a host's health checks."""

    healthy: bool
    message: str
    checks: tuple[CheckResult, ...]
