"""The step that makes a file system snapshot before a change."""

from dataclasses import replace

from tendhost.server.domain.host_errors import SnapshotFailed
from tendhost.server.domain.hosts.host import Snapshots
from tendhost.server.domain.operations.operation import Outcome, UpdateResult
from tendhost.server.domain.operations.permission import Permission
from tendhost.server.engine.steps.context import StepContext
from tendhost.server.engine.steps.queries import understood
from tendhost.server.packages.snapshots import parse_snapshot, snapshot_command


async def snapshot(context: StepContext) -> Outcome:
    """Make a snapshot. Raises SnapshotFailed where one is required and cannot be made."""
    operation, host = context.operation, context.host.name
    command = snapshot_command(operation.id)
    timeout = context.settings.query_timeout
    done = await context.door.give(
        await context.remote(), command, Permission.CHANGE, timeout=timeout
    )
    made = understood(host, done, parse_snapshot)
    if not made.snapshot:
        if operation.facts.snapshots is Snapshots.REQUIRED:
            raise SnapshotFailed(host=host, problem=made.problem)
        return Outcome(detail=f"none: {made.problem}")
    update = replace(operation.update or UpdateResult(), snapshot=made.snapshot)
    return Outcome(detail=made.snapshot, update=update)
