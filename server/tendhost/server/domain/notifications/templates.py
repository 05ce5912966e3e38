"""Texts of notifications: the default texts, templates that replace them, and the summary of many notices."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from string import Formatter

from tendhost.server.domain.notifications.notices import Notice, NoticeKind
from tendhost.server.domain.request_errors import ConfigurationError
from tendhost.server.domain.rollouts.rollout import RolloutProgress

NAMED = 10
"""Notices that a summary lists; it counts all of them."""
LONGEST_MESSAGE = 2000
"""Characters of an event's message that a notification has; services refuse long texts."""


class Urgency(StrEnum):
    """The colour or priority with which a service shows a message."""

    INFO = "info"
    SUCCESS = "success"
    WARNING = "warning"
    FAILURE = "failure"


_URGENCY: Mapping[NoticeKind, Urgency] = {
    NoticeKind.ROLLOUT_STARTED: Urgency.INFO,
    NoticeKind.WAVE_DONE: Urgency.INFO,
    NoticeKind.ROLLOUT_HALTED: Urgency.FAILURE,
    NoticeKind.ROLLOUT_HELD_UP: Urgency.WARNING,
    NoticeKind.APPROVAL_WANTED: Urgency.WARNING,
    NoticeKind.ROLLOUT_ENDED: Urgency.SUCCESS,
    NoticeKind.HOST_FAILED: Urgency.FAILURE,
    NoticeKind.CERTIFICATE_EXPIRING: Urgency.WARNING,
    NoticeKind.EVENTS_PRUNED: Urgency.WARNING,
}
_ORDER = tuple(Urgency)

