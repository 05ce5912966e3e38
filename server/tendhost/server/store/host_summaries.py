"""Summaries of hosts: the part of a stored host that plans and reports of whole fleets need."""

from datetime import datetime, timedelta

import msgspec

from tendhost.server.domain.host_errors import HostUnreachable
from tendhost.server.domain.hosts.states import HostState
from tendhost.server.domain.inventory.inventory import RebootNeed
from tendhost.server.domain.policy.windows import MaintenanceWindow
from tendhost.server.domain.rollouts.plan import HostSummary
from tendhost.server.store.documents import Form
from tendhost.server.store.rows import decoded


class _PolicyFields(msgspec.Struct, frozen=True):
    windows: tuple[MaintenanceWindow, ...]


class _ConfigFields(msgspec.Struct, frozen=True):
    name: str
    tags: tuple[str, ...]
    groups: tuple[str, ...]
    policy: _PolicyFields
    jump_only: bool = False


class _ProblemFields(msgspec.Struct, frozen=True):
    reason: str
    message: str


class _RebootFields(msgspec.Struct, frozen=True):
    need: RebootNeed


class _StatusFields(msgspec.Struct, frozen=True):
    state: HostState
    pending_count: int
    pending_security_count: int | None
    queried_at: datetime | None
    last_updated: datetime | None
    last_problem: _ProblemFields | None
    reboot: _RebootFields
    update_took: timedelta | None = None


class _HostFields(msgspec.Struct, frozen=True):
    config: _ConfigFields
    status: _StatusFields
    registered_at: datetime


_host = Form(_HostFields, "host")


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
        windows=config.policy.windows,
        registered_at=host.registered_at,
        jump_only=config.jump_only,
        reboot_needed=status.reboot.need is RebootNeed.NEEDED,
        unreachable=problem is not None and problem.reason == HostUnreachable.reason,
        failed_with=problem.message if problem and status.state is HostState.FAILED else "",
    )
