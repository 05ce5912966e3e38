"""Information about the server."""

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationTarget:
    """How notifications to one target go, since the server started."""

    name: str
    delivered: int
    retried: int
    undelivered: int
    """Messages that are lost."""
    waiting: int
    """Notices that wait for the rate limit now."""
    revision: int
    problem: str
    """What the latest attempt failed with; empty: it went well."""
    problem_at: datetime | None
    delivered_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventLoopLag:
    """How late the server's event loop came to what was due, in the last minute."""

    max: timedelta
    p99: timedelta
    """Of a hundred measurements 99 were no longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerInfo:
    """What server this is."""

    version: str
    log_id: str
    revision: int
    oldest_revision: int
    host_count: int
    notifications: tuple[NotificationTarget, ...]
    pruning_problem: str = ""
    """Why the server does not prune history at present; empty: history is pruned."""
    store_problem: str = ""
    """Why the database cannot be used at present; empty: it can. `hosts` may be 0 then without meaning it."""
    event_loop_lag: EventLoopLag | None = None
    """None: it is not measured."""
