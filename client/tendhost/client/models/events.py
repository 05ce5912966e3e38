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
    """Changed field with its values before and after; None: not recorded, being long or perhaps secret."""

    path: str
    old: str | None
    new: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HostRegistered:
    """A host was registered, and the host key with this fingerprint pinned."""

    by: str = ""
    host_key_fingerprint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FormerLabels:
    """Labels of a host before an event."""

    groups: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HostUnregistered:
    """A host was unregistered."""

    by: str = ""
    former_labels: FormerLabels | None = None
    """None: not recorded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostReconfigured:
    """A host's configuration changed: `fields` as in the contract, such as "policy.auto_reboot"."""

    fields: tuple[str, ...]
    by: str = ""
    changes: tuple[FieldChange, ...] = ()
    former_labels: FormerLabels | None = None
    """None: they did not change, or were not recorded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicatesChanged:
    """The duplicates of a host changed: registered hosts that are, or may be, the same machine."""

    duplicate_of: tuple[Duplicate, ...]
    """Duplicates after the change; empty: none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostAcknowledged:
    """Somebody acknowledged a host's failure."""

    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HostConnected:
    """An operation connected to its host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostDisconnected:
    """An operation's connection to the host ended, or could not be made."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StateChanged:
    """A host changed its state because of `cause`, such as "updates_pending"."""

    from_state: HostState
    to_state: HostState
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateProgress:
    """An upgrade made progress: `percent` of the phase, 0 to 100. No package: the whole transaction."""

    package: str
    percent: float
    phase: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateCompleted:
    """An upgrade ended, successfully or not. Dry runs do not report this."""

    result: UpdateResult


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationChanged:
    """An operation was created, started `step` (empty: none), or ended with `message`."""

    kind: OperationKind
    status: OperationStatus
    step: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRetried:
    """A step failed with a transient error; the next attempt follows after `pause`."""

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
    """Action and the client that requested it, or why the rollout halted; empty: it advanced."""
    held_up: str = ""
    """Disruption budget that has held up the rollout for long; empty: none, or reported before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleChanged:
    """A schedule was created or changed, or a run was due; `next_at` is the time of the next run."""

    schedule: str
    change: ScheduleChange
    next_at: datetime | None
    message: str
    """Client that changed the schedule, or why a run was skipped or late; empty: a run started in time."""
    by: str = ""
    """Empty: a run was due."""
    changes: tuple[FieldChange, ...] = ()
    """Changed fields of the definition."""


class SelectionChange(StrEnum):
    """What happened to a saved selection."""

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
    """Changes with the filter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unrecognized:
    """Event that only a newer SDK knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyChanged:
    """The policy of a group or of the fleet was changed or deleted."""

    group: str
    """Empty: the fleet."""
    by: str
    deleted: bool
    """Whether the policy was deleted."""
    changes: tuple[FieldChange, ...] = ()


class CertificateUse(StrEnum):
    """What the server uses a certificate for."""

    SERVER = "server"
    """The server shows it to clients."""
    CLIENT_CA = "client_ca"
    """It is the CA of the certificates of clients."""
    UNRECOGNIZED = "unrecognized"


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateExpiring:
    """A certificate that the server uses for TLS expires soon, or has expired; `message` says what to do."""

    use: CertificateUse
    file: str
    """Path on the server."""
    expires_at: datetime | None
    message: str


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
    | Unrecognized
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Numbered, stored fact; `host`, `operation_id` and `rollout_id` are empty if it is about none."""

    revision: int
    at: datetime | None
    host: str
    operation_id: str
    rollout_id: str
    body: EventBody
    incomplete: str = ""
    """Why this value does not show everything that the server stores; empty: it does."""

    @property
    def kind(self) -> str:
        """The body's class in snake_case: the name of its field in the contract."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", type(self.body).__name__).lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """All matching hosts as of `revision`; the events after it follow."""

    revision: int
    hosts: tuple[Host, ...]
