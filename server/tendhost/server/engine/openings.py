"""When hosts may be changed, by what is stored of them."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from tendhost.server.domain.host import Host
from tendhost.server.domain.rollout_plan import Glance, Opening
from tendhost.server.domain.window import MaintenanceWindow


class Openings:
    """The maintenance windows of hosts."""

    async def of(self, host: Host, now: datetime) -> Opening | None:
        """When `host` may be updated, as long as that may take; None: now."""
        window = host.config.policy.maintenance_window
        return _opening(window, now, host.planned_update) if window is not None else None

    async def closed(self, fleet: Sequence[Glance], now: datetime) -> Mapping[str, Opening]:
        """Those of a fleet that may not be updated now, by name."""
        found = {}
        known: dict[tuple[MaintenanceWindow, timedelta], Opening | None] = {}
        for host in fleet:
            planned = host.update_took or timedelta()
            for window in host.windows:
                key = (window, planned)
                if key not in known:
                    known[key] = _opening(window, now, planned)
                opening = known[key]
                if opening is not None:
                    found[host.name] = opening
        return found


def _opening(window: MaintenanceWindow, now: datetime, planned: timedelta) -> Opening | None:
    starts = window.next_start(now, planned)
    if starts == now:
        return None
    if starts is None:
        words = f"an update took {planned} the last time, which never fits into its window {window}"
        return Opening(allowed=False, words=words)
    at = f"{starts:%Y-%m-%d %H:%M} UTC"
    if window.contains(now):
        words = f"it is too late in its maintenance window {window}; it may begin {at}"
    else:
        words = f"its maintenance window {window} opens {at}"
    return Opening(allowed=False, until=starts, words=words)
