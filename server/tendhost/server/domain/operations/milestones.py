"""Which steps of an update's progress are kept as events: enough to see later how it went, and few.

How far an update is at this moment stands in its operation, and is not an event. Pure.
"""

from dataclasses import dataclass, replace

from tendhost.server.domain.operations.operation import JobProgress

FIRST_OF_A_PHASE = 2
"""An update of few packages is told package by package."""
PERCENT_STEP = 25.0
"""After these, so much further is worth an event."""
MOST = 16
"""Of one operation: with those of its steps, an update of any length stays below 40 events."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    phase: str
    count: int
    percent: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Milestones:
    """What was told of an operation's progress so far."""

    count: int = 0
    phases: tuple[_Told, ...] = ()

    def after(self, progress: JobProgress) -> "Milestones | None":
        """What is told once `progress` is; None: it is not worth an event."""
        if self.count == MOST:
            return None
        former = next((told for told in self.phases if told.phase == progress.phase), None)
        if former is None:
            told = _Told(phase=progress.phase, count=1, percent=progress.percent)
            return Milestones(count=self.count + 1, phases=(*self.phases, told))
        further = progress.percent >= former.percent + PERCENT_STEP
        if former.count >= FIRST_OF_A_PHASE and not further:
            return None
        percent = max(former.percent, progress.percent)
        told = replace(former, count=former.count + 1, percent=percent)
        others = tuple(each for each in self.phases if each is not former)
        return Milestones(count=self.count + 1, phases=(*others, told))
