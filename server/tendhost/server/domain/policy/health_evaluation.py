"""Whether a host is healthy, from what its checks find one after the other.

Pure. `due` says which checks to make at a moment, `after` takes what they found, and `verdict` says what
that makes of the host, or that it is too early to say.

Each check is tried at once, and again after its interval for as long as there is no verdict. The host
is healthy when every check has held without a break for the settling time, the last try of each not
before its end. It is unhealthy when a check has failed so often as it may (`attempts`: in all, before or
while the host settles), or, for a check with patience in place of a number, still fails when that is
over; and every check was tried by then.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckFinding:
    """What one try of a check found."""

    holds: bool
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckRun:
    """A check, and how its tries went so far. Moments are readings of a clock that nobody sets."""

    name: str
    interval: timedelta
    attempts: int | None = None
    """How often it may fail in all; None: until `patience` is over."""
    patience: timedelta = timedelta()
    tries: int = 0
    failures: int = 0
    last: CheckFinding | None = None
    last_at: timedelta = timedelta()
    held_since: timedelta | None = None
    """The first try of the present run of those that held."""

    def after(self, found: CheckFinding, at: timedelta) -> "CheckRun":
        """The check after one more try."""
        return replace(
            self,
            tries=self.tries + 1,
            failures=self.failures + (not found.holds),
            last=found,
            last_at=at,
            held_since=(at if self.held_since is None else self.held_since)
            if found.holds
            else None,
        )

    def has_failed(self, began: timedelta) -> bool:
        """Whether it will not be tried again."""
        if self.last is None or self.last.holds:
            return False
        if self.attempts is None:
            return self.last_at - began >= self.patience
        return self.failures >= self.attempts


@dataclass(frozen=True, slots=True, kw_only=True)
class Settling:
    """All checks of a host, from when they began."""

    checks: tuple[CheckRun, ...]
    settle: timedelta
    began: timedelta

    def due(self, now: timedelta) -> Sequence[int]:
        """The numbers of the checks to try now."""
        if self.verdict is not None:
            return ()
        return [number for number, check in enumerate(self.checks) if self._due_at(check) <= now]

    @property
    def next_due(self) -> timedelta:
        """When a check is due, unless there is a verdict by then."""
        return min(self._due_at(check) for check in self.checks)

    def after(self, found: Mapping[int, CheckFinding], now: timedelta) -> "Settling":
        """What is known once these tries, by their numbers, have ended."""
        checks = tuple(
            check.after(found[number], now) if number in found else check
            for number, check in enumerate(self.checks)
        )
        return replace(self, checks=checks)

    @property
    def verdict(self) -> bool | None:
        """Whether the host is healthy; None: too early to say."""
        if any(check.last is None for check in self.checks):
            return None
        if any(check.has_failed(self.began) for check in self.checks):
            return False
        since = self._held_since
        if since is None or any(check.last_at - since < self.settle for check in self.checks):
            return None
        return True

    @property
    def _held_since(self) -> timedelta | None:
        """Since when all of them have held."""
        held = [check.held_since for check in self.checks]
        known = [since for since in held if since is not None]
        return max(known) if len(known) == len(held) else None

    def _due_at(self, check: CheckRun) -> timedelta:
        if check.last is None:
            return self.began
        due = check.last_at + check.interval
        since = self._held_since
        # The last try comes with the end of the settling time, not an interval later.
        end = None if since is None else since + self.settle
        return due if end is None or end <= check.last_at else min(due, end)
