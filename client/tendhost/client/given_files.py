"""Files that the user names: only regular ones are read, and up to a bound, so that none holds the command up."""

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_NULL_DEVICE = os.makedev(1, 3)
"""/dev/null (Linux, Documentation/admin-guide/devices.txt), which is read as the empty file that it stands for."""


class FileUnusable(Exception):
    """A file that cannot be read, or is not to be. The text says why, and follows the name of the file."""

    def __init__(self, why: str) -> None:
        super().__init__(f"cannot be read: {why}")


class FileMissing(FileUnusable):
    """There is no such file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenFile:
    """What was read of a file."""

    data: bytes
    exposed: bool
    """Whether others than its owner may read or write it."""


def read_given(path: Path, *, most: int) -> GivenFile:
    """Read a regular file of at most `most` bytes. Raises FileUnusable."""
    try:
        _require_regular(path.stat())  # opening a device may do something already
        # Not blocking: a FIFO without a writer would hold up the command without end.
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        descriptor = os.open(path, flags)
        try:
            seen = os.fstat(descriptor)
            _require_regular(seen)
            with open(descriptor, "rb", closefd=False) as file:
                data = file.read(most + 1)
        finally:
            os.close(descriptor)
    except FileNotFoundError as error:
        raise FileMissing(error.strerror or "it is not there") from error
    except OSError as error:
        raise FileUnusable(error.strerror or type(error).__name__) from error
    except ValueError as error:  # a NUL in the path
        raise FileUnusable(str(error)) from error
    if len(data) > most:
        raise FileUnusable(f"it has more than {most} bytes")
    return GivenFile(data=data, exposed=bool(seen.st_mode & 0o077))


def _require_regular(seen: os.stat_result) -> None:
    if stat.S_ISREG(seen.st_mode) or seen.st_rdev == _NULL_DEVICE:
        return
    kind = next((words for test, words in _KINDS if test(seen.st_mode)), "a device")
    raise FileUnusable(f"it is {kind}, expected a regular file")


_KINDS: tuple[tuple[Callable[[int], bool], str], ...] = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
)
