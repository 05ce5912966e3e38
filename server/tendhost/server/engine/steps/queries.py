"""Queries of a host over an open connection: run one script, parse its output, change nothing.

`understood` also parses the output of changing commands."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypeVar

from tendhost.server.domain.host_errors import InventoryFailed
from tendhost.server.domain.inventory.inventory import Observation, Reboot
from tendhost.server.domain.inventory.scope import UpdateScope, narrowed
from tendhost.server.domain.policy.health_evaluation import CheckFinding
from tendhost.server.engine.steps.package_errors import host_error
from tendhost.server.packages.boot import Boot, boot_script, parse_boot
from tendhost.server.packages.errors import PackageError
from tendhost.server.packages.query import (
    Preflight,
    QueryOptions,
    QueryResult,
    parse_preflight,
    parse_query,
    preflight_script,
    query_script,
)
from tendhost.server.packages.reboot_order import (
    GoingDown,
    going_down_script,
    parse_going_down,
)
from tendhost.server.packages.unit_checks import active_script, parse_active
from tendhost.server.packages.units import UnitHealth, parse_units, units_script
from tendhost.server.remote.protocol import Completed, Remote

SHORT = timedelta(seconds=60)
"""For scripts that read a few files; a loaded single-board computer needs a few seconds."""

T = TypeVar("T")


async def query(
    remote: Remote,
    host: str,
    *,
    options: QueryOptions,
    timeout: timedelta,
    at: datetime,
) -> QueryResult:
    """Query the host for the parts in `options`. Raises HostError."""
    return await _asked(
        remote,
        host,
        query_script(options),
        lambda output: parse_query(output, at=at, options=options),
        timeout=timeout,
    )


async def preflight(
    remote: Remote, host: str, *, lock_timeout: timedelta, timeout: timedelta
) -> Preflight:
    """Query whether the host is fit for a change. Raises HostError."""
    script = preflight_script(lock_timeout=lock_timeout)
    return await _asked(remote, host, script, parse_preflight, timeout=timeout)


async def units(remote: Remote, host: str) -> UnitHealth:
    """Query the failed units. Raises HostError."""
    return await _asked(remote, host, units_script(), parse_units, timeout=SHORT)


async def active(
    remote: Remote, host: str, wanted: Sequence[str], *, timeout: timedelta
) -> CheckFinding:
    """Query whether systemd units are active. Raises HostError."""
    return await _asked(
        remote,
        host,
        active_script(wanted),
        lambda output: parse_active(output, wanted),
        timeout=timeout,
    )


async def boot(remote: Remote, host: str) -> Boot:
    """Query the boot id. Raises HostError."""
    return await _asked(remote, host, boot_script(), parse_boot, timeout=SHORT)


async def going_down(remote: Remote, host: str) -> GoingDown:
    """Query whether the host is on its way down. Raises HostError."""
    return await _asked(remote, host, going_down_script(), parse_going_down, timeout=SHORT)


def observation(result: QueryResult, *, scope: UpdateScope, reboot: Reboot | None) -> Observation:
    """The result of a query for the domain, narrowed to `scope`, with what policy makes of the reboot."""
    pending = replace(result.pending, packages=narrowed(result.pending.packages, scope))
    return Observation(inventory=result.inventory, pending=pending, reboot=reboot)


async def _asked(
    remote: Remote,
    host: str,
    script: str,
    parse: Callable[[bytes], T],
    *,
    timeout: timedelta,
) -> T:
    return understood(host, await remote.run(script, timeout=timeout), parse)


def understood(host: str, completed: Completed, parse: Callable[[bytes], T]) -> T:
    """The parsed output of a script. Raises HostError."""
    try:
        return parse(completed.stdout)
    except PackageError as error:
        if completed.exit_status and not completed.stdout:
            said = completed.stderr.decode("utf-8", "replace").strip()
            problem = f"the script ended with {completed.exit_status}: {said[:500]}"
            raise InventoryFailed(host=host, problem=problem) from error
        raise host_error(host, error) from error
