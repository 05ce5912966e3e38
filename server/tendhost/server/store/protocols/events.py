"""The event log, and how far each reader of it is."""

from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Protocol

from tendhost.server.domain.events import Event
from tendhost.server.domain.leases import Held
from tendhost.server.domain.notifications.notices import NotificationCursor
from tendhost.server.store.records import LogBounds


class EventLog(Protocol):
    """All events, by revision without a gap."""

    async def log_bounds(self) -> LogBounds:
        """The first and the last revision that the event log holds."""
        ...

    async def events(self, *, after: int, limit: int) -> Sequence[Event]:
        """Events with a revision above `after`, in order."""
        ...

    async def wait_beyond(self, revision: int, *, timeout: timedelta) -> int:
        """The current revision, once it exceeds `revision` or `timeout` has passed."""
        ...


class NotificationCursors(Protocol):
    """How far the targets of notifications have read the event log."""

    async def notification_cursor(self, target: str) -> NotificationCursor | None:
        """The cursor of a target; None: the target is new."""
        ...

    async def save_notification_cursor(
        self, target: str, cursor: NotificationCursor, *, held: Sequence[Held] = ()
    ) -> None:
        """Store the cursor of a target. Raises LeaseLost unless all of `held` is held."""
        ...

    async def retain_notification_cursors(self, targets: Collection[str]) -> None:
        """Drop the cursors of all other targets."""
        ...
