"""When something recurs: a cron expression or an iCalendar rule in a time zone, and its moments in UTC."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from itertools import groupby, islice
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError
from dateutil.rrule import rrulestr

from tendhost.server.domain.local_time import local_text, offset_spans, require_zone
from tendhost.server.domain.request_errors import FieldViolation, InvalidArgument
from tendhost.server.domain.schedules.short_rules import SHORT, local_times

FARTHEST_START = timedelta(days=3660)
"""Before or after the present."""
_CYCLE = 400
"""Years after which the Gregorian calendar repeats, weekdays included: 146,097 days are 20,871 weeks."""
_HORIZON = 60
"""Years ahead of its start that a rule is looked at, at least."""
_CRON_HORIZON = timedelta(days=366 * 50)
"""How far ahead a cron expression is looked at, as CronSim does."""
_MOMENT = timedelta(microseconds=1)

_DAY = r"(?:[+-]?(?:0?[1-9]|[1-4][0-9]|5[0-3]))?(?:MO|TU|WE|TH|FR|SA|SU)"
_WORDS = {
    "FREQ": re.compile(r"HOURLY|DAILY|WEEKLY|MONTHLY|YEARLY"),
    "UNTIL": re.compile(r"[0-9]{8}(?:T[0-9]{6}Z?)?"),
    "BYDAY": re.compile(rf"{_DAY}(?:,{_DAY})*"),
    "WKST": re.compile(r"MO|TU|WE|TH|FR|SA|SU"),
}
_COUNTS = ("INTERVAL", "COUNT")
_NUMBERS = {
    "BYMONTH": range(1, 13),
    "BYWEEKNO": range(-53, 54),
    "BYYEARDAY": range(-366, 367),
    "BYMONTHDAY": range(-31, 32),
    "BYHOUR": range(24),
    "BYMINUTE": range(60),
    "BYSETPOS": range(-366, 367),
}
_FROM_NOUGHT = ("BYHOUR", "BYMINUTE")
_UNSIGNED = ("BYMONTH", "BYHOUR", "BYMINUTE")
_NOT_WITH = {
    "BYWEEKNO": ("HOURLY", "DAILY", "WEEKLY", "MONTHLY"),
    "BYYEARDAY": ("DAILY", "WEEKLY", "MONTHLY"),
    "BYMONTHDAY": ("WEEKLY",),
}
"""Parts with the frequencies that forbid them: the table of RFC 5545, section 3.3.10."""
_PARTS = (*_WORDS, *_COUNTS, *_NUMBERS)
"""The parts of RFC 5545, section 3.3.10, without seconds: rollouts do not recur by the minute."""
_LONG = ("MONTHLY", "YEARLY")
_MOST_OF_A_WEEKDAY = 5
"""In a month."""
_NUMBER = re.compile(r"[0-9]+")
_MOST_POSITIONS = 31
"""Numbers in a BYSETPOS: each is looked for in each month until the last that is looked at."""
_WIDEST_GAP = timedelta(days=2)
"""In a gap of a zone's local time, which can be a day, what is earlier can come later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recurrence:
    """Either `cron`, five fields as crontab(5) has them, or `rrule`, a rule as RFC 5545 has it.

    Both are meant in the local time of `time_zone`, an IANA name. What falls into the hour that a clock
    put forward leaves out: with `cron` it comes as soon as that hour would have begun (the rule of
    Debian's cron), with `rrule` as long after midnight as ever (RFC 5545, section 3.3.5). What falls
    into the hour that a clock put back repeats comes once, in the first of the two; but a `cron` whose
    minute or hour begins with * goes by the hour and knows no such exceptions. What `anchored` makes is
    sound.
    """

    cron: str = ""
    rrule: str = ""
    time_zone: str = "UTC"
    start: datetime
    """No moment is before it. What `rrule` counts from: its DTSTART, which is a moment only where the
    rule says so."""
    offset_days: int = 0
    """Days after each date of `cron` or `rrule` at which the moment comes, at the same local time: 10 with
    "the fourth Tuesday". Negative: days before. -366 to 366."""

    def moments(self, after: datetime) -> Iterator[datetime]:
        """The moments that follow `after`, ascending, in UTC. They may come to an end."""
        floor = max(after, self.start - _MOMENT)
        if self._goes_by_the_hour and not self.offset_days:
            return self._of_hourly_cron(floor)
        return self._ascending(self._local_times(floor), floor)

    def _ascending(self, times: Iterator[datetime], floor: datetime) -> Iterator[datetime]:
        """The moments of these local times that follow `floor`. What falls into the time that a clock leaves
        out can come after what follows it in local time."""
        latest = floor
        for _, of_a_day in groupby(times, key=datetime.date):
            for moment in sorted(self._instant(local) for local in of_a_day):
                if moment > latest:
                    latest = moment
                    yield moment

    def next(self, after: datetime) -> datetime | None:
        """The first moment that follows `after`; None: there is none."""
        return next(self.moments(after), None)

    def latest(self, *, after: datetime, until: datetime) -> datetime | None:
        """The last moment that follows `after` and is not after `until`; None: there is none."""
        found = None
        for moment in self.moments(after):
            if moment > until:
                break
            found = moment
        return found

    @property
    def zone(self) -> ZoneInfo:
        """The time zone in which it is meant."""
        return ZoneInfo(self.time_zone)

    def local(self, at: datetime) -> str:
        """An instant as text, in this time zone."""
        return local_text(at, self.time_zone)

    @property
    def _goes_by_the_hour(self) -> bool:
        minute, hour, *_ = (*self.cron.split(), "", "")
        return minute.startswith("*") or hour.startswith("*")

    def _local_times(self, floor: datetime) -> Iterator[datetime]:
        """The local times that follow `floor`, and some before it."""
        offset = timedelta(days=self.offset_days)
        earliest = floor.astimezone(self.zone).replace(tzinfo=None) - offset - _WIDEST_GAP
        dates = CronSim(self.cron.upper(), earliest) if self.cron else self._of_rule(earliest)
        return (date + offset for date in dates)

    def _of_hourly_cron(self, floor: datetime) -> Iterator[datetime]:
        """Whenever the clock shows a matching time. CronSim misses some where a clock is changed by half an hour."""
        quiet = following = datetime.min  # noqa: DTZ901
        for span in offset_spans(self.time_zone, floor, floor + _CRON_HORIZON):
            first = (span.start + span.offset).replace(tzinfo=None)
            last = (span.end + span.offset).replace(tzinfo=None)
            if quiet <= first and last <= following:
                continue  # nothing matches between these two
            quiet, local = first, None
            for local in CronSim(self.cron.upper(), first - _MOMENT):
                if local >= last:
                    following = local
                    break
                quiet = local + _MOMENT
                moment = (local - span.offset).replace(tzinfo=UTC)
                if moment > floor:
                    yield moment
            if local is None:
                return

    def _instant(self, local: datetime) -> datetime:
        """The first instant at which the clock shows `local`, or else what the class says of a skipped time."""
        at = local.replace(tzinfo=self.zone).astimezone(UTC)
        if self.cron and at.astimezone(self.zone).replace(tzinfo=None) != local:
            *_, after_gap = offset_spans(self.time_zone, at - _WIDEST_GAP, at + _MOMENT)
            return after_gap.start
        return at

    def _of_rule(self, earliest: datetime) -> Iterator[datetime]:
        """The local dates and times of the rule from `earliest` on."""
        parts = _parts_of(self.rrule)
        last = _until(parts.pop("UNTIL", ""), self.zone)
        for local in self._unlimited(parts, earliest):
            moment = self._instant(local)
            # Behind it there may be an earlier moment, where the clock skips this one.
            if last is not None and moment > last + _WIDEST_GAP:
                return
            if last is None or moment <= last:
                yield local

    def _unlimited(self, parts: Mapping[str, str], earliest: datetime) -> Iterator[datetime]:
        start = self.start.astimezone(self.zone).replace(tzinfo=None, microsecond=0)
        # BYWEEKNO goes with FREQ=YEARLY only; rules that were stored before that was asked may have it.
        if parts["FREQ"] in SHORT and "BYWEEKNO" not in parts:
            yield from local_times(parts, start, after=earliest)
            return
        # dateutil looks for what never comes until the end of the year 9999, which takes seconds. It is
        # asked about the same days of the calendar's last repetition before, so that the end is near.
        ahead = (9999 - _HORIZON - start.year) // _CYCLE * _CYCLE
        for found in rrulestr(_text_of(parts), dtstart=start.replace(year=start.year + ahead)):
            yield found.replace(year=found.year - ahead)

    def __str__(self) -> str:
        offset = f" {self.offset_days:+d}d" if self.offset_days else ""
        return f"{self.cron or self.rrule}{offset} {self.time_zone}"


