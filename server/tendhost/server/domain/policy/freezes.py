"""Freeze periods, in which nothing is changed, whatever the maintenance windows allow."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from tendhost.server.domain.local_time import local_text, require_zone

LONGEST_AHEAD = timedelta(days=3653)
"""Longest time until a freeze ends: a longer one is a mistake, or a host that should be unregistered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FreezePeriod:
    """A period from `starts_at` to `ends_at` (both aware). Nothing starts that would run during it."""

    name: str
    starts_at: datetime
    """First instant of the period."""
    ends_at: datetime
    """First instant after the period."""
    reason: str = ""
    time_zone: str = "UTC"
    """IANA name of the time zone in which messages show its times."""

    def contains(self, now: datetime) -> bool:
        """Whether `now` is in the period."""
        return self.starts_at <= now < self.ends_at

    def meets(self, start: datetime, planned: timedelta) -> bool:
        """Whether work that starts at `start` and takes `planned` would run during the period."""
        return start < self.ends_at and (
            self.starts_at <= start or self.starts_at < start + planned
        )

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}" if self.reason else self.name

    def local(self, at: datetime) -> str:
        """An instant as text, in the time zone of the period."""
        return local_text(at, self.time_zone)


def inconsistent_freezes(freezes: Sequence[FreezePeriod]) -> Iterator[tuple[str, str]]:
    """Faults of freeze periods that do not depend on the time: the field, and what it must be."""
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
    """Faults of freeze periods: the field, and what it must be.

    A freeze period in `known` may have passed since it was set.
    """
    yield from inconsistent_freezes(freezes)
    for number, freeze in enumerate(freezes):
        if freeze.ends_at <= freeze.starts_at:
            continue
        if freeze.ends_at <= now and freeze not in known:
            yield f"[{number}].ends_at", "must not have passed already"
        elif freeze.ends_at > now + LONGEST_AHEAD:
            yield f"[{number}].ends_at", "must be within ten years"
