"""What is worth telling people of: which events make which notices, and for whom.

A reader of the event log carries a `Following` from event to event: what it has to remember of those
that it has passed. It is stored together with the reader's place in the log, so that a server that
was restarted derives from the same events the same notices.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from tendhost.server.domain.events import Event, OperationChanged, RolloutChanged, StateChanged
from tendhost.server.domain.hosts.states import HostState
from tendhost.server.domain.operations.operation import OperationKind, OperationStatus
from tendhost.server.domain.rollouts.rollout import RolloutProgress, RolloutStatus


class NoticeKind(StrEnum):
    """What a notice is about."""

    ROLLOUT_STARTED = "rollout_started"
    WAVE_DONE = "wave_done"
    """A wave has ended and the next one is the current one. The end of the last is the rollout's."""
    ROLLOUT_HALTED = "rollout_halted"
    ROLLOUT_HELD_UP = "rollout_held_up"
    """A disruption budget has let nothing of a rollout begin for a long time."""
    APPROVAL_WANTED = "approval_wanted"
    ROLLOUT_ENDED = "rollout_ended"
    HOST_FAILED = "host_failed"
    """An update or a reboot of a host failed, or whatever else took it to FAILED."""
    EVENTS_PRUNED = "events_pruned"
    """History was dropped before it could be told. Every target hears of it."""


CHOOSABLE = tuple(kind for kind in NoticeKind if kind is not NoticeKind.EVENTS_PRUNED)
"""What a target may choose from."""

KIND_OF_STATUS: Mapping[RolloutStatus, NoticeKind | None] = {
    RolloutStatus.RUNNING: None,
    RolloutStatus.PAUSED: None,
    RolloutStatus.HALTED: NoticeKind.ROLLOUT_HALTED,
    RolloutStatus.AWAITING_APPROVAL: NoticeKind.APPROVAL_WANTED,
    RolloutStatus.COMPLETED: NoticeKind.ROLLOUT_ENDED,
    RolloutStatus.CANCELLED: NoticeKind.ROLLOUT_ENDED,
    RolloutStatus.EXPIRED: NoticeKind.ROLLOUT_ENDED,
}
"""What is told when a rollout comes to a status; None: nothing. An end is told once nothing of the
rollout is under way any more."""

ENDED_KEPT = 64
"""So many ended rollouts are remembered as told, for a rollout may have another event after its end."""
_CHANGING = (OperationKind.UPDATE, OperationKind.REBOOT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something to tell. What does not apply is empty."""

    kind: NoticeKind
    at: datetime
    revision: int
    """Of the event that it was derived from."""
    rollout: str = ""
    host: str = ""
    status: str = ""
    """The rollout's."""
    wave: int = 0
    """From 1; 0: it is not about a rollout."""
    waves: int = 0
    progress: RolloutProgress | None = None
    message: str = ""
    """Why, in the words of the event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """How a rollout stood at its last event."""

    status: RolloutStatus
    wave: int
    """From 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowedRollouts:
    """What a reader of the log remembers of the events before its place in it."""

    rollouts: Mapping[str, Seen] = field(default_factory=dict)
    """Those that have not ended."""
    ended: tuple[str, ...] = ()
    """The latest rollouts whose end was told, at most ENDED_KEPT."""
    stranded: tuple[str, ...] = ()
    """Operations under way that have taken their host to FAILED; told once they have ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationCursor:
    """How far a reader of the log is: the last revision it is done with, and what it remembers."""

    revision: int
    following: FollowedRollouts = FollowedRollouts()


def noticed(
    following: FollowedRollouts, event: Event
) -> tuple[FollowedRollouts, tuple[Notice, ...]]:
    """What there is to tell of `event`, and what is to be remembered from then on."""
    match event.body:
        case RolloutChanged() as body:
            return _of_rollout(following, event, body)
        case StateChanged(to=HostState.FAILED, cause=cause):
            if not event.operation:
                return following, (_host_failed(event, cause),)
            return replace(following, stranded=(*following.stranded, event.operation)), ()
        case OperationChanged() as body if body.status.ended:
            return _of_operation(following, event, body)
        case _:
            return following, ()


def pruned(*, revision: int, first: int, at: datetime) -> Notice:
    """What is told where the events after `revision` and before `first` were dropped unread."""
    count = first - revision - 1
    return Notice(
        kind=NoticeKind.EVENTS_PRUNED,
        at=at,
        revision=first - 1,
        message=f"{count} events (revisions {revision + 1} to {first - 1}) were pruned before they"
        " could be told; what happened in them is not known here",
    )


def _of_rollout(
    following: FollowedRollouts, event: Event, body: RolloutChanged
) -> tuple[FollowedRollouts, tuple[Notice, ...]]:
    id = event.rollout
    if id in following.ended:
        return following, ()
    former = following.rollouts.get(id)
    kinds = []
    if former is None and _untouched(body):
        kinds.append(NoticeKind.ROLLOUT_STARTED)
    if former is not None and body.wave > former.wave:
        kinds.append(NoticeKind.WAVE_DONE)
    if body.held_up:
        kinds.append(NoticeKind.ROLLOUT_HELD_UP)
    kind = KIND_OF_STATUS[body.status]
    ending = kind is NoticeKind.ROLLOUT_ENDED
    over = ending and body.progress.ended == body.progress.total_hosts
    come_to_it = former is None or former.status is not body.status
    if kind is not None and (over if ending else come_to_it):
        kinds.append(kind)
    rest = {other: seen for other, seen in following.rollouts.items() if other != id}
    if over:
        ended = (*following.ended, id)[-ENDED_KEPT:]
        following = replace(following, rollouts=rest, ended=ended)
    else:
        rest[id] = Seen(status=body.status, wave=body.wave)
        following = replace(following, rollouts=rest)
    return following, tuple(_about_rollout(kind, event, body) for kind in kinds)


def _untouched(body: RolloutChanged) -> bool:
    """Whether this is how a rollout is created; it is no more so once its first wave has hosts under way."""
    progress = body.progress
    return (
        body.status is RolloutStatus.RUNNING
        and body.wave == 0
        and progress.pending + progress.skipped == progress.total_hosts
    )


def _about_rollout(kind: NoticeKind, event: Event, body: RolloutChanged) -> Notice:
    done = kind is NoticeKind.WAVE_DONE
    return Notice(
        kind=kind,
        at=event.at,
        revision=event.revision,
        rollout=event.rollout,
        status=str(body.status),
        # The number has moved on already: what is done is the wave before, which counts from 1 as it is.
        wave=body.wave if done else body.wave + 1,
        waves=body.waves,
        progress=body.progress,
        message="" if done else body.message,
    )


def _of_operation(
    following: FollowedRollouts, event: Event, body: OperationChanged
) -> tuple[FollowedRollouts, tuple[Notice, ...]]:
    stranded = event.operation in following.stranded
    if stranded:
        left = tuple(id for id in following.stranded if id != event.operation)
        following = replace(following, stranded=left)
    failed = body.status is OperationStatus.FAILED
    if not stranded and not (failed and body.kind in _CHANGING):
        return following, ()
    return following, (_host_failed(event, body.message),)


def _host_failed(event: Event, message: str) -> Notice:
    return Notice(
        kind=NoticeKind.HOST_FAILED,
        at=event.at,
        revision=event.revision,
        rollout=event.rollout,
        host=event.host,
        message=message,
    )
