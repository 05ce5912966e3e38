"""The step that lists installed packages and pending updates, and plans an update."""

import math
from dataclasses import replace

from tendhost.server.domain.host_errors import DiskFull, HostError
from tendhost.server.domain.hosts.host import Problem
from tendhost.server.domain.inventory.inventory import RebootNeed
from tendhost.server.domain.operations.operation import OperationKind, Outcome
from tendhost.server.domain.operations.past_steps import has_applied
from tendhost.server.engine.jobs.folders import remove_finished_job
from tendhost.server.engine.steps.context import StepContext
from tendhost.server.engine.steps.package_errors import raise_first
from tendhost.server.engine.steps.plan import Planned, plan_update
from tendhost.server.engine.steps.wording import listed_words, reboot_words
from tendhost.server.packages.query import QueryResult


async def list_packages(context: StepContext) -> Outcome:
    """List installed packages and pending updates, and plan an update."""
    operation, host = context.operation, context.host
    await remove_finished_job(context.session, host, operation)
    remote = await context.remote()
    # Whether a reboot is needed does not depend on archives and package managers.
    reboots = operation.kind is OperationKind.REBOOT
    result = await context.query(remote, refresh=not reboots)
    words = reboot_words(result) if reboots else listed_words(result)
    outcome = Outcome(detail=words, facts=context.facts_after(result))
    if not has_applied(operation):
        # Otherwise the stored inventory stays that of before the upgrade that continues, for the
        # comparison at its end.
        outcome = replace(outcome, observed=await context.observed(result))
    try:
        raise_first(host.name, result.problems, packages=not reboots)
        if reboots and context.reboot(result).need is RebootNeed.NEEDED:
            context.door.require_window()
        if operation.kind is not OperationKind.UPDATE:
            return outcome
        planned = await plan_update(context, remote, result)
        outcome = _with_plan(outcome, planned)
        if planned.problem is not None:
            raise planned.problem
        _require_space(host.name, result, planned)
    except HostError as error:
        # The result of the query is true all the same.
        return replace(
            outcome,
            problem=Problem.of(error),
            needs_person=error.needs_person,
            transient=error.may_pass,
        )
    return outcome


def _with_plan(outcome: Outcome, planned: Planned) -> Outcome:
    detail = f"{outcome.detail}; {planned.words}" if planned.words else outcome.detail
    return replace(outcome, detail=detail, facts=planned.facts, update=planned.update)


def _require_space(host: str, result: QueryResult, planned: Planned) -> None:
    """Raise DiskFull if the update needs more space than there is."""
    needs = {
        result.manager.cache if result.manager else "": planned.plan.download_bytes or 0,
        "/usr": max(0, planned.plan.disk_bytes or 0),
        "/boot": planned.boot_bytes,
    }
    demand: dict[str, int] = {}
    for disk in result.facts.disks:
        demand[disk.mount] = demand.get(disk.mount, 0) + needs.get(disk.path, 0)
    for disk in result.facts.disks:
        if disk.free_bytes < demand[disk.mount]:
            problem = (
                f"{disk.mount} has {_size(disk.free_bytes)} free,"
                f" the update needs {_size(demand[disk.mount])}"
            )
            raise DiskFull(host=host, problem=problem)


def _size(count: int) -> str:
    return f"{count / 2**20:.0f} MiB" if count >= 10 * 2**20 else f"{math.ceil(count / 1024)} KiB"
