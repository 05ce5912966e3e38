"""Bounds the log of an operation: its beginning and its end are kept, its middle is counted. Pure."""

from dataclasses import dataclass

LEAST_CUT = 64 * 1024
"""Smallest middle that is left out, so that the line in its place is shorter than it was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLimit:
    """The bound on one operation's log, in bytes."""

    size: int = 16 * 1024 * 1024
    """Bytes that are kept, give or take one write: a long upgrade of a whole distribution prints 2 MiB."""

    @property
    def head(self) -> int:
        """Bytes of the beginning that are kept."""
        return self.size // 2

    @property
    def tail(self) -> int:
        """Bytes of the end that are kept."""
        return self.size - self.head

    def cut(self, end: int) -> tuple[int, int]:
        """Where the part that is left out begins and ends, of a log that ends at `end`; equal: none is."""
        to = end - self.tail
        return (self.head, to) if to >= self.head + LEAST_CUT else (0, 0)


def left_out_line(count: int) -> bytes:
    """The line in a log in place of `count` omitted bytes."""
    return f"\n[… {count:,} bytes omitted …]\n".encode()
