"""When a host may be changed, by all windows and freeze periods that apply to it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from tendhost.server.domain.policy.freezes import FreezePeriod
from tendhost.server.domain.policy.windows import MaintenanceWindow, first_start

REACH = timedelta(days=366)
"""How far ahead to search for an instant at which windows of several groups are open, without freeze periods:
a year has every difference of their time zones in it."""


def planned_time(took: timedelta | None) -> timedelta:
    """The planned time of an update of a host whose last one took `took`; None: unknown.

    In whole minutes, rounded up, so that a large fleet has few different values.
    """
    return -(-(took or timedelta()) // _MINUTE) * _MINUTE


_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Availability:
    """When a host that may not be changed now may be changed next."""

    until: datetime | None = None
    """When it may be changed; None: never."""
    message: str = ""
    """Why it may not be changed now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeWindows:
    """The windows and freeze periods that apply to a host. Without any it may always be changed."""

    windows: tuple[tuple[MaintenanceWindow, ...], ...] = ()
    """Sets of windows, none of them empty. One window of each set must be open."""
    freezes: tuple[FreezePeriod, ...] = ()

    def allow(self, now: datetime, planned: timedelta = timedelta()) -> bool:
        """Whether work that takes `planned` may start at `now` (aware)."""
        if any(freeze.meets(now, planned) for freeze in self.freezes):
            return False
        return all(first_start(windows, now, planned) == now for windows in self.windows)

    def next_start(self, now: datetime, planned: timedelta = timedelta()) -> datetime | None:
        """The first instant from `now` on at which work that takes `planned` may start.

        None: never within REACH, without freeze periods.
        """
        at, last = now, now + REACH
        while at <= last:
            start = self._after_freezes(at, planned)
            last += start - at
            for windows in self.windows:
                found = first_start(windows, start, planned)
                if found is None:
                    return None
                start = found
            if start == at:
                return start
            at = start
        return None

    def availability(self, now: datetime, planned: timedelta = timedelta()) -> Availability | None:
        """When work that takes `planned` may start, and why not now; None: it may start at `now`."""
        if self.allow(now, planned):
            return None
        start = self.next_start(now, planned)
        return Availability(until=start, message=self._message(now, planned, start))

    def _after_freezes(self, at: datetime, planned: timedelta) -> datetime:
        """The first instant from `at` on that is in no freeze period."""
        while True:
            ends = [freeze.ends_at for freeze in self.freezes if freeze.meets(at, planned)]
            if not ends:
                return at
            at = max(ends)

    def _message(self, now: datetime, planned: timedelta, start: datetime | None) -> str:
        frozen = [freeze for freeze in self.freezes if freeze.contains(now)]
        if frozen:
            last = max(frozen, key=lambda freeze: freeze.ends_at)
            words = f"frozen until {last.local(last.ends_at)} ({last})"
            if start == last.ends_at:
                return words
            return f"{words}; after that {self._when(start, planned)}"
        closed = next((w for w in self.windows if not any(one.contains(now) for one in w)), None)
        if closed is not None:
            return self._when(start, planned)
        ahead = [freeze for freeze in self.freezes if freeze.meets(now, planned)]
        if ahead:
            first = min(ahead, key=lambda freeze: freeze.starts_at)
            words = f"too late before the freeze of {first.local(first.starts_at)} ({first})"
        else:
            words = "too late in its window"
        if planned:
            words += f" for an update, which took {planned} the last time"
        return f"{words}; {self._when(start, planned)}"

    def _when(self, start: datetime | None, planned: timedelta) -> str:
        sets = " and ".join(" or ".join(map(str, windows)) for windows in self.windows)
        if start is None and planned:
            return (
                f"an update, which took {planned} the last time, never fits into its windows {sets}"
            )
        if start is None:
            return f"its windows {sets} are never open at the same time"
        opens = (w for windows in self.windows for w in windows if w.contains(start))
        window = next(opens, None)
        if window is None:
            return f"it may be changed from {self.freezes[0].local(start)} on"
        local = start.astimezone(ZoneInfo(window.time_zone))
        return f"its window opens {local:%a %Y-%m-%d %H:%M} {window.time_zone}"
