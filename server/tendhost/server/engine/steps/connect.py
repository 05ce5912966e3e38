"""The step that opens the connection to a host."""

from tendhost.server.domain.operations.operation import Outcome
from tendhost.server.engine.steps.context import Stage


async def connect(stage: Stage) -> Outcome:
    """Open a connection, and so verify the host's key."""
    await stage.session.renewed(stage.host)
    return Outcome(detail=f"logged in as {stage.host.config.user}")
