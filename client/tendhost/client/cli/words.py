"""What users type for durations and windows, and how durations and times are shown to them."""

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from tendhost.client.cli.session import refuse

if TYPE_CHECKING:
    from tendhost.client import MaintenanceWindow

_UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
_WINDOW = re.compile(
    r"(?:(?P<days>[a-z]{3}(?:,[a-z]{3})*|daily) +)?"
    r"(?P<start>\d{1,2}:\d{2})-(?P<end>\d{1,2}:\d{2})(?: +(?P<zone>\S+))?"
)


def duration(text: str, option: str) -> timedelta:
    """A duration such as 30s, 5m, 1h30m, 2d or 0; a bare number is seconds."""
    if text.isdecimal() and len(text) < 10:
        return timedelta(seconds=int(text))
    match = _DURATION.fullmatch(text)
    if not text or match is None or len(text) > 20:
        refuse(f"{option}: {text!r} is not a duration; expected one such as 30s, 5m, 1h30m or 0")
    numbers = zip(match.groups(), _UNITS.values(), strict=True)
    seconds = sum(int(number) * unit for number, unit in numbers if number)
    if seconds > 10**9:
        refuse(f"{option}: {text!r} is too long; expected at most a few days")
    return timedelta(seconds=seconds)


def window(text: str, option: str) -> "MaintenanceWindow":
    """A window such as "sat,sun 22:00-04:00 Europe/Vienna" or "02:00-04:00"."""
    from tendhost.client import MaintenanceWindow

    match = _WINDOW.fullmatch(text.strip())
    if match is None:
        refuse(
            f"{option}: {text!r} is not a window;"
            " expected one such as 'sat,sun 22:00-04:00 Europe/Vienna'"
        )
    days = () if match["days"] in (None, "daily") else tuple(match["days"].split(","))
    unknown = set(days) - {"mon", "tue", "wed", "thu", "fri", "sat", "sun"}
    if unknown:
        refuse(f"{option}: {sorted(unknown)[0]!r} is no day; expected mon to sun")
    start, end = (part.zfill(5) for part in (match["start"], match["end"]))
    return MaintenanceWindow(start=start, end=end, days=days, time_zone=match["zone"] or "UTC")


def ago(at: datetime | None) -> str:
    """How long ago that was, in one unit."""
    if at is None:
        return "never"
    seconds = max(0, int((datetime.now(UTC) - at).total_seconds()))
    for unit, size in _UNITS.items():
        if seconds >= size:
            return f"{seconds // size}{unit} ago"
    return "just now"


def lasting(begun: datetime | None, ended: datetime | None) -> str:
    """How long something took, in seconds."""
    if begun is None or ended is None:
        return ""
    return f"{(ended - begun).total_seconds():.1f}s"
