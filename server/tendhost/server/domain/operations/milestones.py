"""Chooses the progress of an update that is stored as events: a few milestones. Pure.

The latest progress is stored in the operation, without an event.
"""

from dataclasses import dataclass, replace

from tendhost.server.domain.operations.operation import JobProgress

FIRST_OF_A_PHASE = 2
"""Number of events of a phase before PERCENT_STEP matters: an update of few packages has one for each."""
PERCENT_STEP = 25.0
"""Progress of a phase, in percent, that is worth a further event after these."""
MOST = 16
"""Most milestones of an operation: with the events of its steps, no update has more than 40."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _PhaseMilestones:
    phase: str
    count: int
    percent: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Milestones:
    """The milestones of an operation so far."""

    count: int = 0
    phases: tuple[_PhaseMilestones, ...] = ()

    def after(self, progress: JobProgress) -> "Milestones | None":
        """The milestones with `progress`; None: it is not one."""
        if self.count == MOST:
            return None
        former = next((phase for phase in self.phases if phase.phase == progress.phase), None)
        if former is None:
            first = _PhaseMilestones(phase=progress.phase, count=1, percent=progress.percent)
            return Milestones(count=self.count + 1, phases=(*self.phases, first))
        further = progress.percent >= former.percent + PERCENT_STEP
        if former.count >= FIRST_OF_A_PHASE and not further:
            return None
        percent = max(former.percent, progress.percent)
        latest = replace(former, count=former.count + 1, percent=percent)
        others = tuple(each for each in self.phases if each is not former)
        return Milestones(count=self.count + 1, phases=(*others, latest))
