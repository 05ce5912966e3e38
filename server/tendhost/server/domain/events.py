"""Durable facts: what happened in the fleet, numbered by the store."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from tendhost.server.domain.access.certificate_expiry import CertificateUse
from tendhost.server.domain.changes import FieldChange
from tendhost.server.domain.hosts.host import Duplicate, Problem
from tendhost.server.domain.hosts.states import HostState
from tendhost.server.domain.operations.operation import OperationKind, OperationStatus, UpdateResult
from tendhost.server.domain.operations.step_traits import StepName
from tendhost.server.domain.rollouts.rollout import RolloutProgress, RolloutStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class HostRegistered:
    """A host was added."""

    by: str = ""
    host_key_fingerprint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FormerLabels:
    """The labels that a host had until an event changed them: they tell who has seen the host before."""

    groups: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HostUnregistered:
    """A host was removed."""

    by: str = ""
    former_labels: FormerLabels | None = None
    """None: not recorded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostReconfigured:
    """A host's configuration changed."""

    fields: tuple[str, ...]
    by: str = ""
    changes: tuple[FieldChange, ...] = ()
    former_labels: FormerLabels | None = None
    """None: they did not change, or are not recorded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostAcknowledged:
    """Somebody has seen a host's failure."""

    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicatesChanged:
    """A look at a host found other hosts to be, or to be no more, the same machine."""

    duplicate_of: tuple[Duplicate, ...] = ()
    """As they are now; empty: none is any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostConnected:
    """An operation reached the host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostDisconnected:
    """An operation's connection to the host ended, or could not be made."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StateChanged:
    """A host went from one state to another."""

    origin: HostState
    to: HostState
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateProgress:
    """An upgrade got further."""

    package: str
    percent: float
    """0 to 100, of the present phase's whole transaction."""
    phase: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateCompleted:
    """An upgrade ended, well or not. A dry run is not one."""

    result: UpdateResult


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationChanged:
    """An operation was created, began a step, or ended."""

    kind: OperationKind
    status: OperationStatus
    step: StepName | None = None
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRetried:
    """A step failed with what passes by itself, and is tried again after a pause."""

    step: StepName
    attempt: int
    """Which attempt failed, from 1."""
    pause: timedelta
    problem: Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutChanged:
    """A rollout was created, advanced, or ended."""

    status: RolloutStatus
    progress: RolloutProgress
    wave: int
    """The current one, from 0."""
    waves: int
    message: str = ""
    """What was done, or why it halted; empty: it advanced."""
    held_up: str = ""
    """Which budget has let nothing begin for so long that people are told, and who spends it; empty: none."""


class ScheduleChange(StrEnum):
    """What became of a schedule."""

    CREATED = "created"
    UPDATED = "updated"
    PAUSED = "paused"
    RESUMED = "resumed"
    DELETED = "deleted"
    STARTED = "started"
    """A run began: the event has its rollout."""
    SKIPPED = "skipped"
    """A run was due and did not begin."""
    RECOMPUTED = "recomputed"
    """Its next run was computed again, because the clock of the server was wrong when it was computed, or
    the rules of its time zone have changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleChanged:
    """A schedule was created, changed, paused, resumed or deleted, or a run of it was due."""

    schedule: str
    change: ScheduleChange
    next_at: datetime | None
    """When the next run is due; None: no more comes."""
    message: str = ""
    """By whom, or why a run was skipped or late."""
    by: str = ""
    changes: tuple[FieldChange, ...] = ()


class SelectionChange(StrEnum):
    """What became of a saved selection."""

    CREATED = "created"
    UPDATED = "updated"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectionChanged:
    """A saved selection was created, changed or deleted."""

    selection: str
    change: SelectionChange
    message: str = ""
    """By whom, in words."""
    by: str = ""
    changes: tuple[FieldChange, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyChanged:
    """Something else is said for the hosts of a group, or of the fleet."""

    group: str
    """Empty: the fleet."""
    by: str
    deleted: bool = False
    """Nothing is said any more."""
    changes: tuple[FieldChange, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateExpiring:
    """A certificate that the server uses for TLS expires soon, or has expired."""

    use: CertificateUse
    file: str
    expires_at: datetime
    message: str
    """When, and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Undecodable:
    """An event that is stored and cannot be read: it is damaged, or of a newer program. Never stored."""

    kind: str
    problem: str


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
    | CertificateExpiring
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A numbered fact. `revision` is 0 until the store has numbered it."""

    at: datetime
    body: EventBody | Undecodable
    host: str = ""
    operation: str = ""
    rollout: str = ""
    revision: int = 0
