"""Reads private keys from files: in threads of their own, within a time limit, only from regular files.

The path is whatever somebody wrote into a host's configuration. Opening a FIFO, or a file on a mount whose
server is gone, never returns, and on the event loop it would stop everything.
"""

import asyncio
import os
import stat
from collections.abc import Callable
from datetime import timedelta
from functools import partial

import asyncssh

from tendhost.server.threads import DaemonThreads

LARGEST = 64 * 1024
"""Bytes of a key file; an RSA key of 16,384 bits has 13 KiB."""
THREADS = 16
"""So many files are read at once. Each path has at most one, so a dead mount takes one for each key on it."""


class KeyFileUnusable(Exception):
    """A file has no key that can be used; the message says why."""


Version = tuple[int, int, int]
"""Of a file: when it was changed, its size, which one it is."""


class KeyFiles:
    """The keys in files, each parsed once. A file is read again when it has changed."""

    def __init__(self, *, timeout: timedelta) -> None:
        """`timeout`: for one read of a file."""
        self._timeout = timeout
        self._threads = DaemonThreads(THREADS, name="key-file")
        self._known: dict[str, tuple[Version, asyncssh.SSHKey]] = {}
        self._reading: dict[str, asyncio.Task[asyncssh.SSHKey]] = {}

    async def key(self, path: str) -> asyncssh.SSHKey:
        """The key in the file `path`. Raises KeyFileUnusable."""
        reading = self._reading.get(path)
        if reading is None:
            reading = self._reading[path] = asyncio.create_task(self._read(path))
            reading.add_done_callback(partial(self._read_ended, path))
        try:
            async with asyncio.timeout(self._timeout.total_seconds()):
                # Shielded: others wait for the same file, and a thread cannot be cancelled.
                return await asyncio.shield(reading)
        except TimeoutError:
            seconds = self._timeout.total_seconds()
            problem = f"the key {path} cannot be read: it was not there within {seconds:g} s"
            raise KeyFileUnusable(problem) from None

    async def _read(self, path: str) -> asyncssh.SSHKey:
        known = self._known.get(path)
        found = await self._threads.run(partial(_read_key, path, known))
        self._known[path] = found
        return found[1]

    def _read_ended(self, path: str, reading: asyncio.Task[asyncssh.SSHKey]) -> None:
        del self._reading[path]
        if not reading.cancelled():
            reading.exception()  # whoever waited may have given up: it is not left unseen


def parsed_key(data: bytes, name: str) -> asyncssh.SSHKey:
    """The private key in `data`, which errors call `name`. Raises KeyFileUnusable."""
    try:
        return asyncssh.import_private_key(data)
    except ValueError as error:
        # asyncssh has one type of error for all of them, and tells a passphrase by these words.
        if "passphrase" in str(error).lower():
            problem = f"{name} has a passphrase; use one without, or an agent"
        else:
            problem = f"{name} is not a private key that can be read: {error}"
        raise KeyFileUnusable(problem) from error


def _read_key(
    path: str, known: tuple[Version, asyncssh.SSHKey] | None
) -> tuple[Version, asyncssh.SSHKey]:
    """In a thread: the key in a file, and the version of the file; `known` where that is the same."""
    name = f"the key {path}"
    try:
        # Without O_NONBLOCK the open of a FIFO waits for somebody who writes to it.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        try:
            return _from(descriptor, name, known)
        finally:
            os.close(descriptor)
    except OSError as error:
        problem = f"{name} cannot be read: {error.strerror or error}"
        raise KeyFileUnusable(problem) from error
    except ValueError as error:  # a NUL in the path
        raise KeyFileUnusable(f"{name} cannot be read: {error}") from error


def _from(
    descriptor: int, name: str, known: tuple[Version, asyncssh.SSHKey] | None
) -> tuple[Version, asyncssh.SSHKey]:
    seen = os.fstat(descriptor)
    if stat.S_ISDIR(seen.st_mode):
        raise KeyFileUnusable(f"{name} cannot be read: Is a directory")
    if not stat.S_ISREG(seen.st_mode):
        raise KeyFileUnusable(f"{name} cannot be read: it is {_kind(seen.st_mode)}, not a file")
    if seen.st_size > LARGEST:
        raise KeyFileUnusable(f"{name} is not a private key: it has more than {LARGEST} bytes")
    version = (seen.st_mtime_ns, seen.st_size, seen.st_ino)
    if known is not None and known[0] == version:
        return known
    with open(descriptor, "rb", closefd=False) as file:
        data = file.read(LARGEST + 1)  # it may have grown
    return version, parsed_key(data, name)


_KINDS: tuple[tuple[Callable[[int], bool], str], ...] = (
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)


def _kind(mode: int) -> str:
    return next((words for test, words in _KINDS if test(mode)), "something else")
