"""Information about the server."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from tendhost.client.models.events import CertificateUse


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationTarget:
    """Delivery status of one target of notifications since the server started."""

    name: str
    delivered: int
    retried: int
    undelivered: int
    """Number of lost messages."""
    waiting: int
    """Number of notifications that wait for the rate limit."""
    revision: int
    problem: str
    """Error of the latest delivery attempt; empty: it succeeded."""
    problem_at: datetime | None
    delivered_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditSink:
    """Delivery status of one sink of the audit log since the server started."""

    name: str
    delivered: int
    """Number of delivered records."""
    retried: int
    missed: int
    """Number of records that were pruned before they could be delivered."""
    waiting: int
    """Number of records that are not delivered yet."""
    number: int
    """Number of the record up to which all were delivered."""
    problem: str
    """Error of the latest delivery attempt; empty: it succeeded."""
    problem_at: datetime | None
    delivered_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventLoopLag:
    """Lag of the server's event loop in the last minute."""

    max: timedelta
    p99: timedelta
    """99th percentile of the measured lags."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerCertificate:
    """Certificate that the server uses for TLS."""

    use: CertificateUse
    file: str
    """Path on the server."""
    expires_at: datetime | None
    """None: the certificate cannot be read."""
    problem: str = ""
    """Why the certificate cannot be read; empty: it can be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerInfo:
    """Version and condition of the server."""

    version: str
    log_id: str
    revision: int
    oldest_revision: int
    host_count: int
    notifications: tuple[NotificationTarget, ...]
    audit_sinks: tuple[AuditSink, ...] = ()
    pruning_problem: str = ""
    """Why the server does not prune history at present; empty: history is pruned."""
    store_problem: str = ""
    """Why the database cannot be used at present; empty: it works. `host_count` may then be 0."""
    open_access: bool = False
    """Whether whoever reaches the server may do everything, without a credential."""
    event_loop_lag: EventLoopLag | None = None
    """None: the lag is not measured."""
    certificates: tuple[ServerCertificate, ...] = ()
    """Certificates that the server uses for TLS, as of the last hour."""