_EITHER = "expected a cron expression or an rrule, and not both"


def anchored(
    *,
    cron: str,
    rrule: str,
    time_zone: str,
    start: datetime | None,
    now: datetime,
    offset_days: int = 0,
) -> Recurrence:
    """The recurrence that begins at `start`, or else now; a rule counts from the local midnight then, so
    that what it leaves open is on the hour.

    Raises InvalidArgument unless it can be understood and has a moment after `now`. The fields are named
    as a schedule's are: spec.cron, spec.rrule, spec.time_zone, spec.starts_at.
    """
    zone = _zone_of(time_zone)
    if start is None:
        start = default_start(rrule, zone, now, offset_days)
    made = Recurrence(
        cron=cron, rrule=rrule, time_zone=time_zone, start=start, offset_days=offset_days
    )
    _require_sound(made, now)
    return made


def default_start(rrule: str, zone: ZoneInfo, now: datetime, offset_days: int = 0) -> datetime:
    """When a recurrence begins that is not told: now, or with a rule at the local midnight before.

    With an offset so many days earlier, so that the run of a date that has passed is not missed.
    """
    if not rrule:
        return now
    day = now.astimezone(zone).date() - timedelta(days=max(offset_days, 0))
    return datetime.combine(day, time(), tzinfo=zone).astimezone(UTC)


