"""Why a request is refused: each error with its reason, its facts and its words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tendhost.server.domain.errors import MOST_NAMED, TendhostError


class RequestError(TendhostError):
    """A request that cannot be met; it changed nothing."""


@dataclass(frozen=True)
class FieldViolation:
    """One invalid field of a request: its path in the message and what was expected."""

    field: str
    description: str


class InvalidArgument(RequestError):
    """One or more fields of the request are invalid; every one of them is named at once."""

    def __init__(self, *violations: FieldViolation) -> None:
        self.violations = violations
        words = "; ".join(f"{v.field}: {v.description}" for v in violations[:MOST_NAMED])
        if len(violations) > MOST_NAMED:
            # The number comes first, for the end of a long text is cut off.
            words = f"{len(violations)} fields are invalid, the first of them: {words}"
        super().__init__(words)

    def facts(self) -> Mapping[str, str]:
        return {}  # the violations are told as such


class ConfigurationError(RequestError):
    """A value of a host's or the server's configuration cannot be used."""

    def __init__(self, *, field: str, value: str, expected: str) -> None:
        self.field, self.value, self.expected = field, value, expected
        super().__init__(f"{field}: {value!r} cannot be used, expected {expected}")


class RequestIdReused(RequestError):
    """A request_id was used before, with another body."""

    def __init__(self, *, request_id: str) -> None:
        self.request_id = request_id
        super().__init__(f"request_id {request_id} was used before with another request")


class PageTokenInvalid(RequestError):
    """A page token that this server did not hand out for this very list."""

    def __init__(self) -> None:
        super().__init__("page_token: not a token of this list; start again without one")


class HostNotFound(RequestError):
    """No host of that name is registered."""

    def __init__(self, *, host: str) -> None:
        self.host = host
        super().__init__(f"host {host!r} is not registered")


class HostAlreadyExists(RequestError):
    """A host of that name is registered already."""

    def __init__(self, *, host: str) -> None:
        self.host = host
        super().__init__(f"host {host!r} is registered already")


class HostDuplicate(RequestError):
    """The machine is registered under another name already."""

    def __init__(self, *, host: str, other: str, same: str) -> None:
        self.host, self.other, self.same = host, other, same
        super().__init__(
            f"{host} has the same {same} as the registered host {other}: two names of one machine would be"
            f" updated side by side. Use {other}, or allow the duplicate (--allow-duplicate) if it is"
            " another machine"
        )


class HostKeyMismatch(RequestError):
    """The host shows another key than the one that whoever enrols it expects."""

    def __init__(self, *, host: str, expected: str, shown: str) -> None:
        self.host, self.expected, self.shown = host, expected, shown
        super().__init__(
            f"{host} shows the host key {shown}, not the expected {expected}: another machine may answer in"
            " its place. Compare with `ssh-keygen -lf` on the host itself; nothing was pinned"
        )


class EtagMismatch(RequestError):
    """Somebody else has changed what the request was decided upon."""

    def __init__(self, *, resource: str, etag: str, current: str) -> None:
        self.resource, self.etag, self.current = resource, etag, current
        now = f"its etag is {current} now" if current else "it does not exist now"
        super().__init__(
            f"{resource} is not as it was read: {now}, and the request has the etag {etag};"
            " read it again, and change that"
        )


class HostBusy(RequestError):
    """Another operation is at work on the host."""

    def __init__(self, *, host: str, operation: str) -> None:
        self.host, self.operation = host, operation
        super().__init__(f"host {host!r} is busy with operation {operation}")


class HostFailed(RequestError):
    """The host is in FAILED and wants a retry first."""

    def __init__(self, *, host: str, step: str, error: str) -> None:
        self.host, self.step, self.error = host, step, error
        super().__init__(
            f"host {host!r} failed in step {step!r} ({error}); retry it before it gets new work"
        )


class InvalidTransition(RequestError):
    """The host's state does not allow what was asked."""

    def __init__(
        self,
        *,
        host: str,
        state: str,
        action: str,
        to: str,
        allowed: tuple[str, ...],
        required: tuple[str, ...],
    ) -> None:
        """`to` is the state that `action` leads to from the states `required`; `allowed` are those that
        can be reached from `state`."""
        self.host, self.state, self.action, self.to = host, state, action, to
        self.allowed, self.required = allowed, required
        name = host or "a host"
        super().__init__(f"cannot {action} {name}: it is {state}, not {' or '.join(required)}")

    def facts(self) -> Mapping[str, str]:
        return {
            "host": self.host,
            "from": self.state,
            "to": self.to,
            "action": self.action,
            "allowed": ",".join(self.allowed),
            "required": ",".join(self.required),
        }


