"""What a step may tell of itself while it is under way."""

from collections.abc import Sequence
from typing import Protocol

from tendhost.server.domain.events import UpdateProgress
from tendhost.server.domain.operation import Findings


class Journal(Protocol):
    """Where a step's progress goes."""

    async def record(self, findings: Findings) -> None:
        """Store findings now, before what they announce is done."""
        ...

    def progressed(self, progress: Sequence[UpdateProgress]) -> None:
        """Note progress; it is stored soon."""
        ...

    def printed(self, output: bytes) -> None:
        """Note output for the operation's log; it is stored soon."""
        ...
