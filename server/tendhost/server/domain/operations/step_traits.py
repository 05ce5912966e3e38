"""The steps of operations: their names, and one table of the traits of each.

Code that treats some steps differently reads the traits here, so that a new step is one row.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from tendhost.server.domain.operations.permission import ChangeKind


class StepName(StrEnum):
    """The steps that operations are made of."""

    CONNECT = "connect"
    PREFLIGHT = "preflight"
    LIST = "list"
    PRE_HOOK = "pre_hook"
    DOWNLOAD = "download"
    SNAPSHOT = "snapshot"
    APPLY = "apply"
    COMPOSE = "compose"
    REBOOT_CHECK = "reboot_check"
    REBOOT = "reboot"
    RESTART_SERVICES = "restart_services"
    VERIFY = "verify"
    POST_HOOK = "post_hook"
    ROLLBACK = "rollback"


class StepPhase(StrEnum):
    """Where in an update a step stands, seen from the change of its software."""

    BEFORE_CHANGE = "before_change"
    """What the host runs stays as it is, or is repaired at most. (What a hook does is its own affair.)"""
    CHANGE = "change"
    """Packages or compose projects are replaced."""
    ACTIVATION = "activation"
    """What was replaced comes into use: by a reboot or a restart of services, if by any."""
    HEALTH = "health"
    """The host is found healthy or not, and the hook after the change runs."""
    ROLLBACK = "rollback"
    """What was replaced is restored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTraits:
    """The traits of one step."""

    phase: StepPhase
    changes: bool = False
    """The step changes what the host runs. (A rollback restores what was changed.)"""
    repairs: bool = False
    """The step may repair what an interruption left."""
    interruptible: bool = True
    """A cancelled operation need not see the end of the step. False: once the step has begun, it is waited
    for, also by a retry."""
    reads_only: bool = False
    """Where nothing was changed yet, the step only reads: the operation's deadline ends it in the middle,
    and nothing has to be stored before it begins."""
    connects: bool = False
    """The step ends with the host reached, or with a problem because it was not."""
    takes_host: bool = False
    """With the step, a host that was only looked at (QUERYING) comes to be updated (UPDATING)."""
    jobs: tuple[ChangeKind, ...] = ()
    """The kinds of jobs that the step runs on the host."""
    job_folder_stays: bool = False
    """No later step removes the folder of the step's job from the host: the operation does so at its end."""


_BEFORE, _CHANGE, _ACTIVATION = StepPhase.BEFORE_CHANGE, StepPhase.CHANGE, StepPhase.ACTIVATION
STEP_TRAITS: Mapping[StepName, StepTraits] = MappingProxyType(
    {
        StepName.CONNECT: StepTraits(phase=_BEFORE, reads_only=True, connects=True),
        StepName.PREFLIGHT: StepTraits(phase=_BEFORE, repairs=True, jobs=(ChangeKind.REPAIR,)),
        StepName.LIST: StepTraits(phase=_BEFORE, reads_only=True),
        StepName.PRE_HOOK: StepTraits(
            phase=_BEFORE,
            interruptible=False,
            jobs=(ChangeKind.PRE_HOOK,),
            job_folder_stays=True,
        ),
        StepName.DOWNLOAD: StepTraits(phase=_BEFORE, jobs=(ChangeKind.DOWNLOAD,)),
        StepName.SNAPSHOT: StepTraits(phase=_BEFORE),
        StepName.APPLY: StepTraits(
            phase=_CHANGE,
            changes=True,
            interruptible=False,
            takes_host=True,
            jobs=(ChangeKind.APPLY,),
        ),
        StepName.COMPOSE: StepTraits(
            phase=_CHANGE,
            changes=True,
            interruptible=False,
            takes_host=True,
            jobs=(ChangeKind.COMPOSE,),
        ),
        StepName.REBOOT_CHECK: StepTraits(phase=_ACTIVATION, takes_host=True),
        StepName.REBOOT: StepTraits(phase=_ACTIVATION, changes=True, connects=True),
        StepName.RESTART_SERVICES: StepTraits(phase=_ACTIVATION, changes=True, takes_host=True),
        StepName.VERIFY: StepTraits(phase=StepPhase.HEALTH),
        StepName.POST_HOOK: StepTraits(
            phase=StepPhase.HEALTH,
            interruptible=False,
            jobs=(ChangeKind.POST_HOOK,),
            job_folder_stays=True,
        ),
        StepName.ROLLBACK: StepTraits(
            phase=StepPhase.ROLLBACK,
            interruptible=False,
            takes_host=True,
            jobs=(ChangeKind.ROLLBACK, ChangeKind.UNDO),
            job_folder_stays=True,
        ),
    }
)
"""Every step. The sets below are made from this table, and no other place lists steps by what they do."""


def _steps(holds: Callable[[StepTraits], bool]) -> frozenset[StepName]:
    return frozenset(step for step, traits in STEP_TRAITS.items() if holds(traits))


BEFORE_CHANGE = _steps(lambda traits: traits.phase is StepPhase.BEFORE_CHANGE)
CHANGING = _steps(lambda traits: traits.changes)
REPLACING = _steps(lambda traits: traits.phase is StepPhase.CHANGE)
"""Steps that replace packages or compose projects."""
BEFORE_VERIFY = _steps(lambda traits: traits.phase is StepPhase.ACTIVATION)
AFTER_CHANGE_BEGAN = _steps(
    lambda traits: traits.phase in (StepPhase.CHANGE, StepPhase.ACTIVATION, StepPhase.HEALTH)
)
"""Steps at which a retry continues after a change of the operation that failed. (A rollback leaves none.)"""
REFUSABLE = _steps(lambda traits: traits.changes or traits.repairs)
"""Steps that may end because they are not permitted any more, and before which everything that had begun has
come to its end."""
UNINTERRUPTIBLE = _steps(lambda traits: not traits.interruptible)
READING = _steps(lambda traits: traits.reads_only)
CONNECTING = _steps(lambda traits: traits.connects)
TAKING = _steps(lambda traits: traits.takes_host)

STEP_OF_JOB: Mapping[ChangeKind, StepName] = MappingProxyType(
    {kind: step for step, traits in STEP_TRAITS.items() for kind in traits.jobs}
)
"""The step that runs jobs of a kind. Kinds that are missing are no jobs: a connection waits for their end."""