def unsound_recurrence(*, cron: str, rrule: str, time_zone: str) -> Sequence[tuple[str, str]]:
    """What is wrong with a recurrence whenever it begins, as fields of a schedule and what each must be."""
    found: list[FieldViolation] = []
    if cron and rrule:
        found.append(FieldViolation("cron", _EITHER))
    checks: list[tuple[Callable[[str], object], str]] = [
        (_zone_of, time_zone),
        (_require_cron, cron),
        (_require_rule, rrule),
    ]
    for check, text in checks:
        try:
            if text:
                check(text)
        except InvalidArgument as error:
            found.extend(error.violations)
    return [(each.field.removeprefix("spec."), each.description) for each in found]


def _require_sound(recurrence: Recurrence, now: datetime) -> None:
    _zone_of(recurrence.time_zone)
    if abs(recurrence.start - now) > FARTHEST_START:
        days = FARTHEST_START.days
        raise _violation("starts_at", f"must be within {days} days of the present")
    field, text = ("cron", recurrence.cron) if recurrence.cron else ("rrule", recurrence.rrule)
    if bool(recurrence.cron) == bool(recurrence.rrule):
        raise _violation("cron", _EITHER)
    if recurrence.rrule:
        _require_rule(text)
    else:
        _require_cron(text)
    try:
        upcoming = recurrence.next(now)
    except (
        ValueError
    ) as error:  # what dateutil thinks of a rule is known only once it is gone through
        raise _violation(field, f"invalid value {text!r}: {error}") from error
    if upcoming is None:
        raise _violation(field, f"{text!r} has no run after {now:%Y-%m-%d %H:%M} UTC")


def _require_cron(text: str) -> None:
    if len(text.split()) != 5:
        raise _violation(
            "cron",
            f"invalid cron expression {text!r}: expected five fields: minute, hour, day, month, weekday",
        )
    try:
        CronSim(text.upper(), datetime(2000, 1, 1, tzinfo=UTC))
    except CronSimError as error:
        words = str(error)
        reason = words[:1].lower() + words[1:]
        raise _violation("cron", f"invalid cron expression {text!r}: {reason}") from error


def _require_rule(text: str) -> None:
    try:
        parts = _parts_of(text)
        for name, value in parts.items():
            if not _suits(name, value):
                raise ValueError(f"invalid {name} {value!r}")
        _require_allowed(parts)
        _until(parts.pop("UNTIL", ""), UTC)
        if parts["FREQ"] in _LONG:
            rrulestr(_text_of(parts), dtstart=datetime(2000, 1, 1, tzinfo=UTC))
    except ValueError as error:
        raise _violation("rrule", f"invalid value {text!r}: {error}") from error


