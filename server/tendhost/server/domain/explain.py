"""Explains why a host was updated and rebooted, or was not: from what is stored, without a guess. Pure.

`explain` returns two answers, and their reasons in order of time, each with its operation or rollout and the
revision of the event that proves it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from tendhost.server.domain.abbreviation import abbreviated
from tendhost.server.domain.hosts.host import Host
from tendhost.server.domain.inventory.inventory import Pending, RebootNeed, Withheld
from tendhost.server.domain.operations.operation import (
    Operation,
    OperationKind,
    OperationStatus,
    UpdateResult,
)
from tendhost.server.domain.policy.availability import Availability
from tendhost.server.domain.rollouts.plan import ONLY_JUMP
from tendhost.server.domain.rollouts.rollout import (
    Member,
    MemberStatus,
    Rollout,
    RolloutStatus,
    WaitingFor,
)


class ReasonKind(StrEnum):
    """The subject of a reason."""

    UPDATED = "updated"
    REBOOTED = "rebooted"
    NOTHING_PENDING = "nothing_pending"
    WITHHELD = "withheld"
    """Packages that are held, kept back, phased or excluded."""
    WINDOW = "window"
    BUDGET = "budget"
    BUSY = "busy"
    FAILURE = "failure"
    ROLLED_BACK = "rolled_back"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"
    """A rollout skipped the host."""
    NOT_ITS_TURN = "not_its_turn"
    """A rollout has not reached the wave of the host, or is at rest."""
    NOT_SELECTED = "not_selected"
    """A rollout did not select the host."""
    REBOOT_NOT_ALLOWED = "reboot_not_allowed"
    REBOOT_UNKNOWN = "reboot_unknown"
    DUPLICATE = "duplicate"
    """Another registered host is, or may be, the same machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """A fact that bears on the answer."""

    at: datetime
    kind: ReasonKind
    message: str
    operation: str = ""
    rollout: str = ""
    revision: int = 0
    """The revision at which the fact was recorded; 0: it holds now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutMembership:
    """A rollout, and the host as its member; None: it is not a member."""

    rollout: Rollout
    member: Member | None
    revision: int = 0
    """The revision at which the member last changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Two answers, and their reasons, oldest first."""

    host: str
    update: str
    reboot: str
    reasons: tuple[Reason, ...]


def explain(
    host: Host,
    pending: Pending | None,
    operations: Sequence[Operation],
    memberships: Sequence[RolloutMembership],
    closed: Availability | None,
    now: datetime,
) -> Explanation:
    """Explain why `host` was updated and rebooted, or was not.

    `pending` is None if the host was never queried; `operations` and `memberships` are the newest ones, newest
    first; `closed` is why the host may not be changed now, None: it may be.
    """
    reasons = [
        *(reason for operation in operations for reason in _of_operation(operation)),
        *(reason for membership in memberships for reason in _of_membership(membership)),
        *_of_now(host, pending, closed, now),
    ]
    return Explanation(
        host=host.name,
        update=_about_updates(host, pending, operations, memberships, closed),
        reboot=_about_reboots(host, operations, closed),
        reasons=tuple(sorted(reasons, key=lambda reason: reason.at)),
    )


# --- the answers ----------------------------------------------------------------------------------


def _about_updates(
    host: Host,
    pending: Pending | None,
    operations: Sequence[Operation],
    memberships: Sequence[RolloutMembership],
    closed: Availability | None,
) -> str:
    status = host.status
    running = next((o for o in operations if o.status is OperationStatus.RUNNING), None)
    if running is not None and running.kind is OperationKind.UPDATE and not running.dry_run:
        step = f", in step {running.current.name}" if running.current else ""
        return f"it is being updated now{step}"
    if host.config.jump_only:
        return f"not updated: {ONLY_JUMP}"
    if status.failure is not None:
        failure = status.failure
        return (
            f"not updated: it has been in failed since {_moment(failure.failed_at)}, because of"
            f" {failure.step}: {failure.problem.message}; fix the cause, then retry it"
        )
    # A dry run updates no host.
    memberships = [m for m in memberships if not m.rollout.spec.dry_run]
    waiting = next((m for m in memberships if _is_in(m, MemberStatus.WAITING)), None)
    if waiting is not None and waiting.member is not None:
        rests = _rest_words(waiting.rollout)
        return f"not updated yet: its rollout waits: {waiting.member.detail}{rests}"
    due = next((m for m in memberships if _is_in(m, MemberStatus.PENDING)), None)
    if due is not None and not due.rollout.over:
        return f"not updated yet: {_turn(due)}"
    if pending is None or pending.queried_at is None:
        return "unknown: this host has never been queried"
    if not pending.count:
        return f"up to date: {_pending_words(pending)}"
    words = f"not updated: {_pending_words(pending)}"
    last = next((o for o in operations if _is_real_update(o)), None)
    skipped = _skipped_since(last, memberships)
    if skipped is not None and skipped.member is not None:
        words += f"; rollout {skipped.rollout.id} skipped it: {skipped.member.detail}"
    elif last is None:
        words += "; nobody has started an update"
    elif last.problem is not None:
        words += f"; the last update failed: {last.problem.message}"
    elif last.status is OperationStatus.CANCELLED:
        words += "; the last update was cancelled"
    else:
        words += "; nobody has started an update since then"
    return f"{words}; {closed.message}" if closed is not None else words


def _skipped_since(
    last: Operation | None, memberships: Sequence[RolloutMembership]
) -> RolloutMembership | None:
    """The newest membership, if that rollout skipped the host and was created after its last update."""
    newest = next((m for m in memberships if m.member is not None), None)
    if newest is None or newest.member is None or newest.member.status is not MemberStatus.SKIPPED:
        return None
    is_newer = last is None or newest.rollout.created_at > last.created_at
    return newest if is_newer else None


def _about_reboots(host: Host, operations: Sequence[Operation], closed: Availability | None) -> str:
    reboot = host.status.reboot
    because = f" ({reboot.reason})" if reboot.reason else ""
    if reboot.need is RebootNeed.UNKNOWN:
        return f"unknown whether a reboot is needed{because}; unknown never reboots a host"
    if reboot.need is RebootNeed.NOT_NEEDED:
        last = next((o for o in operations if o.rebooted), None)
        when = f"; it was last rebooted {_moment(last.ended_at)}" if last and last.ended_at else ""
        return f"no reboot is needed{when}"
    since = f" since {_moment(reboot.since)}" if reboot.since else ""
    if host.config.jump_only:
        return f"a reboot is needed{since}{because}; {ONLY_JUMP}"
    if not host.config.may_reboot:
        return f"a reboot is needed{since}{because}, and its policy does not allow updates to do it"
    if host.status.failure is not None:
        return f"a reboot is needed{since}{because}; it is in failed, so nothing is changed on it"
    if closed is not None:
        return f"a reboot is needed{since}{because}; {closed.message}"
    return f"a reboot is needed{since}{because}; its next update does it"


def _pending_words(pending: Pending) -> str:
    withheld = len(pending.packages) - pending.count
    words = "no updates were pending"
    if pending.count:
        words = (
            "1 update was pending"
            if pending.count == 1
            else f"{pending.count} updates were pending"
        )
    security = pending.security_count
    if pending.count and security:
        words += (
            ", a security update"
            if pending.count == 1
            else f", {security} of them security updates"
        )
    if withheld:
        words += f" ({withheld} withheld)"
    assert pending.queried_at is not None
    return f"{words} at the last query, {_moment(pending.queried_at)}"


# --- the reasons ----------------------------------------------------------------------------------


def _of_operation(operation: Operation) -> Iterator[Reason]:
    at = operation.ended_at
    if at is None or operation.dry_run or operation.kind is OperationKind.CHECK:
        return

    def reason(kind: ReasonKind, message: str) -> Reason:
        return Reason(
            at=at,
            kind=kind,
            message=message,
            operation=operation.id,
            rollout=operation.rollout,
            revision=operation.revision,
        )

    update = operation.update
    if operation.problem is not None:
        step = f"{operation.failed_step}: " if operation.failed_step else ""
        kind = ReasonKind.FAILURE
        if operation.problem.reason == "WINDOW_CLOSED":
            kind = ReasonKind.WINDOW
        yield reason(kind, f"{operation.kind} failed in {step}{operation.problem.message}")
    elif operation.status is OperationStatus.CANCELLED:
        yield reason(
            ReasonKind.CANCELLED,
            f"{operation.kind} was cancelled by {operation.cancel_requested_by}",
        )
    elif operation.kind is OperationKind.UPDATE and update is not None:
        if update.changes:
            count = len(update.changes)
            words = "1 package was changed" if count == 1 else f"{count} packages were changed"
            yield reason(ReasonKind.UPDATED, words)
        elif not operation.only_prepares:
            yield reason(ReasonKind.NOTHING_PENDING, _unchanged_words(update))
    if update is not None and update.rolled_back:
        yield reason(ReasonKind.ROLLED_BACK, "its changes were rolled back")
    if operation.rebooted:
        yield reason(ReasonKind.REBOOTED, _reboot_words(operation))
    elif operation.reboot_left:
        words = f"a reboot was due after it, and was left: {operation.reboot_left}"
        yield reason(ReasonKind.REBOOT_NOT_ALLOWED, words)


def _unchanged_words(update: UpdateResult) -> str:
    if update.restarted:
        return f"an update found nothing pending and restarted {', '.join(update.restarted)}"
    return "an update found nothing to do"


def _reboot_words(operation: Operation) -> str:
    by = f" by {operation.created_by}" if operation.kind is OperationKind.REBOOT else ""
    return f"it was rebooted{by}"


_WAITS = {
    WaitingFor.WINDOW: ReasonKind.WINDOW,
    WaitingFor.BUDGET: ReasonKind.BUDGET,
    WaitingFor.HOST: ReasonKind.BUSY,
    WaitingFor.DEPENDENCY: ReasonKind.NOT_ITS_TURN,
}


def _of_membership(membership: RolloutMembership) -> Iterator[Reason]:
    rollout, member = membership.rollout, membership.member
    name = f"rollout {rollout.id}"
    if member is None:
        yield Reason(
            at=rollout.created_at,
            kind=ReasonKind.NOT_SELECTED,
            message=f"{name} was not about it: its selection did not match, or it was not registered",
            rollout=rollout.id,
            revision=rollout.revision,
        )
        return
    at = rollout.ended_at or rollout.created_at
    match member.status:
        case MemberStatus.WAITING if member.waiting is not None:
            kind, words = _WAITS[member.waiting], f"{name} waits with it: {member.detail}"
            words += _rest_words(rollout)
        case MemberStatus.SKIPPED:
            kind, words = ReasonKind.SKIPPED, f"{name} skipped it: {member.detail}"
        case MemberStatus.PENDING:
            kind, words = ReasonKind.NOT_ITS_TURN, f"{name}: {_turn(membership)}"
        case _:
            return  # the rest is in its operation
    yield Reason(at=at, kind=kind, message=words, rollout=rollout.id, revision=membership.revision)


def _turn(membership: RolloutMembership) -> str:
    rollout, member = membership.rollout, membership.member
    assert member is not None
    turn = f"it is in wave {member.wave + 1}, and wave {rollout.wave + 1} of {rollout.waves} is on"
    return f"{turn}{_rest_words(rollout)}"


def _rest_words(rollout: Rollout) -> str:
    """Why the whole rollout does not continue; empty: it does."""
    if rollout.status is RolloutStatus.PAUSED:
        return "; the rollout is paused"
    if rollout.status is RolloutStatus.AWAITING_APPROVAL:
        return f"; wave {rollout.wave + 2} waits for an approval"
    if rollout.status is RolloutStatus.HALTED and rollout.halt is not None:
        return f"; the rollout has halted: {rollout.halt.message}"
    return ""


def _of_now(
    host: Host, pending: Pending | None, closed: Availability | None, now: datetime
) -> Iterator[Reason]:
    if pending is not None and pending.queried_at is not None:
        for why in (why for why in Withheld if why is not Withheld.NO):
            names = [package.name for package in pending.packages if package.withheld is why]
            if names:
                yield Reason(
                    at=pending.queried_at,
                    kind=ReasonKind.WITHHELD,
                    message=f"{str(why).replace('_', ' ')}: {abbreviated(names, most=10)}",
                )
    for other in host.status.duplicate_of:
        yield Reason(
            at=now,
            kind=ReasonKind.DUPLICATE,
            message=f"host {other.host} has the same {other.words}: it may be the same machine",
        )
    if closed is not None:
        yield Reason(at=now, kind=ReasonKind.WINDOW, message=closed.message)
    reboot = host.status.reboot
    if reboot.need is RebootNeed.UNKNOWN and reboot.reason:
        yield Reason(at=now, kind=ReasonKind.REBOOT_UNKNOWN, message=reboot.reason)
    if reboot.need is RebootNeed.NEEDED and not host.config.may_reboot:
        yield Reason(
            at=now,
            kind=ReasonKind.REBOOT_NOT_ALLOWED,
            message="its policy does not allow updates to reboot it",
        )


def _is_in(membership: RolloutMembership, status: MemberStatus) -> bool:
    return (
        membership.member is not None
        and membership.member.status is status
        and not membership.rollout.over
    )


def _is_real_update(operation: Operation) -> bool:
    return operation.kind is OperationKind.UPDATE and not operation.only_prepares


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
