"""Arguments and results of a store: changes, pages, cursors, and records that are no values of the domain."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, TypeVar, cast

from tendhost.server.domain.access.audit import AuditRecord
from tendhost.server.domain.access.certificate_expiry import ToldExpiries
from tendhost.server.domain.access.tokens import Token
from tendhost.server.domain.errors import TendhostError
from tendhost.server.domain.events import Event
from tendhost.server.domain.hosts.group_policy import GroupPolicy
from tendhost.server.domain.hosts.host import Host
from tendhost.server.domain.hosts.selection import SavedSelection
from tendhost.server.domain.inventory.inventory import Inventory, Pending
from tendhost.server.domain.leases import Held
from tendhost.server.domain.operations.operation import Operation
from tendhost.server.domain.rollouts.budgets import BoundBudget
from tendhost.server.domain.rollouts.rollout import Member, Rollout, Wave
from tendhost.server.domain.schedules.schedule import Schedule

T = TypeVar("T")


class Conflict(TendhostError):
    """Another request changed the same row at the same time: read it again and repeat the change."""

    what: str
    template = (
        "another request changed {what} at the same time; read it again and repeat the change"
    )


class LeaseLost(TendhostError):
    """Another replica drives the operation, the rollout or the duty: the one that wrote about it has lost it."""

    what: str
    template = "another replica drives {what} now; send the request again"


class Unstorable(Exception):
    """A change that cannot be stored, however well the store is: a fault of tendhost's own.

    A value that the database does not take (a number beyond 64 bits, a lone surrogate), a rule of its
    that the change breaks, a fault while the change was written. To try it again is of no use.
    """

    def __init__(self, cause: Exception) -> None:
        self.__cause__ = cause
        super().__init__(f"it cannot be stored: {type(cause).__name__}: {cause}")


@dataclass(frozen=True, slots=True, kw_only=True)
class LogChunk:
    """Bytes of an operation's log that begin at `offset`.

    Offsets count all that was printed. Between two chunks bytes may have been left out.
    """

    operation: str
    offset: int
    data: bytes
    cut: tuple[int, int] = (0, 0)
    """Chunks that lie between these offsets are dropped when this one is stored; equal: none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InventoryRecord:
    """What a query learnt of one host."""

    host: str
    inventory: Inventory
    pending: Pending


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPending:
    """What is pending on one host; None: it was never queried."""

    host: str
    pending: Pending | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRecord:
    """A mutation's `request_id`, stored in the mutation's own transaction.

    `digest` is of the request's body. `respond` makes the response's bytes once the revision is
    known; they are stored, and answer the same request when it is repeated.
    """

    id: str
    digest: bytes
    respond: Callable[[int], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFilter:
    """Which audit records to read; an empty field, or None, admits all."""

    principal: str = ""
    subject: str = ""
    methods: tuple[str, ...] = ()
    """Full names."""
    since: datetime | None = None
    """Records of this time and later."""
    until: datetime | None = None
    """Records before this time."""


PoliciesVersion = tuple[int, int]
"""Number of the policies of groups and the fleet, and the highest revision among them: it changes with each of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionGuard:
    """What must hold when a change is committed with which hosts of a rollout begin.

    Whatever decided on the change has read before, and others may have started hosts or rollouts since, or set
    a freeze.
    """

    policies: PoliciesVersion
    """Of the policies that were taken into account."""

    rollouts: frozenset[str]
    """Ids of the unfinished rollouts whose budgets were taken into account."""
    budgets: frozenset[tuple[str, BoundBudget]]
    """Scopes in which hosts go down, each with a budget that counts there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One transaction.

    Values with `revision == 0` are inserted; all others replace the row of that very revision. Every
    stored value gets the revision that the change reached.

    A change without events reaches no revision, and is of no interest to those who read the event log.
    It may hold operations that are stored already, with their logs, tokens, settle a restoration, and record a
    request that changed nothing or was refused. Such an operation keeps its revision, which is that of its last event,
    and its `quiet_writes` grow by one; a change with events sets them to 0. Both numbers together are
    what compare-and-swap compares.
    """

    events: Sequence[Event]
    hosts: Sequence[Host] = ()
    distinct_hosts: Collection[str] = ()
    """Those of `hosts` whose host key and endpoint no other host may have."""
    routed_hosts: Collection[str] = ()
    """Those of `hosts` whose jumps must lead somewhere: each is registered, and none leads in a circle."""
    removed_hosts: Sequence[Host] = ()
    """None of them may be the jump of another host."""
    operations: Sequence[Operation] = ()
    rollouts: Sequence[Rollout] = ()
    waves: Sequence[Wave] = ()
    """Inserted or replaced, by rollout and number."""
    members: Sequence[Member] = ()
    """Inserted or replaced, by rollout and host."""
    schedules: Sequence[Schedule] = ()
    removed_schedules: Sequence[Schedule] = ()
    selections: Sequence[SavedSelection] = ()
    removed_selections: Sequence[SavedSelection] = ()
    group_policies: Sequence[GroupPolicy] = ()
    removed_group_policies: Sequence[GroupPolicy] = ()
    inventories: Sequence[InventoryRecord] = ()
    tokens: Sequence[Token] = ()
    """New ones."""
    removed_tokens: Collection[str] = ()
    """Ids."""
    used_tokens: Mapping[str, datetime] = field(default_factory=dict)
    """When tokens were last used, by id. Of a token that is gone nothing is stored."""
    log: Sequence[LogChunk] = ()
    held: Sequence[Held] = ()
    """What its author drives, and must still hold when this is committed."""
    taken: Sequence[Held] = ()
    """Operations and rollouts of this change that nobody has driven so far, and who drives them from now on."""
    guard: AdmissionGuard | None = None
    """Raises Conflict where it does not hold."""
    request: RequestRecord | None = None
    audit: AuditRecord | None = None
    at: datetime | None = None
    """When it was made; None: when its first event was."""
    told_expiries: ToldExpiries | None = None
    """Replaces `told_before`; None: what is stored stays."""
    told_before: ToldExpiries | None = None
    """What was read before of that; None: nothing was stored. Raises Conflict where something else is stored now."""
    settles_restoration: bool = False
    """Whether `restored_from` is None once this is committed."""

    @property
    def made_at(self) -> datetime:
        """When the change was made: `at`, or when its first event happened."""
        return self.at or self.events[0].at


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """What became of a change.

    With `replayed` nothing was written: the request had been carried out before, and these are the
    bytes that were answered then.
    """

    revision: int
    replayed: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedOperation:
    """An operation that has ended."""

    host: str
    rollout: str
    """Empty: it is of no rollout."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Touched:
    """What a commit has stored: names of hosts, ids of operations and rollouts.

    An operation is touched by bytes of its log, too, and a rollout by its waves and hosts. Whether events
    tell of it does not matter.
    """

    hosts: frozenset[str] = frozenset()
    operations: frozenset[str] = frozenset()
    rollouts: frozenset[str] = frozenset()
    ended: tuple[EndedOperation, ...] = ()
    """Those of the operations that ended."""
    kinds: frozenset[str] = frozenset()
    """Kinds of the events."""


class DocumentUnreadable(TendhostError):
    """A stored document is damaged, or a newer tendhostd stored it."""

    kind: str
    key: str
    problem: str
    template = (
        "the stored {kind} {key!r} cannot be read ({problem}); a newer tendhostd may have stored it: use that"
        " version, or restore a backup"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A stored value that cannot be read, in the place of the value."""

    kind: str
    key: str
    """The name, the id or the number by which it is stored."""
    problem: str
    position: str
    """Where it stands in its list, for the page that follows it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[T]):
    """A part of a list in its stable order; `more` says whether anything follows."""

    rows: tuple[T | Unreadable, ...]
    """For callers that only show them."""
    more: bool

    @property
    def items(self) -> tuple[T, ...]:
        """For callers that act on them. Raises DocumentUnreadable where one of them cannot be read."""
        for row in self.rows:
            if isinstance(row, Unreadable):
                raise DocumentUnreadable(kind=row.kind, key=row.key, problem=row.problem)
        return cast(tuple[T, ...], self.rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogBounds:
    """The event log: whose it is, and what it holds. `oldest` is the first revision that is kept."""

    log_id: str
    oldest: int
    current: int


@dataclass(frozen=True, slots=True, order=True)
class HostCursor:
    """A cursor in the order in which hosts were stored: by revision, then by name."""

    revision: int
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostsPart:
    """A part of the hosts as of `revision`, from one read transaction.

    A part may be empty and more may follow: a read looks through a bounded number of hosts.
    """

    hosts: tuple[Host, ...]
    gone: tuple[str, ...] = ()
    """Names that the selection does not have any more, or never had: removed, or not selected."""
    revision: int
    last: HostCursor
    """What the next part follows."""
    more: bool
    unreadable: tuple[Unreadable, ...] = ()
    """Further hosts of this part, which cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutCursor:
    """A cursor in the order in which the waves and the members of a rollout were stored.

    Each is a revision with the wave's number or the member's position.
    """

    wave: tuple[int, int] = (-1, -1)
    member: tuple[int, int] = (-1, -1)

    @classmethod
    def behind(cls, revision: int) -> "RolloutCursor":
        """The cursor before everything that was stored after `revision`."""
        return cls(wave=(revision + 1, -1), member=(revision + 1, -1))


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutView:
    """A rollout, and a part of what was stored of it after a cursor, from one read transaction."""

    rollout: Rollout
    waves: tuple[Wave | Unreadable, ...]
    """By number."""
    members: tuple[Member | Unreadable, ...]
    """In the order of the rollout."""
    last: RolloutCursor
    """What the next part follows."""
    more: bool
    """Whether this is not all of it."""