_TITLES: Mapping[NoticeKind, str] = {
    NoticeKind.ROLLOUT_STARTED: "Rollout {rollout} started",
    NoticeKind.WAVE_DONE: "Rollout {rollout}: wave {wave} of {waves} done",
    NoticeKind.ROLLOUT_HALTED: "Rollout {rollout} halted",
    NoticeKind.ROLLOUT_HELD_UP: "Rollout {rollout} is held up",
    NoticeKind.APPROVAL_WANTED: "Rollout {rollout}: wave {next_wave} waits for approval",
    NoticeKind.ROLLOUT_ENDED: "Rollout {rollout} {status}",
    NoticeKind.HOST_FAILED: "{host} failed",
    NoticeKind.CERTIFICATE_EXPIRING: "A certificate of the server expires",
    NoticeKind.EVENTS_PRUNED: "Events were pruned before they were sent",
}
_COUNTS = (
    "{completed} completed, {failed} failed, {rolled_back} rolled back, {skipped} skipped,"
    " {in_progress} in progress, {waiting} waiting, {pending} pending, of {total} hosts"
)
_BODIES: Mapping[NoticeKind, str] = {
    NoticeKind.ROLLOUT_STARTED: "{total} hosts in {waves} waves.",
    NoticeKind.WAVE_DONE: _COUNTS + ".",
    NoticeKind.ROLLOUT_HALTED: "In wave {wave} of {waves}: {message}\n" + _COUNTS + ".",
    NoticeKind.ROLLOUT_HELD_UP: "{message}\n" + _COUNTS + ".",
    NoticeKind.APPROVAL_WANTED: "Approve it with: tendhost rollout approve {rollout} {next_wave}\n"
    + _COUNTS
    + ".",
    NoticeKind.ROLLOUT_ENDED: _COUNTS + ".",
    NoticeKind.HOST_FAILED: "{message}",
    NoticeKind.CERTIFICATE_EXPIRING: "{message}",
    NoticeKind.EVENTS_PRUNED: "{message}.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """The message that a service shows."""

    title: str
    body: str
    urgency: Urgency = Urgency.INFO


def _fields(notice: Notice) -> Mapping[str, str]:
    progress = notice.progress or RolloutProgress(total_hosts=0, pending=0)
    message = notice.message
    if len(message) > LONGEST_MESSAGE:
        message = message[: LONGEST_MESSAGE - 1] + "…"
    return {
        "event": str(notice.kind),
        "at": notice.at.isoformat(timespec="seconds"),
        "revision": str(notice.revision),
        "rollout": notice.rollout,
        "host": notice.host,
        "status": notice.status,
        "wave": str(notice.wave),
        "next_wave": str(notice.wave + 1),
        "waves": str(notice.waves),
        "message": message,
        "total": str(progress.total_hosts),
        "pending": str(progress.pending),
        "waiting": str(progress.waiting),
        "in_progress": str(progress.in_progress),
        "completed": str(progress.completed),
        "failed": str(progress.failed),
        "rolled_back": str(progress.rolled_back),
        "skipped": str(progress.skipped),
    }


FIELDS = (
    *("event", "at", "revision", "rollout", "host", "status", "wave", "next_wave", "waves"),
    *("message", "total", "pending", "waiting", "in_progress", "completed", "failed"),
    *("rolled_back", "skipped"),
)
"""Fields that a template may use. It may also use `title` and `text`, which are the default texts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """Text with fields in braces, as in str.format() but for attributes, indexes and formats."""

    parts: tuple[tuple[str, str], ...] = field(default=())
    """Literal text, and the name of the field that follows it; empty: none does."""

    def filled(self, values: Mapping[str, str]) -> str:
        """The text with its fields replaced."""
        return "".join(text + (values[name] if name else "") for text, name in self.parts)


def template(source: str, *, setting: str) -> Template:
    """Read a template. Raises ConfigurationError for what is no field or no template."""
    known = (*FIELDS, "title", "text")
    expected = f"text with fields of {', '.join(known)} in braces, and no others"
    parts = []
    try:
        for text, name, form, conversion in Formatter().parse(source):
            if name is not None and (name not in known or form or conversion):
                raise ValueError(name)
            parts.append((text, name or ""))
    except ValueError:
        raise ConfigurationError(field=setting, value=source, expected=expected) from None
    return Template(parts=tuple(parts))


_DEFAULT_TITLES = {kind: template(text, setting=kind) for kind, text in _TITLES.items()}
_DEFAULT_BODIES = {kind: template(text, setting=kind) for kind, text in _BODIES.items()}


def message_of(
    notice: Notice, *, title: Template | None = None, body: Template | None = None
) -> Message:
    """How one notice reads, with the templates of a target where it has any."""
    values = _fields(notice)
    plain = _DEFAULT_TITLES[notice.kind].filled(values)
    text = _DEFAULT_BODIES[notice.kind].filled(values)
    values = {**values, "title": plain, "text": text}
    return Message(
        title=title.filled(values) if title else plain,
        body=body.filled(values) if body else text,
        urgency=_urgency(notice),
    )


def _urgency(notice: Notice) -> Urgency:
    if notice.kind is NoticeKind.ROLLOUT_ENDED and notice.progress is not None:
        clean = notice.status == "completed" and not notice.progress.failures
        return Urgency.SUCCESS if clean else Urgency.WARNING
    return _URGENCY[notice.kind]


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingNotices:
    """Notices that wait for the rate limit, to be sent as one message."""

    first: tuple[Notice, ...] = ()
    """The first NAMED of them."""
    counts: Mapping[NoticeKind, int] = field(default_factory=dict)
    urgency: Urgency = Urgency.INFO

    @property
    def total(self) -> int:
        """Number of the notices."""
        return sum(self.counts.values())

    def with_(self, notice: Notice) -> "WaitingNotices":
        """These notices and one more."""
        counts = Counter(self.counts)
        counts[notice.kind] += 1
        return WaitingNotices(
            first=(*self.first, notice)[:NAMED],
            counts=dict(counts),
            urgency=max(self.urgency, _urgency(notice), key=_ORDER.index),
        )

    def message(self) -> Message:
        """The summary: a count of each kind, and the first notices."""
        kinds = ", ".join(f"{count} × {kind}" for kind, count in sorted(self.counts.items()))
        lines: Sequence[str] = [_line(notice) for notice in self.first]
        more = self.total - len(self.first)
        rest = (f"… and {more} more; `tendhost events` has them all.",) if more else ()
        return Message(
            title=f"{self.total} events: {kinds}",
            body="\n".join((*lines, *rest)),
            urgency=self.urgency,
        )


def _line(notice: Notice) -> str:
    message = message_of(notice)
    head = message.body.splitlines()[0] if message.body else ""
    return f"{notice.at:%H:%M:%S} {message.title}" + (f": {head}" if head else "")
