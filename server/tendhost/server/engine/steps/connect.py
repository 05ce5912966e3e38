"""The step that opens the connection to a host."""

from tendhost.server.domain.operations.operation import Outcome
from tendhost.server.engine.steps.context import StepContext


async def connect(context: StepContext) -> Outcome:
    """Open a connection, and so verify the host's key."""
    await context.session.reconnected(context.host)
    return Outcome(detail=f"logged in as {context.host.config.user}")