class RebootNotAllowed(RequestError):
    """The machine of the server itself is rebooted only where its policy names it."""

    def __init__(self, *, host: str) -> None:
        self.host = host
        super().__init__(
            f"{host} is the machine of the server itself and is not rebooted unless its policy says"
            " auto_reboot"
        )


class PlanUnusable(RequestError):
    """What is to be carried out is no plan for this host."""

    def __init__(self, *, host: str, operation: str, problem: str) -> None:
        self.host, self.operation, self.problem = host, operation, problem
        named = f"operation {operation}" if operation else "what is stored"
        super().__init__(f"{named} is no plan for {host}: {problem}")


class OsqueryRefused(RequestError):
    """The host's osquery cannot be asked, or refuses the statement."""

    def __init__(self, *, host: str, problem: str) -> None:
        self.host, self.problem = host, problem
        super().__init__(f"{host}: osquery: {problem}")


class OperationNotFound(RequestError):
    """No operation has that id."""

    def __init__(self, *, operation: str) -> None:
        self.operation = operation
        super().__init__(f"there is no operation {operation!r}")


class OperationEnded(RequestError):
    """The operation has ended."""

    def __init__(self, *, operation: str, status: str) -> None:
        self.operation, self.status = operation, status
        super().__init__(f"operation {operation} has ended: {status}")


class InvalidRolloutStatus(RequestError):
    """The rollout's status does not allow what was asked."""

    def __init__(self, *, rollout: str, status: str, wanted: str) -> None:
        self.rollout, self.status, self.wanted = rollout, status, wanted
        super().__init__(f"rollout {rollout} is {status} and cannot be {wanted}")


class RolloutNotFound(RequestError):
    """No rollout has that id."""

    def __init__(self, *, rollout: str) -> None:
        self.rollout = rollout
        super().__init__(f"there is no rollout {rollout!r}")


class RolloutBudgetSpent(RequestError):
    """A halted rollout cannot go on while more of its hosts have failed than may."""

    def __init__(self, *, rollout: str, failures: int, max_failures: str) -> None:
        self.rollout, self.failures, self.max_failures = rollout, failures, max_failures
        super().__init__(
            f"rollout {rollout}: {failures} failed, more than max_failures = {max_failures}: retry"
            " them, or resume with a greater max_failures"
        )


class WaveNotWaiting(RequestError):
    """Another wave than the one that was approved of waits for approval."""

    def __init__(self, *, rollout: str, wave: int, waiting: int) -> None:
        self.rollout, self.wave, self.waiting = rollout, wave, waiting
        super().__init__(f"rollout {rollout}: wave {waiting} waits for approval, not wave {wave}")


class HostNotInRollout(RequestError):
    """The host has no place in the rollout."""

    def __init__(self, *, rollout: str, host: str) -> None:
        self.rollout, self.host = rollout, host
        super().__init__(f"rollout {rollout} has no host {host!r}")


class HostNotSkippable(RequestError):
    """The rollout has begun to work on the host, or is done with it."""

    def __init__(self, *, rollout: str, host: str, status: str) -> None:
        self.rollout, self.host, self.status = rollout, host, status
        super().__init__(
            f"{host} is {status} in rollout {rollout}: only what has not begun can be skipped"
        )


class NotAnApprover(RequestError):
    """The rollout names who may approve of its waves, and this caller is none of them."""

    def __init__(self, *, rollout: str, by: str, approvers: Sequence[str]) -> None:
        self.rollout, self.by, self.approvers = rollout, by, ", ".join(approvers)
        super().__init__(
            f"{by} may not approve of waves of rollout {rollout}: {self.approvers} may"
        )


class NothingToRetry(RequestError):
    """No host of the rollout has failed."""

    def __init__(self, *, rollout: str) -> None:
        self.rollout = rollout
        super().__init__(f"rollout {rollout}: none of its hosts has failed")


class PlanNotFound(RequestError):
    """No plan of a rollout has that id, or it has grown too old to be kept."""

    def __init__(self, *, plan: str) -> None:
        self.plan = plan
        super().__init__(f"there is no plan {plan!r}")


