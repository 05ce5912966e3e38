"""When hosts may be changed, by what is stored of them."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from tendhost.server.domain.host import Host
from tendhost.server.domain.rollout_plan import Glance, Opening
from tendhost.server.domain.window import MaintenanceWindow


class Openings:
    """The maintenance windows of hosts."""

    async def of(self, host: Host, now: datetime) -> Opening | None:
        """When `host` may be changed; None: now."""
        window = host.config.policy.maintenance_window
        return _opening(window, now) if window is not None else None

    async def closed(self, fleet: Sequence[Glance], now: datetime) -> Mapping[str, Opening]:
        """Those of a fleet that may not be changed now, by name."""
        found = {}
        known: dict[MaintenanceWindow, Opening | None] = {}
        for host in fleet:
            for window in host.windows:
                if window not in known:
                    known[window] = _opening(window, now)
                opening = known[window]
                if opening is not None:
                    found[host.name] = opening
        return found


def _opening(window: MaintenanceWindow, now: datetime) -> Opening | None:
    if window.contains(now):
        return None
    opens = window.next_opening(now)
    words = f"its maintenance window {window} opens {opens:%Y-%m-%d %H:%M} UTC"
    return Opening(allowed=False, until=opens, words=words)
