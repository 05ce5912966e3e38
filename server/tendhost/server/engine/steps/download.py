"""The step that fetches what an update will install."""

from dataclasses import replace

from tendhost.server.domain.hosts.host import Problem
from tendhost.server.domain.operations.operation import Outcome
from tendhost.server.domain.operations.permission import Permission
from tendhost.server.engine.steps.context import StepContext
from tendhost.server.engine.steps.plan import transaction
from tendhost.server.engine.steps.transactions import DOWNLOAD, transact


async def download(stage: StepContext) -> Outcome:
    """Fetch what the update will install, and change nothing."""
    # Nothing that the host runs is changed by it, so it does not keep to the window.
    following = stage.following(Permission.PREPARE)
    wanted = replace(transaction(stage), download_only=True)
    limit = stage.settings.lock_timeout + stage.settings.apply_timeout
    manager = stage.manager()
    done = await transact(following, stage.operation, manager, wanted, kind=DOWNLOAD, limit=limit)
    if done.error is None:
        return Outcome(detail="everything is on the host")
    return Outcome(problem=Problem.of(done.error), transient=done.transient)
