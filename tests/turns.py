"""How much CPU time single turns of an event loop take, in which nobody else is served."""

import time
from asyncio import events
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class LongestTurn:
    """The longest turn so far: CPU seconds of the loop's thread, which are the same on a busy machine."""

    seconds: float = 0.0
    what: str = ""


@contextmanager
def measured_turns() -> Iterator[LongestTurn]:
    """Measures every callback of every event loop while the context lasts, the steps of tasks among them."""
    longest = LongestTurn()
    inside: Any = events.Handle  # typeshed does not let its methods be replaced
    run = inside._run

    def measured(handle: events.Handle) -> None:
        began = time.thread_time()
        try:
            run(handle)
        finally:
            took = time.thread_time() - began
            if took > longest.seconds:
                longest.seconds, longest.what = took, repr(handle)[:300]

    inside._run = measured
    try:
        yield longest
    finally:
        inside._run = run
