"""What users keep under a name: saved selections, schedules, and the policies of groups."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from tendhost.server.domain.hosts.group_policy import GroupPolicy
from tendhost.server.domain.hosts.selection import SavedSelection
from tendhost.server.domain.schedules.schedule import Schedule
from tendhost.server.store.records import Page, PoliciesVersion


class SelectionStore(Protocol):
    """Saved selections of hosts."""

    async def selection(self, name: str) -> SavedSelection:
        """Raises SelectionNotFound."""
        ...

    async def selections(self, *, after: str = "", limit: int) -> Page[SavedSelection]:
        """Saved selections whose name follows `after`, ordered by name."""
        ...


class ScheduleStore(Protocol):
    """Schedules of rollouts."""

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


class PolicyStore(Protocol):
    """The policies of groups and of the fleet."""

    async def group_policies(self) -> Sequence[GroupPolicy]:
        """The policy of the fleet and of every group that has one, by group."""
        ...

    async def policies_version(self) -> PoliciesVersion:
        """The version of all these policies together."""
        ...
