"""Parses and formats durations, windows and times."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer

from tendhost.client import Duplicate, MaintenanceWindow
from tendhost.client.cli.session import refuse

_UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_DURATION = re.compile(r"(?:(\d{1,6})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,6})s)?", re.ASCII)
_WINDOW = re.compile(
    r"(?:(?P<days>[a-z]{3}(?:,[a-z]{3})*|daily) +)?"
    r"(?P<start>\d{1,2}:\d{2})-(?P<end>\d{1,2}:\d{2})(?: +(?!cut-?off)(?P<zone>[^\s,]+))?"
    r"(?:,? +cut-?off +(?P<cutoff>\S+))?",
    re.ASCII,
)
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


AddWindow = Annotated[
    list[str] | None,
    typer.Option(
        "--add-window", metavar="WINDOW", help="Add a maintenance window. May be repeated."
    ),
]
RemoveWindow = Annotated[
    list[str] | None,
    typer.Option(
        "--remove-window",
        metavar="WINDOW",
        help="Remove the window with exactly these days, times, zone and cut-off. May be repeated.",
    ),
]


def duration(text: str, option: str) -> timedelta:
    """A duration such as 30s, 5m, 1h30m, 2d or 0."""
    match = _DURATION.fullmatch(text)
    if text == "0":
        return timedelta()
    if not text or match is None:
        refuse(f"{option}: invalid duration {text!r}; use one such as 30s, 5m, 1h30m or 0")
    numbers = zip(match.groups(), _UNITS.values(), strict=True)
    return timedelta(seconds=sum(int(number) * unit for number, unit in numbers if number))


def window(text: str, option: str) -> MaintenanceWindow:
    """A window: "sat,sun 22:00-04:00 Europe/Vienna", "02:00-04:00 UTC, cut-off 30m", or "always"."""
    if text == "always":
        return MaintenanceWindow(start="00:00", end="00:00")
    match = _WINDOW.fullmatch(text.strip())
    if match is None:
        refuse(
            f"{option}: invalid window {text!r};"
            " use one such as 'sat,sun 22:00-04:00 Europe/Vienna', or 'always'"
        )
    days = () if match["days"] in (None, "daily") else tuple(match["days"].split(","))
    for day in days:
        if day not in _DAYS:
            refuse(f"{option}: invalid day {day!r}; use {', '.join(_DAYS)} or daily")
    start, end = (part.zfill(5) for part in (match["start"], match["end"]))
    return MaintenanceWindow(
        start=start,
        end=end,
        days=days,
        time_zone=match["zone"] or "UTC",
        cutoff=duration(match["cutoff"], option) if match["cutoff"] else timedelta(),
    )


def windows(given: list[str] | None, option: str) -> tuple[MaintenanceWindow, ...] | None:
    """The windows that were typed; '' alone means none. None where nothing was typed."""
    return None if given is None else tuple(window(text, option) for text in given if text)


def window_words(found: MaintenanceWindow) -> str:
    """A window, as a user would type it."""
    days = ",".join(found.days) or "daily"
    words = f"{days} {found.start}-{found.end} {found.time_zone}"
    return f"{words}, cut-off {span(found.cutoff)}" if found.cutoff else words


def ago(at: datetime | None) -> str:
    """How long ago that was, in one unit."""
    if at is None:
        return "never"
    seconds = int((datetime.now(UTC) - at).total_seconds())
    for unit, size in _UNITS.items():
        if seconds >= size:
            return f"{seconds // size}{unit} ago"
    return "just now"


def lasting(begun: datetime | None, ended: datetime | None) -> str:
    """How long something took."""
    if begun is None or ended is None:
        return ""
    seconds = (ended - begun).total_seconds()
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes}m{seconds:02.0f}s"


def span(duration: timedelta) -> str:
    """A duration in its two greatest units: 2d3h, 4h10m, 3m20s, 45s."""
    seconds = round(duration.total_seconds())
    parts: list[str] = []
    for unit, size in _UNITS.items():
        number, seconds = divmod(seconds, size)
        if number or parts:
            parts.append(f"{number}{unit}" if number else "")
        if len(parts) == 2:
            break
    return "".join(parts) or "0s"


def at_time(at: datetime, time_zone: str = "UTC", *, named: bool = True) -> str:
    """A moment, and how far it is from now: 2026-11-22 14:05 UTC (in 4h10m).

    `time_zone` is an IANA name; UTC where this machine does not know it. Not `named`: without the zone.
    """
    ahead = at - datetime.now(UTC)
    distance = f"in {span(ahead)}" if ahead > timedelta() else "now"
    shown = local_time(at, time_zone) if named else f"{in_zone(at, time_zone):%Y-%m-%d %H:%M}"
    return f"{shown} ({distance})"


def local_time(at: datetime, time_zone: str) -> str:
    """A moment in a time zone: 2026-11-22 14:05 Europe/Berlin. In UTC where this machine does not know the zone."""
    local = in_zone(at, time_zone)
    return f"{local:%Y-%m-%d %H:%M} {'UTC' if local.tzinfo is UTC else time_zone}"


def in_zone(at: datetime, time_zone: str) -> datetime:
    """A moment in the local time of a zone; in UTC where this machine does not know the zone."""
    return at.astimezone(known_zone(time_zone) or UTC)


def known_zone(name: str) -> ZoneInfo | None:
    """The time zone of this IANA name; None: this machine does not know it."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def counted(count: int, noun: str) -> str:
    """A number with its noun."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def duplicate_words(duplicate: Duplicate) -> str:
    """Another name of the same machine, and what both have in common."""
    same = (
        ("host key", duplicate.same_host_key),
        ("address", duplicate.same_address),
        ("machine-id", duplicate.same_machine_id),
    )
    return f"{duplicate.host} (same {', '.join(words for words, holds in same if holds)})"
