"""How much of an operation's log is kept: its beginning and its end; the middle is counted. Pure."""

from dataclasses import dataclass

LEAST_CUT = 64 * 1024
"""The middle is left out from this size on, so that what stands for it is shorter than what it was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLimit:
    """The bound on one operation's log, in bytes."""

    size: int = 16 * 1024 * 1024
    """What is kept, give or take the size of one write: a long upgrade of a whole distribution prints 2 MiB."""

    @property
    def head(self) -> int:
        """So much of the beginning is kept."""
        return self.size // 2

    @property
    def tail(self) -> int:
        """So much up to the end is kept."""
        return self.size - self.head

    def cut(self, end: int) -> tuple[int, int]:
        """From where to where a log is left out that ends at `end`; equal: nowhere."""
        to = end - self.tail
        return (self.head, to) if to >= self.head + LEAST_CUT else (0, 0)


def left_out_line(count: int) -> bytes:
    """The line that stands in a log for `count` bytes that were left out."""
    return f"\n[… {count:,} bytes left out …]\n".encode()
