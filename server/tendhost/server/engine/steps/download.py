"""The step that downloads what an update will install."""

from dataclasses import replace

from tendhost.server.domain.hosts.host import Problem
from tendhost.server.domain.operations.operation import Outcome
from tendhost.server.domain.operations.permission import ChangeKind, Permission
from tendhost.server.engine.steps.context import StepContext
from tendhost.server.engine.steps.plan import transaction
from tendhost.server.engine.steps.transactions import transact


async def download(context: StepContext) -> Outcome:
    """Download what the update will install, and change nothing."""
    # A download changes nothing that the host runs, so it may happen outside the window.
    wanted = replace(transaction(context), download_only=True)
    done = await transact(context, wanted, kind=ChangeKind.DOWNLOAD, permission=Permission.PREPARE)
    if done.error is None:
        return Outcome(detail="everything is on the host")
    return Outcome(problem=Problem.of(done.error), transient=done.transient)
