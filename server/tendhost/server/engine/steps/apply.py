"""The step that changes the packages of a host."""

from dataclasses import replace

from tendhost.server.domain.host_errors import Interrupted
from tendhost.server.domain.hosts.host import Problem
from tendhost.server.domain.operations.operation import Outcome, UpdateResult
from tendhost.server.engine.steps.context import StepContext
from tendhost.server.engine.steps.plan import transaction
from tendhost.server.engine.steps.transactions import transact


async def apply(context: StepContext) -> Outcome:
    """Upgrade the host's packages."""
    operation = context.operation
    try:
        done = await transact(context, transaction(context))
    except Interrupted as error:
        return Outcome(problem=Problem.of(error), needs_person=True, interrupted=True)
    former = operation.update or UpdateResult()
    kept = dict.fromkeys((*former.kept_conffiles, *done.kept_conffiles))
    saved = dict.fromkeys((*former.saved_conffiles, *done.saved_conffiles))
    update = replace(former, kept_conffiles=tuple(kept), saved_conffiles=tuple(saved))
    if done.error is not None:
        return Outcome(
            problem=Problem.of(done.error),
            needs_person=True,
            transient=done.transient,
            update=update,
        )
    return Outcome(detail=done.detail, update=update)
