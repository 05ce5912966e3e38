"""Why a request is refused: each error with its reason, its facts and its message."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tendhost.server.domain.errors import MOST_NAMED, TendhostError
from tendhost.server.domain.secret_texts import without_secrets


class RequestError(TendhostError):
    """A request that is refused. It changed nothing, unless the error says otherwise."""


@dataclass(frozen=True)
class FieldViolation:
    """One invalid field of a request: its path in the message and what was expected."""

    field: str
    description: str


class InvalidArgument(RequestError):
    """One or more fields of the request are invalid. The error names all of them at once."""

    violations: tuple[FieldViolation, ...]

    def __init__(self, *violations: FieldViolation) -> None:
        self.violations = tuple(
            FieldViolation(each.field, without_secrets(each.description)) for each in violations
        )
        self.__post_init__()

    def message(self) -> str:
        text = "; ".join(f"{v.field}: {v.description}" for v in self.violations[:MOST_NAMED])
        if len(self.violations) > MOST_NAMED:
            # The number comes first, for the end of a long text is cut off.
            text = f"{len(self.violations)} fields are invalid, the first of them: {text}"
        return text

    def facts(self) -> Mapping[str, str]:
        return {}  # the status carries the violations in a detail of their own


class ConfigurationError(RequestError):
    """A value in the configuration of a host or of the server is invalid."""

    field: str
    value: str
    expected: str
    template = "{field}: invalid value {value!r}, expected {expected}"


class RequestIdReused(RequestError):
    """The request_id was already used for a different request."""

    request_id: str
    template = "request_id {request_id} was already used for a different request; use a new one for each request"


class PageTokenInvalid(RequestError):
    """The page token does not belong to this list."""

    template = "page_token: it does not belong to this list; start again without a page token"


class HostNotFound(RequestError):
    """No host of that name is registered."""

    host: str
    template = "host {host!r} is not registered; list the hosts: tendhost host list"


class HostAlreadyExists(RequestError):
    """A host of that name is already registered."""

    host: str
    template = "host {host!r} is already registered; change it: tendhost host set {host}"


class HostDuplicate(RequestError):
    """The machine is already registered under another name."""

    host: str
    other: str
    same: str
    template = (
        "{host} has the same {same} as the registered host {other}, and one machine under two names would be"
        " updated twice at the same time; use {other}, or --allow-duplicate if it is another machine;"
        " compare: tendhost host show {other}"
    )


class HostKeyMismatch(RequestError):
    """The host shows a host key that differs from the expected one."""

    host: str
    expected: str
    shown: str
    template = (
        "{host} shows the host key {shown}, expected {expected}: another machine may be answering at its address;"
        " nothing was pinned; print its keys on the host itself, with `ssh-keygen -lf`, and give the right one with"
        " --host-key"
    )


class OnlyJump(RequestError):
    """The host is registered only as a jump, so no operation may run on it."""

    host: str
    template = (
        "{host} is registered only as a jump for other hosts, so it is neither queried nor changed; to manage it, too:"
        " tendhost host set {host} --no-jump-only"
    )


class JumpInUse(RequestError):
    """Other hosts are reached through the host, so it stays registered."""

    host: str
    users: tuple[str, ...]
    """Names of hosts whose jump it is, the first in the order of names."""

    def message(self) -> str:
        named = ", ".join(self.users[:MOST_NAMED])
        if len(self.users) > MOST_NAMED:
            named += " and others"
        return (
            f"cannot unregister {self.host}: it is the jump of {named}; first give them another jump, or '' for none:"
            " tendhost host set NAME --jump JUMP"
        )


class EtagMismatch(RequestError):
    """The resource has changed since the caller read it."""

    resource: str
    etag: str
    current: str

    def message(self) -> str:
        if not self.current:
            return f"cannot change {self.resource}: it no longer exists (expected etag {self.etag})"
        return (
            f"cannot change {self.resource}: it has changed since it was read (expected etag {self.etag}, found"
            f" {self.current}); read it again and repeat the change"
        )


class HostBusy(RequestError):
    """Another operation is running on the host."""

    host: str
    operation: str
    template = (
        "host {host!r} is busy with operation {operation}; try again when the operation has ended, or wait for its"
        " end: tendhost operation watch {operation}"
    )


class HostFailed(RequestError):
    """The host is in FAILED; a retry comes before any other work."""

    host: str
    step: str
    error: str
    template = (
        "host {host!r} failed in step {step!r} ({error}); retry it first: tendhost retry {host}"
    )


class InvalidTransition(RequestError):
    """The host's state does not allow the action.

    `to` is the state that `action` leads to from the states `required`; `allowed` are the states that can be
    reached from `state`.
    """

    host: str
    state: str
    action: str
    to: str
    allowed: tuple[str, ...]
    required: tuple[str, ...]

    def message(self) -> str:
        text = f"cannot {self.action} {self.host or 'a host'}: it is {self.state}"
        advice = _ADVICE.get(self.action)
        if self.action == "retry" and "querying" not in self.allowed:
            advice = _BUSY_RETRY
        return f"{text}; {advice.format(host=self.host)}" if advice else text


_ADVICE: Mapping[str, str] = {
    "acknowledge": "only failed hosts can be acknowledged; list them: tendhost host list --state failed",
    "query": "try again when its operation has ended: tendhost host show {host}",
    "retry": "only failed hosts can be retried; query it again: tendhost query {host}",
}
"""What the caller of an action can do. The other actions are steps of tendhost's own operations."""
_BUSY_RETRY = "only failed hosts can be retried; see its operation: tendhost host show {host}"
"""With a retry of a host that cannot be queried either, since an operation runs on it."""


