"""How many refusals get an audit record of their own, so that whoever is refused cannot fill the disk."""

from collections import Counter
from collections.abc import Mapping
from datetime import timedelta

WINDOW = timedelta(minutes=10)
PER_CALLER = 20
"""Records of refusals of one caller in a window: enough to see what it tries."""
IN_ALL = 100
"""Records of refusals in a window, whoever is refused: names and addresses cost a caller nothing."""
NAMED = 20
"""Callers whose further refusals are counted by themselves; those of all others are counted together. So a
window leads to at most IN_ALL + NAMED + 1 records."""
OTHERS = ""


class RefusalLimit:
    """Counts refusals by caller: its name, or the address of one that has shown no credential."""

    def __init__(self) -> None:
        self._ends: timedelta | None = None
        self._recorded: Counter[str] = Counter()
        self._omitted: Counter[str] = Counter()

    def admits(self, caller: str, elapsed: timedelta) -> bool:
        """Whether this refusal gets a record; else it is counted. Call `ended` before."""
        if self._ends is None:
            self._ends = elapsed + WINDOW
        if self._recorded[caller] < PER_CALLER and self._recorded.total() < IN_ALL:
            self._recorded[caller] += 1
            return True
        named = caller in self._omitted or len(self._omitted) < NAMED
        self._omitted[caller if named else OTHERS] += 1
        return False

    def ended(self, elapsed: timedelta) -> bool:
        """Whether a window has ended, so that what it left out is to be taken."""
        return self._ends is not None and elapsed >= self._ends

    def take(self) -> Mapping[str, int]:
        """The numbers of refusals without a record, by caller; counting begins again."""
        omitted, self._omitted = self._omitted, Counter()
        self._ends, self._recorded = None, Counter()
        return omitted
