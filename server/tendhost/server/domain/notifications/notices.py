"""Notices: which events cause which notifications.

A reader of the event log keeps `FollowedRollouts` from event to event: what it has to remember of the
events before its cursor. They are stored together with the cursor, so that a restarted server derives
the same notices from the same events.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from tendhost.server.domain.events import (
    CertificateExpiring,
    Event,
    OperationChanged,
    RolloutChanged,
    StateChanged,
)
from tendhost.server.domain.hosts.states import HostState
from tendhost.server.domain.operations.operation import OperationKind, OperationStatus
from tendhost.server.domain.rollouts.rollout import RolloutProgress, RolloutStatus


class NoticeKind(StrEnum):
    """The subject of a notice."""

    ROLLOUT_STARTED = "rollout_started"
    WAVE_DONE = "wave_done"
    """A wave has ended and the next one is current. The last wave ends with its rollout."""
    ROLLOUT_HALTED = "rollout_halted"
    ROLLOUT_HELD_UP = "rollout_held_up"
    """A disruption budget has held up a rollout for a long time."""
    APPROVAL_WANTED = "approval_wanted"
    ROLLOUT_ENDED = "rollout_ended"
    HOST_FAILED = "host_failed"
    """An update or a reboot of a host has failed, or the host has entered FAILED for another reason."""
    CERTIFICATE_EXPIRING = "certificate_expiring"
    """A certificate of the server expires soon, or has expired. It is about no host: a target's groups and tags do
    not matter."""
    EVENTS_PRUNED = "events_pruned"
    """Events were pruned before the target had them. Every target gets this notice."""


CHOOSABLE = tuple(kind for kind in NoticeKind if kind is not NoticeKind.EVENTS_PRUNED)
"""The kinds that a target may choose from."""

OF_THE_SERVER = frozenset({NoticeKind.EVENTS_PRUNED, NoticeKind.CERTIFICATE_EXPIRING})
"""The kinds that are about no host and no rollout."""

URGENT = frozenset(
    {NoticeKind.ROLLOUT_HALTED, NoticeKind.APPROVAL_WANTED, NoticeKind.ROLLOUT_HELD_UP}
)
"""The kinds that a person has to act on before anything goes on: they go before all others."""

KIND_OF_STATUS: Mapping[RolloutStatus, NoticeKind | None] = {
    RolloutStatus.RUNNING: None,
    RolloutStatus.PAUSED: None,
    RolloutStatus.HALTED: NoticeKind.ROLLOUT_HALTED,
    RolloutStatus.AWAITING_APPROVAL: NoticeKind.APPROVAL_WANTED,
    RolloutStatus.COMPLETED: NoticeKind.ROLLOUT_ENDED,
    RolloutStatus.CANCELLED: NoticeKind.ROLLOUT_ENDED,
    RolloutStatus.EXPIRED: NoticeKind.ROLLOUT_ENDED,
}
"""The notice when a rollout enters a status; None: there is none. The notice of an end comes when no operation
of the rollout runs any longer."""

ENDED_KEPT = 64
"""Ended rollouts to remember: a rollout may have another event after its end."""
_CHANGING = (OperationKind.UPDATE, OperationKind.REBOOT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One notification to send. Fields that do not apply are empty."""

    kind: NoticeKind
    at: datetime
    revision: int
    """Revision of the event that caused it."""
    rollout: str = ""
    host: str = ""
    status: str = ""
    """Status of the rollout."""
    wave: int = 0
    """Number of the wave, from 1; 0: the notice is not about a rollout."""
    waves: int = 0
    progress: RolloutProgress | None = None
    message: str = ""
    """The message of the event."""

    @property
    def urgent(self) -> bool:
        """Whether it goes before notices of other kinds."""
        return self.kind in URGENT

    @property
    def key(self) -> str:
        """Tells the notice from every other one of the log."""
        return f"{self.revision}:{self.kind}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Status and wave of a rollout at its last event."""

    status: RolloutStatus
    wave: int
    """From 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowedRollouts:
    """What a reader of the log remembers of the events before its cursor."""

    rollouts: Mapping[str, Seen] = field(default_factory=dict)
    """Rollouts that have not ended, by id."""
    ended: tuple[str, ...] = ()
    """The latest rollouts whose end caused a notice, at most ENDED_KEPT."""
    stranded: tuple[str, ...] = ()
    """Running operations that have moved their host to FAILED; the notice comes when they end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationCursor:
    """The position of a reader of the log: the last revision that it has handled, and what it remembers."""

    revision: int
    following: FollowedRollouts = FollowedRollouts()
    sent_ahead: tuple[str, ...] = ()
    """Keys of the urgent notices behind `revision` that were sent before others."""

    def behind(self, revision: int, following: FollowedRollouts) -> "NotificationCursor":
        """The cursor behind the event of a later revision."""
        ahead = (key for key in self.sent_ahead if int(key.partition(":")[0]) > revision)
        return NotificationCursor(revision=revision, following=following, sent_ahead=tuple(ahead))


def noticed(
    following: FollowedRollouts, event: Event
) -> tuple[FollowedRollouts, tuple[Notice, ...]]:
    """What to remember after `event`, and the notices that it causes."""
    match event.body:
        case RolloutChanged() as body:
            return _of_rollout(following, event, body)
        case StateChanged(to=HostState.FAILED, cause=cause):
            if not event.operation:
                return following, (_host_failed(event, cause),)
            return replace(following, stranded=(*following.stranded, event.operation)), ()
        case CertificateExpiring(message=message):
            kind = NoticeKind.CERTIFICATE_EXPIRING
            return following, (
                Notice(kind=kind, at=event.at, revision=event.revision, message=message),
            )
        case OperationChanged() as body if body.status.ended:
            return _of_operation(following, event, body)
        case _:
            return following, ()


def pruned(*, revision: int, first: int, at: datetime) -> Notice:
    """The notice about pruned events: those after `revision` and before `first`."""
    count = first - revision - 1
    return Notice(
        kind=NoticeKind.EVENTS_PRUNED,
        at=at,
        revision=first - 1,
        message=f"{count} events (revisions {revision + 1} to {first - 1}) were pruned before they"
        " could be sent as notifications; their contents are unknown",
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
    """Whether the rollout has just been created: no host of its first wave has started."""
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
        # `body.wave` is the next wave, from 0, and so the number of the wave that is done, from 1.
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
