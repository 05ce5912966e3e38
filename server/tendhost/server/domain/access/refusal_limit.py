"""How many refusals get an audit record of their own, so that whoever is refused cannot fill the disk."""

from collections import Counter
from collections.abc import Mapping
from datetime import timedelta

WINDOW = timedelta(minutes=10)
PER_CALLER = 20
"""Records of refusals of one caller in a window: enough to see what it tries."""
IN_ALL = 100
"""Records of refusals in a window, once of callers that have proved their names and once of all others, to whom
names and addresses cost nothing."""
NAMED = 20
"""Callers of each of the two whose further refusals are counted by themselves; those of all others are counted
together. So a window leads to at most 2 * (IN_ALL + NAMED) + 1 records."""
OTHERS = ""


class RefusalLimit:
    """Counts refusals by caller: its name, or the address of one that has shown no valid credential.

    Callers that have proved their names have an allowance of their own, so that strangers cannot use it up.
    """

    def __init__(self) -> None:
        self._ends: timedelta | None = None
        self._proved = _Allowance()
        self._others = _Allowance()

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

    def take(self) -> Mapping[str, int]:
        """The numbers of refusals without a record, by caller; counting begins again."""
        omitted = self._proved.omitted + self._others.omitted
        self._ends, self._proved, self._others = None, _Allowance(), _Allowance()
        return omitted

    def _of(self, authenticated: bool) -> "_Allowance":
        return self._proved if authenticated else self._others


class _Allowance:
    """What callers of one kind have used in a window."""

    def __init__(self) -> None:
        self.recorded: Counter[str] = Counter()
        self.omitted: Counter[str] = Counter()

    def admits(self, caller: str) -> bool:
        if self.recorded[caller] < PER_CALLER and self.recorded.total() < IN_ALL:
            self.recorded[caller] += 1
            return True
        named = caller in self.omitted or len(self.omitted) < NAMED
        self.omitted[caller if named else OTHERS] += 1
        return False
