"""When hosts may be changed, by what is stored of them and of their groups."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta

from tendhost.server.domain.hosts.host import Host
from tendhost.server.domain.policy.availability import Availability, ChangeWindows, planned_time
from tendhost.server.domain.rollouts.plan import HostSummary
from tendhost.server.engine.fleet.policies import Key, Policies


class HostAvailability:
    """The windows and freeze periods that hold for hosts."""

    def __init__(self, policies: Policies) -> None:
        self._policies = policies
        self._at: datetime | None = None
        self._known: dict[tuple[ChangeWindows, timedelta], Availability | None] = {}

    async def of(self, host: Host, now: datetime) -> Availability | None:
        """When `host` may be updated, as long as that may take; None: now."""
        policy = host.config.policy
        times = self._policies.open_times(policy.maintenance_windows, host.config.groups)
        return self._availability(times, now, host.planned_update)

    def closed_at(
        self, now: datetime
    ) -> Callable[[Iterable[HostSummary]], Mapping[str, Availability]]:
        """Tells those of a fleet that may not be updated at `now`, by name; may be called in a thread."""
        open_times = self._policies.open_times_now()

        def closed(fleet: Iterable[HostSummary]) -> Mapping[str, Availability]:
            found: dict[str, Availability] = {}
            # By what they depend on, which is small: to hash all windows and freezes of each host takes long.
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
