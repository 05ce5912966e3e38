"""Reads of a host's document only what a plan of a rollout needs: whole fleets are planned at once."""

from datetime import datetime, timedelta

import msgspec

from tendhost.server.domain.host_errors import HostUnreachable
from tendhost.server.domain.hosts.states import HostState
from tendhost.server.domain.inventory.inventory import RebootNeed
from tendhost.server.domain.policy.windows import MaintenanceWindow
from tendhost.server.domain.rollouts.plan import HostSummary
from tendhost.server.store.documents import Form
from tendhost.server.store.rows import decoded


class _Policy(msgspec.Struct, frozen=True):
    maintenance_windows: tuple[MaintenanceWindow, ...]


class _Config(msgspec.Struct, frozen=True):
    name: str
    tags: tuple[str, ...]
    groups: tuple[str, ...]
    policy: _Policy


class _Problem(msgspec.Struct, frozen=True):
    reason: str
    message: str


class _Reboot(msgspec.Struct, frozen=True):
    need: RebootNeed


class _Status(msgspec.Struct, frozen=True):
    state: HostState
    pending_count: int
    pending_security_count: int | None
    queried_at: datetime | None
    last_updated: datetime | None
    last_problem: _Problem | None
    reboot: _Reboot
    update_took: timedelta | None = None


class _Host(msgspec.Struct, frozen=True):
    config: _Config
    status: _Status


_host = Form(_Host, "host")


def host_summary_of(text: str) -> HostSummary:
    """What a plan needs to know of a stored host. Raises DocumentUnreadable."""
    host = decoded(_host, "host", text)
    config, status = host.config, host.status
    problem = status.last_problem
    return HostSummary(
        name=config.name,
        tags=config.tags,
        groups=config.groups,
        state=status.state,
        pending_count=status.pending_count,
        security_count=status.pending_security_count,
        queried_at=status.queried_at,
        last_updated=status.last_updated,
        update_took=status.update_took,
        windows=config.policy.maintenance_windows,
        reboot_needed=status.reboot.need is RebootNeed.NEEDED,
        unreachable=problem is not None and problem.reason == HostUnreachable.reason,
        failed_with=problem.message if problem and status.state is HostState.FAILED else "",
    )
