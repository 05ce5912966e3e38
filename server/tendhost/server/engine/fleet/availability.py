"""When hosts may be changed, by their windows and freeze periods and those of their groups and the fleet."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta

from tendhost.server.domain.hosts.host import Host
from tendhost.server.domain.policy.availability import Availability, ChangeWindows, planned_time
from tendhost.server.domain.rollouts.plan import HostSummary
from tendhost.server.engine.fleet.policies import Key, Policies
from tendhost.server.store.records import PoliciesVersion


class HostAvailability:
    """The windows and freeze periods that apply to hosts."""

    def __init__(self, policies: Policies) -> None:
        self._policies = policies
        self._at: datetime | None = None
        self._known: dict[tuple[ChangeWindows, timedelta], Availability | None] = {}

    async def refreshed(self) -> PoliciesVersion:
        """See Policies.refreshed."""
        return await self._policies.refreshed()

    async def of(self, host: Host, now: datetime) -> Availability | None:
        """When an update of `host` may start, with the time that it is expected to take; None: now."""
        policy = host.config.policy
        times = self._policies.open_times(policy.windows, host.config.groups)
        return self._availability(times, now, host.planned_update)

    def closed_at(
        self, now: datetime
    ) -> Callable[[Iterable[HostSummary]], Mapping[str, Availability]]:
        """Finds the hosts of a fleet that may not be updated at `now`, by name; a thread may call it."""
        open_times = self._policies.open_times_now()

        def closed(fleet: Iterable[HostSummary]) -> Mapping[str, Availability]:
            found: dict[str, Availability] = {}
            # Keyed by what the windows depend on: hashing all windows and freeze periods of each host takes long.
            known: dict[tuple[Key, timedelta], Availability | None] = {}
            for host in fleet:
                planned = planned_time(host.update_took)
                key = ((host.windows, host.groups), planned)
                if key not in known:
                    known[key] = open_times(*key[0]).availability(now, planned)
                availability = known[key]
                if availability is not None:
                    found[host.name] = availability
            return found

        return closed

    def _availability(
        self, times: ChangeWindows, now: datetime, planned: timedelta
    ) -> Availability | None:
        if now != self._at:
            self._at = now
            self._known.clear()
        key = (times, planned)
        if key not in self._known:
            self._known[key] = times.availability(now, planned)
        return self._known[key]