class RebootNotAllowed(RequestError):
    """The host is the server's own machine, which is rebooted only where its policy says so."""

    host: str
    template = (
        "cannot reboot {host}: it is the server's own machine, which is rebooted only if its policy says so: tendhost"
        " host set {host} --auto-reboot"
    )


class PlanUnusable(RequestError):
    """The operation cannot serve as the plan of an update of this host."""

    host: str
    operation: str
    problem: str

    def message(self) -> str:
        if not self.operation:
            plan, remedy = (
                "the stored pending updates",
                f"query it first: tendhost query {self.host}",
            )
        else:
            plan = f"operation {self.operation}"
            remedy = f"make a plan: tendhost update {self.host} --dry-run"
        return f"cannot use {plan} as the plan for {self.host}: {self.problem}; {remedy}"


class OsqueryRefused(RequestError):
    """The host's osquery cannot be queried, or rejects the statement."""

    host: str
    problem: str
    template = (
        "{host}: osquery: {problem}; what is known without osquery: tendhost host inventory {host}"
    )


class OperationNotFound(RequestError):
    """No operation has that id."""

    operation: str
    template = "there is no operation {operation!r}; list the latest: tendhost operation list"


class OperationEnded(RequestError):
    """The operation has already ended."""

    operation: str
    status: str
    template = (
        "cannot cancel operation {operation}: it has already ended ({status}); see its result: tendhost operation show"
        " {operation}"
    )


class InvalidRolloutStatus(RequestError):
    """The rollout's status does not allow the action."""

    rollout: str
    status: str
    wanted: str

    def message(self) -> str:
        advice = _ROLLOUT_ADVICE.get(self.status, _SHOW_ROLLOUT).format(rollout=self.rollout)
        return f"rollout {self.rollout} cannot be {self.wanted}: it is {self.status}; {advice}"


_SHOW_ROLLOUT = "see its hosts: tendhost rollout show {rollout}"
_FOLLOW_TO_THE_END = (
    "follow what still runs: tendhost rollout watch {rollout}; when it has ended, retry the failed hosts: tendhost"
    " rollout retry {rollout}"
)
_RESUME_ROLLOUT = "no host starts until somebody resumes it: tendhost rollout resume {rollout}"
_ROLLOUT_ADVICE: Mapping[str, str] = {
    "running": "follow it: tendhost rollout watch {rollout}",
    "paused": _RESUME_ROLLOUT,
    "halted": _RESUME_ROLLOUT,
    "awaiting_approval": "approve its next wave: tendhost rollout approve {rollout} WAVE",
    "cancelled": _FOLLOW_TO_THE_END,
    "expired": _FOLLOW_TO_THE_END,
}
"""What the caller can do instead, by the status of the rollout."""


class RolloutNotFound(RequestError):
    """No rollout has that id."""

    rollout: str
    template = "there is no rollout {rollout!r}; list the latest: tendhost rollout list"


class RolloutBudgetSpent(RequestError):
    """More hosts of the halted rollout have failed than max_failures allows."""

    rollout: str
    failures: int
    max_failures: str
    template = (
        "cannot resume rollout {rollout}: {failures} failed, more than max_failures = {max_failures}; retry the"
        " failed hosts, or resume with a greater max_failures: tendhost rollout retry {rollout}, or tendhost rollout"
        " resume {rollout} --max-failures NUMBER"
    )


