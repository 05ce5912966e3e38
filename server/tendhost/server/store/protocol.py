"""What a store does, whichever database is behind it: one kind of write, a few reads, one wait.

Every write is a `Change`: a value that holds all that belongs together (hosts, operations, rollouts,
schedules, defaults, inventory, log bytes, events, the record of the request), and that is committed as a
whole or not at all. The store numbers its events with the fleet's revision, from a counter row in the same
transaction, so that whoever reads `revision > cursor` misses nothing.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from tendhost.server.domain.clock_trust import ClockTrust
from tendhost.server.domain.events import Event
from tendhost.server.domain.hosts.group_policy import GroupPolicy
from tendhost.server.domain.hosts.host import Duplicate, Host
from tendhost.server.domain.hosts.selection import HostFilter, SavedSelection
from tendhost.server.domain.hosts.unmatched import KnownNames
from tendhost.server.domain.notifications.notices import NotificationCursor
from tendhost.server.domain.operations.operation import Operation, OperationStatus
from tendhost.server.domain.rollouts.budgets import Usage
from tendhost.server.domain.rollouts.plan import HostSummary, PlanOutline, PlanPart, RolloutPlan
from tendhost.server.domain.rollouts.rollout import (
    Member,
    MemberStatus,
    Rollout,
    RolloutStatus,
    Wave,
)
from tendhost.server.domain.schedules.schedule import Schedule
from tendhost.server.store.records import (
    Change,
    Committed,
    HostCursor,
    HostPending,
    HostsPart,
    InventoryRecord,
    LogBounds,
    LogChunk,
    Page,
    RolloutCursor,
    RolloutView,
    T,
    Touched,
)


class Store(Protocol):
    """What tendhost remembers. Every method raises StoreUnavailable where the database cannot be used."""

    async def commit(self, change: Change) -> Committed:
        """Store `change` as a whole.

        Raises HostAlreadyExists, HostDuplicate, HostBusy (the host has a running operation), ScheduleAlreadyExists,
        SelectionAlreadyExists, Conflict (a revision was not the stored one, the row is gone, or a new one is there
        already), RequestIdReused, and Unstorable, which is about this change and nobody else's.
        """
        ...

    async def host(self, name: str) -> Host:
        """Raises HostNotFound."""
        ...

    async def hosts(self, selection: HostFilter, *, after: str = "", limit: int) -> Page[Host]:
        """Hosts whose name follows `after`, ordered by name."""
        ...

    async def count_hosts(self) -> int:
        """How many hosts are registered."""
        ...

    async def groups(self) -> Sequence[tuple[str, int]]:
        """Every group with the number of its hosts, by name."""
        ...

    async def tags(self) -> Sequence[tuple[str, int]]:
        """Every tag with the number of its hosts, by name."""
        ...

    async def known(self, selection: HostFilter) -> KnownNames:
        """Which of the hosts, tags and groups that a filter names there are; see Known."""
        ...

    async def inventory(self, host: str) -> InventoryRecord:
        """Raises HostNotFound, InventoryNotFound."""
        ...

    async def operation(self, id: str) -> Operation:
        """Raises OperationNotFound."""
        ...

    async def operations(
        self,
        *,
        host: str = "",
        rollout: str = "",
        statuses: Sequence[OperationStatus] = (),
        before: str = "",
        limit: int,
    ) -> Page[Operation]:
        """Operations, newest first, from the one that follows `before` on. Empty means any."""
        ...

    async def running_operation(self, host: str) -> Operation | None:
        """The operation that the host is busy with."""
        ...

    async def next_queued(self, host: str) -> Operation | None:
        """The oldest operation that waits for the host."""
        ...

    async def unfinished_operations(self) -> Sequence[Operation]:
        """Every running or queued operation, oldest first."""
        ...

    async def log(self, operation: str, *, offset: int, limit: int) -> LogChunk:
        """At most `limit` bytes of the operation's log from `offset` on, without a gap between them.

        It begins later than `offset` where the bytes there were left out, and is empty at the end.
        """
        ...

    async def rollout(self, id: str) -> Rollout:
        """Raises RolloutNotFound."""
        ...

    async def rollouts(
        self, *, statuses: Sequence[RolloutStatus] = (), before: str = "", limit: int
    ) -> Page[Rollout]:
        """Rollouts, newest first, from the one that follows `before` on."""
        ...

    async def rollout_view(
        self, id: str, *, after: RolloutCursor, limit: int, size: int
    ) -> RolloutView:
        """A rollout with what was stored of it behind `after`. Raises RolloutNotFound.

        At most `limit` waves and as many members, and no more than about `size` bytes of each.
        """
        ...

    async def wave(self, rollout: str, number: int) -> Wave:
        """One wave, by its number from 0."""
        ...

    async def waves(self, rollout: str, *, first: int, last: int) -> Sequence[Wave]:
        """The waves whose numbers are between `first` and `last`, both included, in order."""
        ...

    async def member(self, rollout: str, host: str) -> Member | None:
        """One host of a rollout; None: it has no place in it."""
        ...

    async def places(self, host: str, *, limit: int) -> Sequence[tuple[Member, int]]:
        """The host's places in the newest rollouts that have it, each with the revision at which it last
        changed, newest first."""
        ...

    async def members(
        self,
        rollout: str,
        *,
        wave: int | None = None,
        statuses: Sequence[MemberStatus] = (),
        after: int = -1,
        limit: int,
    ) -> Page[Member]:
        """Members in the order of the rollout, after the position `after`. Empty means any status, None
        any wave."""
        ...

    async def startable(
        self, rollout: str, wave: int, *, now: datetime, blocked: Sequence[str], limit: int
    ) -> Sequence[Member]:
        """The first members of a wave that have not begun, whose window, as far as it is known, is open
        at `now`, and which wait for none of `blocked`."""
        ...

    async def blocked_by(self, rollout: str, wave: int) -> Sequence[str]:
        """What members of a wave wait for, windows apart: each `Member.blocked_by` once."""
        ...

    async def next_opening(self, rollout: str, wave: int) -> datetime | None:
        """When the first window opens that a member of a wave waits for; None: none does."""
        ...

    async def usage(self, scope: str, *, failed_since: datetime | None = None) -> Usage:
        """How many hosts with the tag `scope` there are, and how many of them are down; empty: of all.

        Hosts that had failed before `failed_since` do not count as down; None: all that have failed do.

        Down is a host with a running operation that is disruptive, or in FAILED.
        """
        ...

    async def duplicates(self, host: Host) -> tuple[Duplicate, ...]:
        """Other hosts with the same host key, endpoint or machine-id, as `domain.host.most_alike` puts them."""
        ...

    async def busy_hosts(self) -> frozenset[str]:
        """The hosts on which an operation runs."""
        ...

    async def survey(self, look: Callable[[Iterable[HostSummary]], T]) -> T:
        """What `look` makes of every host, by name; raises what it raises.

        Whatever needs the whole fleet goes through here, or through `survey_pending`: `look` runs in a
        thread of its own, one after the other, so that neither the event loop nor those who read single
        hosts wait for it. It gives back little, and makes no single call that takes long: one that holds
        the interpreter (a sort of 100,000 values) would hold up the event loop all the same.
        """
        ...

    async def survey_pending(
        self, selection: HostFilter, look: Callable[[Iterable[HostPending]], T]
    ) -> T:
        """What `look` makes of what is pending on each selected host, by name; as `survey`."""
        ...

    async def keep_plan(self, plan: RolloutPlan) -> None:
        """Store a plan. It goes with the other history that has grown old."""
        ...

    async def plan(self, id: str) -> RolloutPlan:
        """Raises PlanNotFound."""
        ...

    async def plan_page(self, id: str, *, first: int, last: int) -> tuple[PlanOutline, PlanPart]:
        """A plan without its hosts, and those from the place `first` until before `last`.

        Raises PlanNotFound.
        """
        ...

    async def selection(self, name: str) -> SavedSelection:
        """Raises SelectionNotFound."""
        ...

    async def selections(self, *, after: str = "", limit: int) -> Page[SavedSelection]:
        """Saved selections whose name follows `after`, ordered by name."""
        ...

    async def schedule(self, name: str) -> Schedule:
        """Raises ScheduleNotFound."""
        ...

    async def schedules(self, *, after: str = "", limit: int) -> Page[Schedule]:
        """Schedules whose name follows `after`, ordered by name."""
        ...

    async def due_schedules(self, now: datetime, *, limit: int) -> Sequence[Schedule]:
        """Schedules with a run that is due at `now`, the longest due first."""
        ...

    async def next_due(self) -> datetime | None:
        """When the next run of any schedule is due; None: none is."""
        ...

    async def group_policies(self) -> Sequence[GroupPolicy]:
        """The defaults of the fleet and of every group that has some, by group."""
        ...

    async def replay(self, request: str, digest: bytes) -> bytes | None:
        """What was answered to this request before. Raises RequestIdReused."""
        ...

    async def log_bounds(self) -> LogBounds:
        """What the event log holds."""
        ...

    async def events(self, *, after: int, limit: int) -> Sequence[Event]:
        """Events with a revision above `after`, in order."""
        ...

    async def hosts_part(
        self, selection: HostFilter, *, after: str, limit: int, size: int
    ) -> HostsPart:
        """The selected hosts whose name follows `after`, by name.

        At most `limit` of them, and no more than about `size` bytes, but at least one.
        """
        ...

    async def changed_hosts(
        self, selection: HostFilter, *, after: HostCursor, limit: int, size: int
    ) -> HostsPart:
        """What became of hosts that were stored or removed behind `after`, in that order.

        Bounded as `hosts_part` is. Raises CursorCompacted where removals behind `after` are forgotten.
        """
        ...

    async def place(self, reader: str) -> NotificationCursor | None:
        """How far this reader of the event log is; None: it has not begun."""
        ...

    async def keep_place(self, reader: str, place: NotificationCursor) -> None:
        """Store how far this reader of the event log is."""
        ...

    async def keep_readers(self, readers: Collection[str]) -> None:
        """Forget the places of all other readers of the event log."""
        ...

    async def wait_beyond(self, revision: int, *, timeout: timedelta) -> int:
        """The current revision, once it exceeds `revision` or `timeout` has passed."""
        ...

    def listen(self, listener: Callable[[Touched], None]) -> Callable[[], None]:
        """Call `listener` on the event loop after every commit, before the commit's caller goes on.

        Returns what ends that. What the listener is told can be read by then.
        """
        ...

    async def until_unusable(self, *, timeout: timedelta) -> bool:
        """Whether a write or a read has failed because the database cannot be used, since the last probe.

        Returns as soon as one has, or once `timeout` has passed. Never raises StoreUnavailable.
        """
        ...

    async def probe(self) -> None:
        """Write and read next to nothing; StoreUnavailable: the database still cannot be used."""
        ...

    async def prune(
        self, *, before: datetime, now: datetime, requests_before: int, keep_events: int
    ) -> int:
        """Drop old history; how many rows went.

        Ended operations with their logs, ended rollouts, audit rows and events go that are older than
        `before`, answers to requests that were stored before the revision `requests_before`, and all but
        the newest `keep_events` events. What has not ended is kept whatever its age, and so are the operations
        of a rollout that has not ended. The event log only ever loses its beginning, up to the first event
        that is kept.

        A date alone makes nothing old, for clocks go wrong: a record goes once the events before it
        have gone. One whose date lies well behind `now` in the future goes with those around it.
        """
        ...

    async def clock_trust(self) -> ClockTrust | None:
        """What was last known of the date; None: nothing was kept yet."""
        ...

    async def keep_clock_trust(self, trust: ClockTrust) -> None:
        """Store what is known of the date."""
        ...

    async def restored_from(self) -> datetime | None:
        """When the copy was made that this database was restored from; None once that is settled."""
        ...

    async def aclose(self) -> None:
        """Finish what was handed in, and close."""
        ...
