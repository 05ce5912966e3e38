"""Moments as options take them: RFC 3339, with the time zone in brackets as RFC 9557 writes it."""

import re
from datetime import UTC, datetime

from tendhost.client.cli.formatting import known_zone
from tendhost.client.cli.session import refuse

_TIME = re.compile(r"(?P<at>[^\[\]]+)(?:\[(?P<zone>[^\[\]]+)\])?")


def moment(text: str, option: str, *, last: bool = False) -> tuple[datetime, str]:
    """A moment (aware), and the IANA time zone that was named, or "".

    A local time that a clock shows twice is the first of the two; `last`: the second. A local time that
    a clock skips is refused, as is an offset that the zone does not have then (RFC 9557, section 3.4).
    """
    match = _TIME.fullmatch(text)
    zone = (match and match["zone"]) or ""
    try:
        at = datetime.fromisoformat(match["at"] if match else "")
    except ValueError:
        at = None
    if at is None or (at.tzinfo is None and not zone):
        refuse(
            f"{option}: invalid time {text!r}; use one with its time zone, such as"
            " 2026-12-23T18:00+01:00 or 2026-12-23T18:00[Europe/Berlin]"
        )
    if not zone:
        return at, zone
    info = known_zone(zone)
    if info is None:
        refuse(f"{option}: unknown time zone {zone!r}; use an IANA name such as 'Europe/Vienna'")
    if at.tzinfo is None:
        return _local(text, at.replace(tzinfo=info, fold=int(last)), option), zone
    there = at.astimezone(info)
    if there.utcoffset() != at.utcoffset() and not text.partition("[")[0].endswith(("Z", "z")):
        refuse(
            f"{option}: the offset of {text!r} is not that of {zone}, which is {there.isoformat()[-6:]} then;"
            " write only one of the two"
        )
    return there, zone


def _local(text: str, at: datetime, option: str) -> datetime:
    shown = at.astimezone(UTC).astimezone(at.tzinfo)
    if shown.replace(tzinfo=None) != at.replace(tzinfo=None):
        refuse(
            f"{option}: {text!r} does not exist, since the clock is put forward over it;"
            f" use {shown:%H:%M}, or write the offset in place of the time zone"
        )
    return at
