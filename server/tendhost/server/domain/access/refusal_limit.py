"""How many refusals get an audit record of their own, so that whoever is refused cannot fill the disk."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

WINDOW = timedelta(minutes=10)
PER_CALLER = 20
"""Records of refusals of one caller in a window: enough to see what it tries."""
IN_ALL = 100
"""Records of refusals in a window, once of callers that have proved their names and once of all others, to whom
names and addresses cost nothing."""
NAMED = 20
"""Callers of each of the two whose further refusals are counted by themselves; those of all others are counted
together. So a window leads to at most 2 * (IN_ALL + NAMED + 1) records."""
OTHERS = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Omitted:
    """Refusals that have no record of their own."""

    caller: str
    """OTHERS: several callers."""
    authenticated: bool
    """Whether they had proved their names."""
    count: int


class RefusalLimit:
    """Counts refusals by caller: its name, or the address of one that has shown no valid credential.

    Callers that have proved their names have an allowance of their own, so that strangers cannot use it up.
    """

    def __init__(self) -> None:
        self._ends: timedelta | None = None
        self._proved = _WindowUse()
        self._others = _WindowUse()

    def admits(self, caller: str, elapsed: timedelta, *, authenticated: bool) -> bool:
        """Whether this refusal gets a record; else it is counted. Call `ended` before.

        `authenticated`: whether the caller has proved its name with a credential.
        """
        if self._ends is None:
            self._ends = elapsed + WINDOW
        return self._of(authenticated).admits(caller)

    def ended(self, elapsed: timedelta) -> bool:
        """Whether a window has ended, so that what it left out is to be taken."""
        return self._ends is not None and elapsed >= self._ends

    def take(self) -> Sequence[Omitted]:
        """The refusals without a record; counting begins again."""
        omitted = [
            Omitted(caller=caller, authenticated=authenticated, count=count)
            for authenticated in (True, False)
            for caller, count in self._of(authenticated).omitted.items()
        ]
        self._ends, self._proved, self._others = None, _WindowUse(), _WindowUse()
        return omitted

    def put_back(self, omitted: Iterable[Omitted], elapsed: timedelta) -> None:
        """Count refusals whose record or number could not be stored, until the end of the window."""
        for each in omitted:
            self._ends = elapsed + WINDOW if self._ends is None else self._ends
            self._of(each.authenticated).omit(each.caller, each.count)

    def _of(self, authenticated: bool) -> "_WindowUse":
        return self._proved if authenticated else self._others


class _WindowUse:
    """What callers of one kind have used in a window."""

    def __init__(self) -> None:
        self.recorded: Counter[str] = Counter()
        self.omitted: Counter[str] = Counter()

    def admits(self, caller: str) -> bool:
        if self.recorded[caller] < PER_CALLER and self.recorded.total() < IN_ALL:
            self.recorded[caller] += 1
            return True
        self.omit(caller, 1)
        return False

    def omit(self, caller: str, count: int) -> None:
        named = caller in self.omitted or len(self.omitted) < NAMED
        self.omitted[caller if named else OTHERS] += count
