"""The state machine of a host, as one table.

A host rests in IDLE, PENDING_UPDATES or WAITING_REBOOT. The facts (pending updates, a needed reboot) decide
which of them, so every successful operation ends in the resting state that follows from the facts. A host
is busy in QUERYING, UPDATING, REBOOTING and VERIFYING, each of which belongs to exactly one operation.
FAILED needs a person: a retry leaves it, and other settings for the login if nothing but the login had failed.

Every operation starts with a query of the host, in QUERYING; no transition leads from IDLE to UPDATING. A
trigger without an entry in the table for a state raises `InvalidTransition` and changes nothing. The
diagram in `docs/` is drawn from this table.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from tendhost.server.domain.request_errors import InvalidTransition


class HostState(StrEnum):
    """The states of a host. `str(state)` is the name that users see."""

    IDLE = "idle"
    QUERYING = "querying"
    PENDING_UPDATES = "pending_updates"
    UPDATING = "updating"
    WAITING_REBOOT = "waiting_reboot"
    REBOOTING = "rebooting"
    VERIFYING = "verifying"
    FAILED = "failed"

    @property
    def busy(self) -> bool:
        """Whether an operation works on the host."""
        return self in _BUSY

    @property
    def resting(self) -> bool:
        """Whether an operation may start from here."""
        return self in _RESTING


_BUSY = frozenset(
    {HostState.QUERYING, HostState.UPDATING, HostState.REBOOTING, HostState.VERIFYING}
)
_RESTING = frozenset({HostState.IDLE, HostState.PENDING_UPDATES, HostState.WAITING_REBOOT})


class Trigger(StrEnum):
    """What moves a host from one state to another."""

    QUERY = "query"
    """An operation starts. It queries the host first, since an inventory becomes outdated."""
    NOTHING_PENDING = "nothing_pending"
    UPDATES_PENDING = "updates_pending"
    REBOOT_DUE = "reboot_due"
    UPDATE = "update"
    REBOOT = "reboot"
    REBOOT_REFUSED = "reboot_refused"
    VERIFY = "verify"
    FAIL = "fail"
    RETRY = "retry"


_S, _T = HostState, Trigger

TRANSITIONS: Mapping[tuple[HostState, Trigger], HostState] = MappingProxyType(
    {
        (_S.IDLE, _T.QUERY): _S.QUERYING,
        (_S.PENDING_UPDATES, _T.QUERY): _S.QUERYING,
        (_S.WAITING_REBOOT, _T.QUERY): _S.QUERYING,
        # A query that failed without harm leaves the facts, and so the host, as they were.
        (_S.QUERYING, _T.NOTHING_PENDING): _S.IDLE,
        (_S.QUERYING, _T.UPDATES_PENDING): _S.PENDING_UPDATES,
        (_S.QUERYING, _T.REBOOT_DUE): _S.WAITING_REBOOT,
        (_S.QUERYING, _T.FAIL): _S.FAILED,
        (_S.PENDING_UPDATES, _T.UPDATE): _S.UPDATING,
        (_S.UPDATING, _T.NOTHING_PENDING): _S.IDLE,
        # Not permitted any more right before a transaction would have begun: nothing is half done.
        (_S.UPDATING, _T.UPDATES_PENDING): _S.PENDING_UPDATES,
        (_S.UPDATING, _T.VERIFY): _S.VERIFYING,
        (_S.UPDATING, _T.REBOOT_DUE): _S.WAITING_REBOOT,
        (_S.UPDATING, _T.FAIL): _S.FAILED,
        (_S.WAITING_REBOOT, _T.REBOOT): _S.REBOOTING,
        (_S.WAITING_REBOOT, _T.VERIFY): _S.VERIFYING,
        (_S.REBOOTING, _T.VERIFY): _S.VERIFYING,
        (_S.REBOOTING, _T.REBOOT_REFUSED): _S.IDLE,
        # Not permitted any more before it began: the reboot is as due as it was.
        (_S.REBOOTING, _T.UPDATES_PENDING): _S.PENDING_UPDATES,
        (_S.REBOOTING, _T.REBOOT_DUE): _S.WAITING_REBOOT,
        (_S.REBOOTING, _T.FAIL): _S.FAILED,
        (_S.VERIFYING, _T.NOTHING_PENDING): _S.IDLE,
        # A healthy host whose reboot was not allowed still waits for it, and one that was only
        # rebooted still has its updates before it: to call either idle would hide that.
        (_S.VERIFYING, _T.UPDATES_PENDING): _S.PENDING_UPDATES,
        (_S.VERIFYING, _T.REBOOT_DUE): _S.WAITING_REBOOT,
        (_S.VERIFYING, _T.FAIL): _S.FAILED,
        (_S.FAILED, _T.RETRY): _S.IDLE,
        # Nothing but the login had failed, and the login has other settings now.
        (_S.FAILED, _T.NOTHING_PENDING): _S.IDLE,
        (_S.FAILED, _T.UPDATES_PENDING): _S.PENDING_UPDATES,
        (_S.FAILED, _T.REBOOT_DUE): _S.WAITING_REBOOT,
    }
)


def allowed_from(state: HostState) -> tuple[HostState, ...]:
    """The states that one trigger can reach from `state`, in the order of the enumeration."""
    reached = {to for (origin, _), to in TRANSITIONS.items() if origin is state}
    return tuple(s for s in HostState if s in reached)


def after(state: HostState, trigger: Trigger, *, host: str = "") -> HostState:
    """The state that `trigger` leads to.

    Raises InvalidTransition, naming what is allowed, where the table holds no such move.
    """
    try:
        return TRANSITIONS[state, trigger]
    except KeyError:
        pass
    moves = {origin: to for (origin, taken), to in TRANSITIONS.items() if taken is trigger}
    raise InvalidTransition(
        host=host,
        state=str(state),
        action=str(trigger),
        to=str(next(iter(moves.values()))),  # what a trigger leads to is the same from everywhere
        allowed=tuple(str(s) for s in allowed_from(state)),
        required=tuple(str(s) for s in moves),
    )