class WaveNotWaiting(RequestError):
    """A wave other than the approved one is waiting for approval."""

    rollout: str
    wave: int
    waiting: int
    template = (
        "cannot approve wave {wave} of rollout {rollout}: wave {waiting} is the one that waits for approval: tendhost"
        " rollout approve {rollout} {waiting}"
    )


class HostNotInRollout(RequestError):
    """The host is not part of the rollout."""

    rollout: str
    host: str
    template = "host {host!r} is not part of rollout {rollout}; list its hosts: tendhost rollout show {rollout}"


class HostNotSkippable(RequestError):
    """The rollout has already started or finished the host."""

    rollout: str
    host: str
    status: str
    template = (
        "cannot skip {host} in rollout {rollout}: it is {status};"
        " only hosts that have not started can be skipped; list the hosts: tendhost rollout show {rollout}"
    )


class CredentialMissing(RequestError):
    """The call has no credential, and the server asks for one."""

    template = (
        "no credential was given, and the server asks for one; use its unix socket as its owner, or a token:"
        " tendhost login --server ADDRESS"
    )


class CredentialInvalid(RequestError):
    """The credential of the call is not valid."""

    credential: str
    problem: str
    template = (
        "the {credential} is not valid: {problem}; nothing was done. Log in again: tendhost login"
    )


class PermissionMissing(RequestError):
    """The caller's roles do not permit the call."""

    principal: str
    method: str
    roles: Sequence[str]
    needed: Sequence[str]

    def message(self) -> str:
        own = ", ".join(self.roles) or "none"
        if not self.needed:
            return f"{self.principal} may not call {self.method}, which no role permits"
        return (
            f"{self.principal} may not call {self.method}: its roles are {own}, and it needs"
            f" {' or '.join(self.needed)}; ask an admin for that role: in another token (tendhost token create), or for"
            " a JWT at its issuer, or for a certificate in the configuration of the server"
        )


class CallNotScoped(RequestError):
    """The caller is bound to some of the hosts, and the call is not limited to them."""

    principal: str
    method: str
    scope: str
    why: str
    template = (
        "{principal} may not call {method}: its credential is bound to hosts ({scope}), and {why}; ask an admin for one"
        " that is bound to no hosts: another token (tendhost token create), or other claims in a JWT"
    )


class TokenNotFound(RequestError):
    """No token has that id."""

    token: str
    template = "there is no token {token!r}; list the tokens: tendhost token list"


class NotAnApprover(RequestError):
    """The rollout names its approvers, and the caller is none of them."""

    rollout: str
    by: str
    approvers: Sequence[str]
    template = "{by} may not approve waves of rollout {rollout}; its approvers: {approvers}"


class NothingToRetry(RequestError):
    """No host of the rollout has failed."""

    rollout: str
    template = "cannot retry rollout {rollout}: none of its hosts has failed; see them: tendhost rollout show {rollout}"


class PlanNotFound(RequestError):
    """No rollout plan has that id, or the plan has expired."""

    plan: str
    template = (
        "there is no plan {plan!r}, or it has expired; make a new plan: tendhost rollout plan"
    )


class FleetChanged(RequestError):
    """The fleet has changed since the plan, so the rollout would differ from it."""

    plan: str
    changes: str
    template = (
        "the fleet has changed since plan {plan} was made: {changes}; make a new plan and compare: tendhost rollout"
        " plan"
    )


class RolloutEmpty(RequestError):
    """The rollout's filter selects no host, or each of its hosts is excluded."""

    excluded: Sequence[str] = ()

    def message(self) -> str:
        if not self.excluded:
            return "filter: it selects no host, so there is nothing to roll out; see names and tags: tendhost host list"
        named = "; ".join(self.excluded[:MOST_NAMED])
        return (
            f"filter: each of the {len(self.excluded)} hosts that it selects is excluded: {named};"
            " details of one: tendhost why HOST"
        )


class ScheduleNotFound(RequestError):
    """No schedule has that name."""

    schedule: str
    template = "there is no schedule {schedule!r}; list the schedules: tendhost schedule list"


class SelectionNotFound(RequestError):
    """No saved selection has that name."""

    selection: str
    template = (
        "there is no saved selection {selection!r}; list the selections: tendhost selection list"
    )


class SelectionAlreadyExists(RequestError):
    """A saved selection of that name already exists."""

    selection: str
    template = "saved selection {selection!r} already exists; change it: tendhost selection set {selection}"


class SelectionInUse(RequestError):
    """A schedule uses the saved selection."""

    selection: str
    schedule: str
    template = (
        "cannot delete the saved selection {selection!r}: schedule {schedule!r} uses it; delete the schedule first:"
        " tendhost schedule delete {schedule}"
    )


