"""By how much somebody has set the clock of this machine, which no sleep notices."""

from datetime import timedelta

from tendhost.server.clock import Clock

NOTICED = timedelta(seconds=1)
"""What a date may part from the time that has passed before the clock counts as set: less is the work of a
time server that puts a clock right in small steps. They are added up."""


class ClockDrift:
    """Compares the date with the clock that nobody sets, from one question to the next."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset = clock.now() - clock.elapsed()

    def jump(self) -> timedelta:
        """By how much the clock was set since this was last asked: negative where it was put back, zero
        where it was not set."""
        offset = self._clock.now() - self._clock.elapsed()
        jump = offset - self._offset
        if abs(jump) < NOTICED:
            return timedelta()
        self._offset = offset
        return jump
