"""Health checks: the checks that a host must pass to count as healthy, and for how long."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import SplitResult, urlsplit

from tendhost.server.domain.policy.patterns import PatternUnusable, require_usable

CHECK_TIMEOUT = timedelta(seconds=10)
CHECK_INTERVAL = timedelta(seconds=5)
CHECK_ATTEMPTS = 3
OWN_ADDRESS = "{address}"
"""Stands for the host's own address in a URL, so that one policy serves many hosts."""
SHOWN_PATTERN = 200
"""Characters of a pattern that an error message repeats."""
DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpProbe:
    """A port of the host that must accept connections from the server."""

    port: int
    """1 to 65535."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpProbe:
    """A URL that must answer the server. A redirection is an answer; it is not followed."""

    url: str
    """An http or https URL, with OWN_ADDRESS or with any host."""
    statuses: tuple[int, ...] = ()
    """Accepted status codes, 100 to 599; empty: 200 to 299."""
    body: str = ""
    """A regular expression in RE2 syntax that must match in the first 64 KiB; empty: any body."""

    def at(self, address: str) -> SplitResult:
        """The URL for a host with this address. Raises ValueError."""
        host = f"[{address}]" if ":" in address else address
        parts = urlsplit(self.url.replace(OWN_ADDRESS, host, 1))
        if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
            raise ValueError("must be http:// or https:// with a host")
        if parts.username is not None:
            raise ValueError("must not hold a user or a password")
        if parts.port == 0:
            raise ValueError("must have a port from 1 to 65535")
        return parts

    def accepts(self, status: int) -> bool:
        """Whether the probe accepts an answer with `status`."""
        return status in self.statuses if self.statuses else 200 <= status <= 299


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthCheck:
    """One health check: exactly one of `command`, `tcp`, `http` and `units` is set."""

    command: str = ""
    """A line for sh that must exit with 0 on the host, as root."""
    tcp: TcpProbe | None = None
    http: HttpProbe | None = None
    units: tuple[str, ...] = ()
    """systemd units that must all be active on the host."""
    timeout: timedelta = CHECK_TIMEOUT
    """Time limit for one attempt."""
    attempts: int = CHECK_ATTEMPTS
    """Number of failed attempts after which the host is unhealthy, 1 to 100."""
    interval: timedelta = CHECK_INTERVAL
    """Time between two attempts."""

    @property
    def name(self) -> str:
        """A short name of the check for messages."""
        if self.tcp is not None:
            return f"tcp {self.tcp.port}"
        if self.http is not None:
            return f"http {self.http.url}"
        if self.units:
            return f"units {', '.join(self.units)}"
        line = " ".join(self.command.split())
        return f"command {line if len(line) <= 60 else f'{line[:59]}…'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthChecks:
    """The checks of a host, a group or a fleet."""

    checks: tuple[HealthCheck, ...] = ()
    settle: timedelta | None = None
    """Time for which all checks must hold without a break; None: inherited."""

    def over(self, wider: "HealthChecks") -> "HealthChecks":
        """These checks and those of `wider`, each once; the settling time of `wider` unless set here."""
        more = tuple(check for check in wider.checks if check not in self.checks)
        settle = wider.settle if self.settle is None else self.settle
        return HealthChecks(checks=(*self.checks, *more), settle=settle)


def unusable(checks: HealthChecks) -> Sequence[tuple[str, str]]:
    """Faults of checks that no rule of the contract covers: the field, and what it must be."""
    found = []
    for number, check in enumerate(checks.checks):
        if check.http is None:
            continue
        field = f"checks[{number}].http"
        try:
            check.http.at("192.0.2.1")
        except ValueError as error:
            # urlsplit checks the port of a URL only when it is read.
            words = str(error) if str(error).startswith("must ") else f"is no URL: {error}"
            found.append((f"{field}.url", f"{check.http.url!r}: {words}"))
        try:
            if check.http.body:
                require_usable(check.http.body)
        except PatternUnusable as error:
            found.append((f"{field}.body", f"{check.http.body[:SHOWN_PATTERN]!r}: {error}"))
    return found