class FleetChanged(RequestError):
    """The rollout of a plan would be another one by now."""

    def __init__(self, *, plan: str, changes: str) -> None:
        self.plan, self.changes = plan, changes
        super().__init__(f"the fleet has changed since plan {plan} was made: {changes}")


class RolloutEmpty(RequestError):
    """A rollout's filter selects no host."""

    def __init__(self, *, left_out: Sequence[str] = ()) -> None:
        self.left_out = "; ".join(left_out[:MOST_NAMED])
        words = "filter: it selects no host, so there is nothing to roll out"
        if left_out:
            words = f"filter: each of the {len(left_out)} hosts that it selects is left out"
            words += f": {self.left_out}"
        super().__init__(words)


class ScheduleNotFound(RequestError):
    """No schedule of that name is there."""

    def __init__(self, *, schedule: str) -> None:
        self.schedule = schedule
        super().__init__(f"there is no schedule {schedule!r}")


class SelectionNotFound(RequestError):
    """No selection of that name is saved."""

    def __init__(self, *, selection: str) -> None:
        self.selection = selection
        super().__init__(f"there is no saved selection {selection!r}")


class SelectionInUse(RequestError):
    """A schedule begins rollouts over the saved selection."""

    def __init__(self, *, selection: str, schedule: str) -> None:
        self.selection, self.schedule = selection, schedule
        super().__init__(f"the saved selection {selection!r} is used by schedule {schedule!r}")


class PolicyNotFound(RequestError):
    """Nothing is said for the hosts of that group, or of the fleet."""

    def __init__(self, *, group: str) -> None:
        self.group = group
        super().__init__(
            f"there are no defaults of {f'the group {group}' if group else 'the fleet'}"
        )


class ScheduleAlreadyExists(RequestError):
    """A schedule of that name is there already."""

    def __init__(self, *, schedule: str) -> None:
        self.schedule = schedule
        super().__init__(f"schedule {schedule!r} is there already")


class InvalidScheduleStatus(RequestError):
    """The schedule is paused already, is not paused, or never comes again."""

    def __init__(self, *, schedule: str, status: str, wanted: str) -> None:
        self.schedule, self.status, self.wanted = schedule, status, wanted
        super().__init__(f"schedule {schedule!r} is {status} and cannot be {wanted}")


class InventoryNotFound(RequestError):
    """The host was never queried, so nothing is stored of it."""

    def __init__(self, *, host: str) -> None:
        self.host = host
        super().__init__(f"host {host!r} was never queried, so no inventory is stored")


class CursorCompacted(RequestError):
    """The events after the cursor were pruned: take a snapshot and go on from there."""

    def __init__(self, *, cursor: int, oldest: int, current: int) -> None:
        self.cursor, self.oldest, self.current = cursor, oldest, current
        super().__init__(
            f"resume_after: events after revision {cursor} are pruned;"
            f" the oldest kept is {oldest}, the current revision {current}"
        )


class CursorUnknown(RequestError):
    """The cursor lies ahead of the event log, or belongs to another one: take a snapshot."""

    def __init__(
        self, *, cursor: int, oldest: int, current: int, log_id: str, current_log_id: str
    ) -> None:
        """`log_id` is the log that the cursor is said to belong to; empty: that is not said."""
        self.cursor, self.oldest, self.current = cursor, oldest, current
        self.log_id, self.current_log_id = log_id, current_log_id
        problem = f"this server's event log has no revision {cursor}"
        if log_id not in ("", current_log_id):
            problem = (
                f"revision {cursor} belongs to the event log {log_id}, and this server's event log is"
                f" {current_log_id}"
            )
        super().__init__(
            f"resume_after: {problem}; the oldest kept is {oldest}, the current revision {current};"
            " take a snapshot and go on from there"
        )


class WatcherTooSlow(RequestError):
    """A stream whose client took nothing for too long."""

    def __init__(self, *, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(
            f"the client read nothing for {seconds:g} s; resume from the last revision"
        )


class ServerStopping(RequestError):
    """The server stops before the call's natural end: ask again, and go on from there."""

    def __init__(self) -> None:
        super().__init__("the server is stopping; ask again once it has started")


class StoreUnavailable(RequestError):
    """The database cannot be written at present; nothing was changed."""

    def __init__(self, *, cause: str) -> None:
        self.cause = cause
        super().__init__(f"the database cannot be used at present: {cause}")
