"""The step that restarts outdated services."""

from dataclasses import replace

from tendhost.server.domain.host_errors import RestartFailed
from tendhost.server.domain.hosts.host import LOCAL, Problem
from tendhost.server.domain.operations.operation import Outcome, UpdateResult
from tendhost.server.domain.operations.permission import Permission
from tendhost.server.engine.steps import queries
from tendhost.server.engine.steps.context import StepContext
from tendhost.server.packages.units import parse_restart, restart_command
from tendhost.server.remote.local import own_unit


async def restart_services(context: StepContext) -> Outcome:
    """Restart the outdated services. A repetition does no harm."""
    host = context.host.name
    inventory = (await context.store.inventory(host)).inventory
    # The server would stop in the middle of the step, and the next server would start it again.
    own = own_unit() if context.host.config.address == LOCAL else ""
    units = tuple(unit for unit in inventory.outdated_services or () if unit != own)
    completed = await context.door.give(
        await context.remote(),
        restart_command(units),
        Permission.CHANGE,
        timeout=context.settings.query_timeout,
    )
    done = queries.understood(host, completed, lambda output: parse_restart(output, units))
    former = context.operation.update or UpdateResult()
    update = replace(former, restarted=done.restarted)
    if done.failed:
        error = RestartFailed(host=host, problem="; ".join(done.failed))
        return Outcome(problem=Problem.of(error), needs_person=True, update=update)
    words = [f"restarted {', '.join(done.restarted)}" if done.restarted else "nothing restarted"]
    left = (*done.left, *((own,) if own in (inventory.outdated_services or ()) else ()))
    if left:
        words.append(f"only a reboot renews {', '.join(left)}")
    return Outcome(detail="; ".join(words), update=update)
