"""Whether somebody has put the date of this machine back, which no sleep notices."""

from datetime import timedelta

from tendhost.server.clock import Clock

NOTICED = timedelta(seconds=10)
"""What a date may differ from the time that has passed before it counts as put back: less is the work of
a time server that puts a clock right in small steps."""


class ClockDrift:
    """Compares the date with the clock that nobody sets, from one question to the next."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset = clock.now() - clock.elapsed()

    def was_put_back(self) -> bool:
        """Whether the date has been put back since this was last asked."""
        offset = self._clock.now() - self._clock.elapsed()
        former, self._offset = self._offset, offset
        return offset < former - NOTICED
