"""Files that people name, in a setting or on the command line: only regular ones are read, and up to a bound.

Opening a FIFO waits for somebody who writes to it, and a device such as /dev/zero has no end: what reads files that
somebody has named opens them here, so that none of them holds up the server or fills its memory.
"""

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

FileVersion = tuple[int, int, int, int]
"""When a file was changed, its size, which one it is, and when its mode or owner was changed."""
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
    exposure: str
    """What to do about it if others may use a secret in the file, as text; empty: they may not."""
    version: FileVersion


def read_given(path: Path | str, *, most: int) -> GivenFile:
    """Read a regular file of at most `most` bytes. Raises FileUnusable."""
    with _opened(path) as (file, seen):
        data = file.read(most + 1)
    if len(data) > most:
        raise FileUnusable(f"it has more than {most} bytes")
    return GivenFile(data=data, exposure=_exposure(path, seen), version=_version(seen))


def lines_of(path: Path | str, *, most: int) -> Iterator[bytes]:
    """The lines of a regular file of any size, each of at most `most` bytes. Raises FileUnusable."""
    with _opened(path) as (file, _):
        number = 1
        while line := file.readline(most + 1):
            if len(line) > most:
                raise FileUnusable(f"its line {number} has more than {most} bytes")
            yield line
            number += 1


def require_regular(path: Path) -> None:
    """Raise FileUnusable unless `path` is a regular file, for what opens it itself, as SQLite does."""
    with _errors_as_unusable():
        _require_regular(path.stat())


def version_of(path: Path) -> FileVersion:
    """The version of a file now. Raises FileUnusable."""
    with _errors_as_unusable():
        return _version(path.stat())


@contextmanager
def _errors_as_unusable() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise FileMissing(error.strerror or "it is not there") from error
    except OSError as error:
        raise FileUnusable(error.strerror or type(error).__name__) from error
    except ValueError as error:  # a NUL in the path
        raise FileUnusable(str(error)) from error


@contextmanager
def _opened(path: Path | str) -> Iterator[tuple[BinaryIO, os.stat_result]]:
    """A regular file, open for reading, and its status. Raises FileUnusable, also for what reading raises."""
    with _errors_as_unusable():
        _require_regular(Path(path).stat())  # opening a device may do something already
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        try:
            seen = os.fstat(descriptor)
            _require_regular(seen)
            with open(descriptor, "rb", closefd=False) as file:
                yield file, seen
        finally:
            os.close(descriptor)


def _require_regular(seen: os.stat_result) -> None:
    if not stat.S_ISREG(seen.st_mode) and seen.st_rdev != _NULL_DEVICE:
        raise FileUnusable(f"it is {_kind(seen.st_mode)}, expected a regular file")


def _version(seen: os.stat_result) -> FileVersion:
    return seen.st_mtime_ns, seen.st_size, seen.st_ino, seen.st_ctime_ns


def _exposure(path: Path | str, seen: os.stat_result) -> str:
    """See GivenFile.exposure.

    ssh(1) allows nobody but the owner if that is the user who runs it, and does not ask otherwise. A group that gives
    the server access to somebody else's file is allowed here, too: credentials of systemd look like that, for the
    mask of their access control list stands in the place of the group (systemd.exec(5)), and so do keys of a group
    such as ssl-cert. The rest of the world never is.
    """
    others = 0o077 if seen.st_uid == os.geteuid() else 0o007
    mode = stat.S_IMODE(seen.st_mode)
    return f"others may read it (mode {mode:04o}); run: chmod 600 {path}" if mode & others else ""


_KINDS: tuple[tuple[Callable[[int], bool], str], ...] = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)


def _kind(mode: int) -> str:
    return next((words for test, words in _KINDS if test(mode)), "something else")
