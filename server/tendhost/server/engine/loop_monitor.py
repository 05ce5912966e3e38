"""How late the event loop is, and what it was busy with when nobody else was served.

A beat on the loop says how late it came. A thread looks whether the beat is overdue, and notes then what the
loop's own thread is in the middle of. Both together cost less than a thousandth of a CPU.
"""

import asyncio
import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from types import FrameType

logger = logging.getLogger(__name__)

INTERVAL = 0.05
"""Seconds between two beats: what is late by less than LATE may be missed by so much."""
LATE = 0.2
"""Seconds. A turn of the loop is meant to take 50 ms at most; from here on users notice."""
STUCK = 10.0
"""Seconds after which an error is logged that the loop does not go on at all."""
WINDOW = 60.0
"""Seconds that the reported lag covers."""
SHOWN_FRAMES = 4
_OURS = "/tendhost/server/"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopLag:
    """How late the event loop was in the last minute."""

    longest: timedelta
    p99: timedelta
    """Of a hundred beats ninety-nine were no later."""


class LoopMonitor:
    """Watches the event loop on which `watching` is entered."""

    def __init__(
        self,
        *,
        now: Callable[[], float] = time.perf_counter,
        cpu: Callable[[], float] = time.thread_time,
    ) -> None:
        """`now` and `cpu` give seconds: of a clock that only goes forward, and of the loop's thread."""
        self._now = now
        self._cpu = cpu
        self._lags: deque[tuple[float, float]] = deque()
        self._beaten = now()
        self._used = 0.0
        self._thread = threading.get_ident()
        self._caught = ""
        self._reported_stuck = False
        self._over = threading.Event()

    def lag(self) -> LoopLag:
        """How late the loop was in the last minute."""
        since = self._now() - WINDOW
        lags = sorted(lag for at, lag in self._lags if at >= since) or [0.0]
        p99 = lags[min(len(lags) - 1, len(lags) * 99 // 100)]
        return LoopLag(longest=timedelta(seconds=lags[-1]), p99=timedelta(seconds=p99))

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch the running event loop while the context lasts."""
        loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._beaten, self._used = self._now(), self._cpu()
        watcher = threading.Thread(target=self._watch, name="loop-monitor", daemon=True)

        timers: list[asyncio.TimerHandle] = []

        def beat() -> None:
            self.beat()
            timers[:] = [loop.call_later(INTERVAL, beat)]

        timers.append(loop.call_later(INTERVAL, beat))
        watcher.start()
        try:
            yield
        finally:
            timers[0].cancel()
            self._over.set()
            watcher.join()

    def beat(self) -> None:
        """Note, on the loop, that it goes on."""
        now, used = self._now(), self._cpu()
        lag = max(0.0, now - self._beaten - INTERVAL)
        if lag > LATE:
            # With little CPU the machine was busy with others, and nothing of ours held it up.
            cpu = round((used - self._used) * 1000)
            fields = {
                "lag_ms": round(lag * 1000),
                "cpu_ms": cpu,
                "running": self._caught or "unknown",
            }
            logger.warning("the event loop was late", extra=fields)
        self._beaten, self._used = now, used
        self._caught, self._reported_stuck = "", False
        self._lags.append((now, lag))
        while self._lags[0][0] < now - WINDOW:
            self._lags.popleft()

    def check(self) -> None:
        """Note, in another thread, what the loop is in the middle of if its beat is overdue."""
        overdue = self._now() - self._beaten - INTERVAL
        if overdue > LATE and not self._caught:
            self._caught = _running(sys._current_frames().get(self._thread))
        if overdue > STUCK and not self._reported_stuck:
            self._reported_stuck = True
            fields = {"lag_ms": round(overdue * 1000), "running": self._caught}
            logger.error("the event loop is blocked", extra=fields)

    def _watch(self) -> None:
        while not self._over.wait(2 * INTERVAL):
            self.check()


def _running(frame: FrameType | None) -> str:
    """The innermost functions of a stack, the outermost of them first, and what of ours called them."""
    frames: list[FrameType] = []
    while frame is not None:
        frames.append(frame)
        frame = frame.f_back
    shown = frames[:SHOWN_FRAMES]
    ours = next((f for f in frames if _OURS in f.f_code.co_filename), None)
    if ours is not None and ours not in shown:
        shown.append(ours)
    return " > ".join(_named(f) for f in reversed(shown)) or "unknown"


def _named(frame: FrameType) -> str:
    module = frame.f_globals.get("__name__", "?").removeprefix("tendhost.server.")
    return f"{module}.{frame.f_code.co_qualname}:{frame.f_lineno}"
