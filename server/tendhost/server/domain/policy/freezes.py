"""Freeze periods: from when until when nothing is changed, whatever the windows say."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from tendhost.server.domain.policy.windows import require_zone

LONGEST_AHEAD = timedelta(days=3653)
"""A freeze ends within ten years: one for good is a mistake, or a host to be removed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FreezePeriod:
    """From `starts_at` until `ends_at`, both aware, nothing begins that would run in it."""

    name: str
    starts_at: datetime
    """The first instant of it."""
    ends_at: datetime
    """The first instant after it."""
    reason: str = ""
    time_zone: str = "UTC"
    """In which its times are told to people; an IANA name."""

    def contains(self, now: datetime) -> bool:
        """Whether it lasts at `now`."""
        return self.starts_at <= now < self.ends_at

    def meets(self, start: datetime, planned: timedelta) -> bool:
        """Whether what begins at `start` and is planned to take so long would run in it."""
        return start < self.ends_at and (
            self.starts_at <= start or self.starts_at < start + planned
        )

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}" if self.reason else self.name

    def local(self, at: datetime) -> str:
        """A moment in its time zone, in words."""
        return f"{at.astimezone(ZoneInfo(self.time_zone)):%Y-%m-%d %H:%M} {self.time_zone}"


def inconsistent_freezes(freezes: Sequence[FreezePeriod]) -> Iterator[tuple[str, str]]:
    """What is wrong with freeze periods at any time: the field, and what it must be."""
    names: set[str] = set()
    for number, freeze in enumerate(freezes):
        if freeze.name in names:
            yield f"[{number}].name", f"{freeze.name!r} already exists"
        names.add(freeze.name)
        try:
            require_zone(freeze.time_zone)
        except ValueError as error:
            yield f"[{number}].time_zone", str(error)
        if freeze.ends_at <= freeze.starts_at:
            yield f"[{number}].ends_at", "must be after starts_at"


def unsound_freezes(
    freezes: Sequence[FreezePeriod], now: datetime, *, known: Collection[FreezePeriod]
) -> Iterator[tuple[str, str]]:
    """What is wrong with freeze periods: the field, and what it must be.

    One of those that are `known` may have passed since it was set.
    """
    yield from inconsistent_freezes(freezes)
    for number, freeze in enumerate(freezes):
        if freeze.ends_at <= freeze.starts_at:
            continue
        if freeze.ends_at <= now and freeze not in known:
            yield f"[{number}].ends_at", "must not have passed already"
        elif freeze.ends_at > now + LONGEST_AHEAD:
            yield f"[{number}].ends_at", "must be within ten years"