def _parts_of(rule: str) -> dict[str, str]:
    """The parts of a rule by name. Raises ValueError for what is no rule.

    A stored rule was judged when it was made, by `_require_rule` as it was then, and is only taken apart here.
    """
    parts: dict[str, str] = {}
    for part in rule.upper().removeprefix("RRULE:").split(";"):
        name, _, value = part.partition("=")
        if name not in _PARTS:
            raise ValueError(f"unknown part {name!r}, expected one of {', '.join(_PARTS)}")
        if name in parts:
            raise ValueError(f"{name} is given twice")
        parts[name] = value
    if "FREQ" not in parts:
        raise ValueError("FREQ is missing")
    return parts


def _require_allowed(parts: Mapping[str, str]) -> None:
    """Raises ValueError where RFC 5545 forbids a part beside the others, or this server does."""
    frequency, days = parts["FREQ"], parts.get("BYDAY", "")
    if "COUNT" in parts and "UNTIL" in parts:
        raise ValueError("COUNT and UNTIL cannot be combined")
    if parts.get("BYSETPOS", "").count(",") >= _MOST_POSITIONS:
        raise ValueError(f"BYSETPOS can have at most {_MOST_POSITIONS} numbers")
    for name, frequencies in _NOT_WITH.items():
        if name in parts and frequency in frequencies:
            raise ValueError(f"RFC 5545 does not allow {name} with FREQ={frequency}")
    numbered = re.search(r"[0-9]", days) is not None
    if frequency not in _LONG:
        if "BYSETPOS" in parts:
            raise ValueError(f"BYSETPOS is allowed with {' and '.join(_LONG)} only")
        if numbered:
            raise ValueError(f"numbers in BYDAY are allowed with {' and '.join(_LONG)} only")
    if numbered and "BYWEEKNO" in parts:
        raise ValueError("RFC 5545 does not allow numbers in BYDAY with BYWEEKNO")
    in_months = frequency == "MONTHLY" or "BYMONTH" in parts
    # dateutil looks beyond the end of its year for the eighth.
    if in_months and any(int(number) > _MOST_OF_A_WEEKDAY for number in _NUMBER.findall(days)):
        raise ValueError(f"no month has a weekday more than {_MOST_OF_A_WEEKDAY} times")
    others = [name for name in parts if name.startswith("BY") and name != "BYSETPOS"]
    if "BYSETPOS" in parts and not others:
        raise ValueError("BYSETPOS needs another part such as BYDAY, whose dates it selects")


def _suits(name: str, value: str) -> bool:
    if name in _WORDS:
        return _WORDS[name].fullmatch(value) is not None
    if name in _COUNTS:
        return re.fullmatch(r"0*[1-9][0-9]{0,3}", value, re.ASCII) is not None
    sign = "" if name in _UNSIGNED else "[+-]?"
    digits = "{1,3}" if max(_NUMBERS[name]) > 99 else "{1,2}"
    number = f"{sign}[0-9]{digits}"
    if re.fullmatch(f"{number}(?:,{number})*", value, re.ASCII) is None:
        return False
    found = {int(number) for number in value.split(",")}
    return found <= set(_NUMBERS[name]) and (0 not in found or name in _FROM_NOUGHT)


def _text_of(parts: Mapping[str, str]) -> str:
    return ";".join(f"{name}={value}" for name, value in parts.items())


def _until(text: str, zone: tzinfo) -> datetime | None:
    """The last moment that an UNTIL allows; a day is allowed to its end. Raises ValueError."""
    if not text:
        return None
    if len(text) == len("20260101"):
        day = date.fromisoformat(text) + timedelta(days=1)
        return datetime.combine(day, time(), tzinfo=zone).astimezone(UTC) - _MOMENT
    at = datetime.fromisoformat(text)
    return (at if at.tzinfo else at.replace(tzinfo=zone)).astimezone(UTC)


def _zone_of(name: str) -> ZoneInfo:
    try:
        return require_zone(name)
    except ValueError as error:
        raise _violation("time_zone", str(error)) from None


def _violation(field: str, description: str) -> InvalidArgument:
    return InvalidArgument(FieldViolation(f"spec.{field}", description))


def upcoming(recurrence: Recurrence, after: datetime, count: int) -> tuple[datetime, ...]:
    """The next so many moments, or as many as there are."""
    return tuple(islice(recurrence.moments(after), count))
