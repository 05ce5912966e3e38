"""Named points at which the tests can crash the server: nothing happens at any unless the environment asks.

`TENDHOST_FAILPOINTS` is a list of `POINT` or `POINT@N`, separated by commas: the process is killed, as
by `kill -9`, the Nth time (the first, without a number) that it reaches the point.
"""

import os
import signal
from collections.abc import Mapping

VARIABLE = "TENDHOST_FAILPOINTS"

POINTS = (
    "store.before_commit",
    "store.after_commit",
    "step.begun",
    "step.performed",
    "step.stored",
    "operation.stored",
    "job.recorded",
    "job.prepared",
    "job.launched",
    "job.polled",
    "job.ended",
    "job.cleaned",
    "reboot.recorded",
    "reboot.ordered",
    "reboot.returned",
    "connect.begun",
    "connect.made",
)
"""Every point there is."""

_armed: dict[str, int] = {}


class UnknownFailpoint(ValueError):
    """The environment names a point that is not there, or a count that is none."""


def arm(environment: Mapping[str, str]) -> None:
    """Take over what `TENDHOST_FAILPOINTS` asks for, if anything. Raises UnknownFailpoint."""
    _armed.clear()
    for word in filter(None, environment.get(VARIABLE, "").split(",")):
        point, _, count = word.partition("@")
        times = count or "1"
        if point not in POINTS or not (times.isascii() and times.isdecimal() and int(times)):
            expected = f"POINT or POINT@N with N from 1 and POINT one of {', '.join(POINTS)}"
            raise UnknownFailpoint(f"{VARIABLE}: {word!r}, expected {expected}")
        _armed[point] = int(times)


def reached(point: str) -> None:
    """Crash here if that was asked for."""
    if point in _armed:
        _armed[point] -= 1
        if _armed[point] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
