"""Sorting as many values as there are hosts, in a thread beside the event loop.

A single sort of 100,000 values holds the interpreter for a fifth of a second, in which no other thread runs.
"""

import heapq
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Generic, TypeVar

SLICE = 2000
"""So many values are sorted in one go, which takes about a millisecond."""

T = TypeVar("T", bound=tuple[Any, ...])


class SortedInSlices(Generic[T]):
    """Takes values in any order, and gives parts of them in theirs."""

    def __init__(self, values: Iterable[T] = ()) -> None:
        self._sorted: list[list[T]] = []
        self._last: list[T] = []
        for value in values:
            self.add(value)

    def add(self, value: T) -> None:
        """Take one more."""
        self._last.append(value)
        if len(self._last) == SLICE:
            self._last.sort()
            self._sorted.append(self._last)
            self._last = []

    def __len__(self) -> int:
        return SLICE * len(self._sorted) + len(self._last)

    def __iter__(self) -> Iterator[T]:
        """All of them in order."""
        return heapq.merge(*self._sorted, sorted(self._last))

    def between(self, first: int, last: int) -> Iterator[T]:
        """Those from the place `first` until before `last`, in order."""
        return islice(self, first, last)
