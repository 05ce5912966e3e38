"""A file as a sink of the audit log: a record a line, on disk before it counts as written, rotated by its size."""

import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path

from tendhost.server.domain.access.audit import AuditEntry, documents, json_of
from tendhost.server.outbound.audit_sink import PATIENCE, SinkFailed, run_within
from tendhost.server.threads import DaemonThreads

MODE = 0o600
LONGEST_LINE = 65536
"""More than the longest record has."""
_BEGINNING = b'{"address":'
"""Of every line; the keys are sorted."""
# Without O_NONBLOCK the opening of a named pipe would wait for a reader.
_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class FileSink:
    """A file and the older ones beside it: PATH, PATH.1 (the newest of them) to PATH.`keep`.

    The file is opened for each delivery, so that another program may rotate it as well.
    """

    def __init__(
        self, path: Path, *, max_size: int, keep: int, patience: timedelta = PATIENCE
    ) -> None:
        """`max_size` in bytes: a file with a record is not extended beyond it."""
        self._path = path
        self._max_size = max_size
        self._keep = keep
        self._patience = patience
        self._threads = DaemonThreads(1, name="audit-file")

    async def deliver(self, entries: Sequence[AuditEntry], former: str) -> None:
        """See AuditSink."""
        lines = [
            f"{json_of(document)}\n".encode("ascii") for document in documents(entries, former)
        ]
        await run_within(self._threads, partial(self._append, b"".join(lines)), self._patience)

    def _append(self, data: bytes) -> None:
        descriptor = self._opened()
        try:
            size = _whole_size(descriptor, self._path)
            if size and size + len(data) > self._max_size:
                os.close(descriptor)
                descriptor = -1
                self._rotate()
                descriptor, size = self._opened(), 0
            _write(descriptor, data, size)
        finally:
            if descriptor >= 0:
                os.close(descriptor)
        if size == 0:
            _sync_folder(self._path.parent)

    def _opened(self) -> int:
        descriptor = os.open(self._path, _FLAGS, MODE)
        try:
            mode = os.fstat(descriptor).st_mode
            if not stat.S_ISREG(mode):
                raise SinkFailed(f"{self._path} is no regular file")
            if stat.S_IMODE(mode) != MODE:
                os.fchmod(descriptor, MODE)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _rotate(self) -> None:
        """Number each file one higher, the oldest first: a crash between two of them loses none."""
        names = [self._path, *(Path(f"{self._path}.{number + 1}") for number in range(self._keep))]
        for older, newer in reversed(list(zip(names[1:], names, strict=False))):
            with suppress(FileNotFoundError):
                newer.replace(older)
        _sync_folder(self._path.parent)


def _write(descriptor: int, data: bytes, size: int) -> None:
    """Append `data` to a file of `size` bytes, all of it or nothing, and wait for the disk."""
    try:
        left = memoryview(data)
        while left:
            left = left[os.write(descriptor, left) :]
        os.fsync(descriptor)
    except OSError:
        with suppress(OSError):
            os.ftruncate(descriptor, size)
        raise


def _whole_size(descriptor: int, path: Path) -> int:
    """The size of a file, without a record that a crash has cut off, which is sent again."""
    size = os.fstat(descriptor).st_size
    first = max(0, size - LONGEST_LINE)
    torn = os.pread(descriptor, size - first, first).rpartition(b"\n")[2]
    if not torn:
        return size
    if not (torn.startswith(_BEGINNING) or _BEGINNING.startswith(torn)):
        raise SinkFailed(f"{path} does not end with an audit record; name another file")
    os.ftruncate(descriptor, size - len(torn))
    return size - len(torn)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
