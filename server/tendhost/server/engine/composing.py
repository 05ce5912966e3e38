"""The step that updates a host's compose projects."""

from tendhost.server.domain.errors import ComposeFailed
from tendhost.server.domain.operation import Outcome
from tendhost.server.engine.stage import Stage


async def compose(stage: Stage) -> Outcome:
    raise ComposeFailed(host=stage.host.name, problem="not yet")