class PolicyNotFound(RequestError):
    """No policy is set for the group, or for the fleet."""

    group: str

    def message(self) -> str:
        problem = (
            f"no policy is set for group {self.group!r}" if self.group else "no fleet policy is set"
        )
        return f"{problem}; list the policies: tendhost policy list"


class ScheduleAlreadyExists(RequestError):
    """A schedule of that name already exists."""

    schedule: str
    template = "schedule {schedule!r} already exists; change it: tendhost schedule set {schedule}"


class InvalidScheduleStatus(RequestError):
    """The schedule's status does not allow the action."""

    schedule: str
    status: str
    wanted: str

    def message(self) -> str:
        advice = _SCHEDULE_ADVICE.get(self.status, "see it: tendhost schedule show {schedule}")
        return (
            f"schedule {self.schedule!r} cannot be {self.wanted}: it is {self.status};"
            f" {advice.format(schedule=self.schedule)}"
        )


_SCHEDULE_ADVICE: Mapping[str, str] = {
    "active": "see its next runs: tendhost schedule show {schedule}",
    "paused": "no run starts until somebody resumes it: tendhost schedule resume {schedule}",
    "ended": "give the schedule new times: tendhost schedule set {schedule} --rrule RULE, or --cron EXPRESSION",
}
"""What the caller can do instead, by the status of the schedule."""


class InventoryNotFound(RequestError):
    """The host has never been queried, so no inventory of it is stored."""

    host: str
    template = "no inventory of {host!r} is stored: it has never been queried; query it: tendhost query {host}"


class CursorCompacted(RequestError):
    """The events after the cursor were pruned: take a snapshot and resume from its revision."""

    cursor: int
    oldest: int
    current: int
    template = (
        "resume_after: the events after revision {cursor} were pruned; the oldest one kept is {oldest}, the current"
        " revision {current}; take a snapshot and resume from its revision"
    )


class CursorUnknown(RequestError):
    """The cursor lies ahead of the event log or belongs to another one: take a snapshot.

    `log_id` is the event log that the client names with the cursor; empty: the client names none.
    """

    cursor: int
    oldest: int
    current: int
    log_id: str
    current_log_id: str

    def message(self) -> str:
        problem = f"this server's event log has no revision {self.cursor}"
        if self.log_id not in ("", self.current_log_id):
            problem = (
                f"revision {self.cursor} belongs to the event log {self.log_id}, and this server's event log is"
                f" {self.current_log_id}"
            )
        return (
            f"resume_after: {problem}; the oldest one kept is {self.oldest}, the current revision {self.current};"
            " take a snapshot and resume from its revision"
        )


class WatcherTooSlow(RequestError):
    """The client of a stream read nothing for too long."""

    seconds: float
    template = "the client read nothing for {seconds} s; resume from the last revision"


class MessageOverdue(RequestError):
    """The call was started, but its message did not arrive in time: send the message with the call."""

    seconds: int
    template = "the message of the call did not arrive within {seconds} s; send it with the call, or check the network"


class TooManyCalls(RequestError):
    """The caller makes more calls, or more mutations, a second than one principal may: send them more slowly."""

    principal: str
    what: str
    limit: int
    template = (
        "{principal} makes more than {limit} {what}; try again in a second, and send fewer at once"
    )


class TooManyStreams(RequestError):
    """The caller has as many open streams as one principal may have: close one."""

    principal: str
    limit: int
    template = "{principal} has {limit} open streams, and may have no more; close one, or watch more hosts with one"


class TooManyOperations(RequestError):
    """The server has as many unfinished operations as it takes: wait until some have ended."""

    limit: int
    template = (
        "the server has {limit} unfinished operations, and starts no more; try again when some have ended:"
        " tendhost operation list"
    )


class TooManyQueued(RequestError):
    """As many operations as may be queued wait for the host: wait until some have ended, or cancel one."""

    host: str
    limit: int
    template = (
        "host {host!r} has {limit} queued operations, and can have no more; try again when one has ended, or cancel"
        " one: tendhost operation cancel ID"
    )


class TooManyRollouts(RequestError):
    """The server has as many unfinished rollouts as it takes: finish or cancel some."""

    limit: int
    template = (
        "the server has {limit} unfinished rollouts, and takes no more; cancel those that nobody needs:"
        " tendhost rollout list, tendhost rollout cancel ID"
    )


class ServerStopping(RequestError):
    """The server is stopping and has ended the call: send the request again, or resume the stream."""

    template = "the server is stopping; try again when it has started"


class StoreUnavailable(RequestError):
    """The database is unavailable."""

    cause: str
    template = "the database is unavailable: {cause}"
