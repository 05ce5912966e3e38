"""The step that makes a file system snapshot before a change."""

from dataclasses import replace

from tendhost.server.domain.errors import SnapshotFailed
from tendhost.server.domain.host import Snapshots
from tendhost.server.domain.operation import Outcome, UpdateResult
from tendhost.server.engine import looking
from tendhost.server.engine.stage import Stage


async def snapshot(stage: Stage) -> Outcome:
    """Make a snapshot. Raises SnapshotFailed where one is required and cannot be made."""
    operation, host = stage.operation, stage.host.name
    stage.require_permission()
    timeout = stage.settings.query_timeout
    made = await looking.snapshot(await stage.remote(), host, operation.id, timeout=timeout)
    if not made.snapshot:
        if operation.findings.snapshots is Snapshots.REQUIRED:
            raise SnapshotFailed(host=host, problem=made.problem)
        return Outcome(detail=f"none: {made.problem}")
    update = replace(operation.update or UpdateResult(), snapshot=made.snapshot)
    return Outcome(detail=made.snapshot, update=update)
