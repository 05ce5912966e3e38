"""What the CPU time of this process goes to, by samples of the main thread's stack and the threads' own clocks."""

import signal
import time
from collections import Counter
from types import FrameType
from typing import Self

INTERVAL_SECONDS = 0.005
SSH, STORE, LOOP, PARSING, ROLLOUT, ENGINE = (
    "ssh",
    "store",
    "event loop",
    "parsing",
    "rollout",
    "engine",
)
_OUTERMOST_FIRST = (
    ("/asyncssh/", SSH),
    ("/cryptography/", SSH),
    ("/server/remote/", SSH),
    ("/asyncio/selector_events.py", SSH),
    ("/server/store/", STORE),
    ("/server/packages/", PARSING),
    ("/engine/rollouts/controller.py", ROLLOUT),
    ("/engine/rollouts/admission.py", ROLLOUT),
    ("/engine/rollout", ROLLOUT),
    ("/domain/rollouts/advance.py", ROLLOUT),
    ("/domain/rollouts/progress_update.py", ROLLOUT),
    ("/server/engine/", ENGINE),
    ("/server/domain/", ENGINE),
)


class CpuParts:
    """Samples from when it is entered on. The server's other threads work for the store only."""

    def __init__(self) -> None:
        self._samples: Counter[str] = Counter()

    def __enter__(self) -> Self:
        self._main, self._all = time.thread_time(), time.process_time()
        signal.signal(signal.SIGPROF, self._sample)
        signal.setitimer(signal.ITIMER_PROF, INTERVAL_SECONDS, INTERVAL_SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)
        self._main = time.thread_time() - self._main
        self._all = time.process_time() - self._all

    @property
    def seconds(self) -> float:
        """CPU seconds of the whole process."""
        return self._all

    def shares(self) -> dict[str, float]:
        """What part of the CPU time each was; they add up to one."""
        main = self._main / self._all
        count = max(1, self._samples.total())
        found = {part: samples / count * main for part, samples in self._samples.items()}
        found[STORE] = found.get(STORE, 0.0) + 1 - main
        return found

    def _sample(self, _: int, frame: FrameType | None) -> None:
        self._samples[_part_of(frame)] += 1


def _part_of(frame: FrameType | None) -> str:
    """The first of the parts, in their order, that has a frame on the stack."""
    files = []
    while frame is not None:
        files.append(frame.f_code.co_filename)
        frame = frame.f_back
    for sign, part in _OUTERMOST_FIRST:
        if any(sign in file for file in files):
            return part
    return LOOP
