"""Events: each has a body, and each kind of body a class."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from tendhost.client.models.hosts import Duplicate, Host, HostState, Problem
from tendhost.client.models.operations import OperationKind, OperationStatus, UpdateResult
from tendhost.client.models.rollouts import Progress, RolloutStatus
from tendhost.client.models.schedules import ScheduleChange


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldChange:
    """A field that changed, with its value before and after; None: not told, being long or perhaps secret."""

    path: str
    old: str | None
    new: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HostRegistered:
    """A host was added, and the key with this fingerprint pinned."""

    by: str = ""
    host_key_fingerprint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostUnregistered:
    """A host was removed."""

    by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostReconfigured:
    """A host's configuration changed: `fields` as in the contract, such as "policy.auto_reboot"."""

    fields: tuple[str, ...]
    by: str = ""
    changes: tuple[FieldChange, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicatesChanged:
    """A look at a host found other hosts to be, or to be no more, the same machine."""

    duplicate_of: tuple[Duplicate, ...]
    """As they are now; empty: none is any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostAcknowledged:
    """Somebody has seen a host's failure."""

    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HostConnected:
    """An operation reached the host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostDisconnected:
    """An operation's connection to the host ended, or could not be made."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StateChanged:
    """A host went from one state to another; `cause` is what moved it, such as "updates_pending"."""

    from_state: HostState
    to_state: HostState
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateProgress:
    """An upgrade got further: `percent` of the phase, 0 to 100. No package: the whole transaction."""

    package: str
    percent: float
    phase: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateCompleted:
    """An upgrade ended, well or not. A dry run is not one."""

    result: UpdateResult


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationChanged:
    """An operation was created, began `step` (empty: none), or ended with `message`."""

    kind: OperationKind
    status: OperationStatus
    step: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRetried:
    """A step failed with what passes by itself; its next attempt follows after `pause`."""

    step: str
    attempt: int
    pause: timedelta
    problem: Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutChanged:
    """A rollout was created, advanced, or ended."""

    status: RolloutStatus
    progress: Progress
    wave: int
    wave_count: int
    message: str
    """What was done, by whom, or why it halted; empty: it advanced."""
    held_up: str = ""
    """Which disruption budget has held it up for long, and who spends it; empty: none, or it was told before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleChanged:
    """A schedule was created or changed, or a run of it was due; `next_at`: when the next one is."""

    schedule: str
    change: ScheduleChange
    next_at: datetime | None
    message: str
    """By whom, or why a run was skipped or late; empty: it began in time."""
    by: str = ""
    """Empty: a run was due."""
    changes: tuple[FieldChange, ...] = ()
    """Of its spec."""


class SelectionChange(StrEnum):
    """What became of a saved selection."""

    CREATED = "created"
    UPDATED = "updated"
    DELETED = "deleted"
    UNRECOGNIZED = "unrecognized"


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectionChanged:
    """A saved selection was created, changed or deleted; `message` says by whom."""

    selection: str
    change: SelectionChange
    message: str
    by: str = ""
    changes: tuple[FieldChange, ...] = ()
    """Of its filter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unrecognized:
    """Something that only a newer SDK has a word for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyChanged:
    """Something else is said for the hosts of a group, or of the fleet."""

    group: str
    """Empty: the fleet."""
    by: str
    deleted: bool
    """Nothing is said any more."""
    changes: tuple[FieldChange, ...] = ()


EventBody = (
    HostRegistered
    | HostUnregistered
    | HostReconfigured
    | HostAcknowledged
    | DuplicatesChanged
    | HostConnected
    | HostDisconnected
    | StateChanged
    | UpdateProgress
    | UpdateCompleted
    | OperationChanged
    | StepRetried
    | RolloutChanged
    | ScheduleChanged
    | SelectionChanged
    | PolicyChanged
    | Unrecognized
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A numbered fact; `host`, `operation_id` and `rollout_id` are empty where it is about none."""

    revision: int
    at: datetime | None
    host: str
    operation_id: str
    rollout_id: str
    body: EventBody
    incomplete: str = ""
    """Why it does not show everything that the server stores of it; empty: it does."""

    @property
    def kind(self) -> str:
        """The body's class in snake_case: the name of its field in the contract."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", type(self.body).__name__).lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Every selected host as of `revision`; the events that follow it come next."""

    revision: int
    hosts: tuple[Host, ...]
