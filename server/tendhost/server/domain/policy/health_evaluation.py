"""Whether a host is healthy, from the findings of its checks.

Pure. `due` returns the checks to run now, `after` takes their findings, and `verdict` is whether the host
is healthy, or None while that is open.

Each check runs at once, and again after its interval while there is no verdict. The host is healthy when
every check has held without a break for the settling time, with its last run not before the end of that
time. The host is unhealthy when a check has failed `attempts` times in all, before or while the host
settles, or, for a check with patience in place of a number, still fails when its patience is over; every
check has run by then.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckFinding:
    """The finding of one run of a check."""

    holds: bool
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckRun:
    """A check and its runs so far. Times are readings of a monotonic clock."""

    name: str
    interval: timedelta
    attempts: int | None = None
    """Number of failed runs after which it has failed; None: it may fail until `patience` is over."""
    patience: timedelta = timedelta()
    tries: int = 0
    failures: int = 0
    last: CheckFinding | None = None
    last_at: timedelta = timedelta()
    held_since: timedelta | None = None
    """Time of the first of the latest runs that held without a break; None: the last one failed."""

    def after(self, found: CheckFinding, at: timedelta) -> "CheckRun":
        """The check after one more run."""
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
        """Whether the check has failed for good."""
        if self.last is None or self.last.holds:
            return False
        if self.attempts is None:
            return self.last_at - began >= self.patience
        return self.failures >= self.attempts


@dataclass(frozen=True, slots=True, kw_only=True)
class Settling:
    """All checks of a host since `began`."""

    checks: tuple[CheckRun, ...]
    settle: timedelta
    began: timedelta

    def due(self, now: timedelta) -> Sequence[int]:
        """Indexes of the checks to run now."""
        if self.verdict is not None:
            return ()
        return [number for number, check in enumerate(self.checks) if self._due_at(check) <= now]

    @property
    def next_due(self) -> timedelta:
        """Time at which the next check is due, unless there is a verdict before."""
        return min(self._due_at(check) for check in self.checks)

    def after(self, found: Mapping[int, CheckFinding], now: timedelta) -> "Settling":
        """The checks after these findings, by index."""
        checks = tuple(
            check.after(found[number], now) if number in found else check
            for number, check in enumerate(self.checks)
        )
        return replace(self, checks=checks)

    @property
    def verdict(self) -> bool | None:
        """Whether the host is healthy; None: still open."""
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
        """Time since which all checks have held; None: they have not."""
        held = [check.held_since for check in self.checks]
        known = [since for since in held if since is not None]
        return max(known) if len(known) == len(held) else None

    def _due_at(self, check: CheckRun) -> timedelta:
        if check.last is None:
            return self.began
        due = check.last_at + check.interval
        since = self._held_since
        # The last run comes at the end of the settling time, not an interval later.
        end = None if since is None else since + self.settle
        return due if end is None or end <= check.last_at else min(due, end)
