"""Reads private keys from files: in threads of their own, within a time limit, only from regular files.

The path is whatever somebody wrote into a host's configuration. Opening a FIFO, or a file on a mount whose
server is gone, never returns, and on the event loop it would stop everything.
"""

import asyncio
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path

import asyncssh

from tendhost.server.remote.key_formats import KeyFileUnusable, parsed_certificate, parsed_key
from tendhost.server.threads import DaemonThreads

LARGEST = 64 * 1024
"""Bytes of a key file; an RSA key of 16,384 bits has 13 KiB."""
THREADS = 16
"""So many files are read at once. Each path has at most one, so a dead mount takes one for each key on it."""

Version = tuple[int, int, int, int]
"""Of a file: when it was changed, its size, which one it is, and its mode and owner."""
_NO_FILE: Version = (0, 0, 0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginKey:
    """A private key, and what belongs to it."""

    key: asyncssh.SSHKey
    certificate: asyncssh.SSHCertificate | None = None
    """From the file beside the key that ssh(1) reads, too: the key's path and "-cert.pub"."""
    certificate_path: str = ""
    certificate_problem: str = ""
    """Why there is a file for the certificate, and no certificate to log in with; empty: nothing is wrong."""


_Known = tuple[tuple[Version, Version], LoginKey]


class KeyFiles:
    """The keys in files, each parsed once. A file is read again when it has changed."""

    def __init__(self, *, timeout: timedelta, credentials: Path | None = None) -> None:
        """`timeout`: for one read of a file. `credentials`: the folder of the passphrases."""
        self._timeout = timeout
        self._credentials = credentials
        self._threads = DaemonThreads(THREADS, name="key-file")
        self._known: dict[str, _Known] = {}
        self._reading: dict[str, asyncio.Task[LoginKey]] = {}

    async def key(self, path: str) -> LoginKey:
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

    async def parsed(self, data: bytes, name: str, credential: str) -> asyncssh.SSHKey:
        """The key in `data`, whose passphrase is the credential `credential`.passphrase. Raises KeyFileUnusable.

        In a thread: what makes a passphrase hard to guess takes half a second.
        """

        def work() -> asyncssh.SSHKey:
            own = f"{credential}.passphrase"
            return parsed_key(data, name, own, lambda: passphrase_of(credential, self._credentials))

        try:
            async with asyncio.timeout(self._timeout.total_seconds()):
                return await self._threads.run(work)
        except TimeoutError:
            seconds = self._timeout.total_seconds()
            raise KeyFileUnusable(f"{name} could not be read within {seconds:g} s") from None

    async def _read(self, path: str) -> LoginKey:
        known = self._known.get(path)
        found = await self._threads.run(partial(_read_key, path, known, self._credentials))
        self._known[path] = found
        return found[1]

    def _read_ended(self, path: str, reading: asyncio.Task[LoginKey]) -> None:
        del self._reading[path]
        if not reading.cancelled():
            reading.exception()  # whoever waited may have given up: it is not left unseen


def passphrase_of(name: str, credentials: Path | None) -> bytes | None:
    """The passphrase of the key called `name`; None: there is none. Raises KeyFileUnusable.

    It is the credential `name`.passphrase: a file in `credentials`, which systemd fills ("Credentials" in
    systemd.exec(5)). A line feed at its end is none of it.
    """
    if credentials is None:
        return None
    path = f"{credentials}/{name}.passphrase"
    if not os.path.lexists(path):
        return None
    data = _contents(path, f"the passphrase {path}", secret=True)[1]
    return data.removesuffix(b"\n").removesuffix(b"\r")


def _read_key(path: str, known: _Known | None, credentials: Path | None) -> _Known:
    """In a thread: the key in a file, and the versions of its files; `known` where those are the same."""
    name = f"the key {path}"
    beside = f"{path}-cert.pub"
    version, data = _contents(path, name, secret=True)
    try:
        cert_version, cert_data = _contents(beside, f"the certificate {beside}", secret=False)
        problem = ""
    except KeyFileUnusable as error:
        # As for ssh(1), a certificate is an offer more: without one, the key may be known to the host.
        cert_version, cert_data = _NO_FILE, b""
        problem = str(error) if _is_there(beside) else ""
    if known is not None and known[0] == (version, cert_version) and not problem:
        return known
    own = Path(path).name
    key = parsed_key(data, name, f"{own}.passphrase", lambda: passphrase_of(own, credentials))
    certificate = None
    if cert_data:
        try:
            certificate = parsed_certificate(cert_data, f"the certificate {beside}", key)
        except KeyFileUnusable as error:
            problem = str(error)
    found = LoginKey(
        key=key,
        certificate=certificate,
        certificate_path=beside,
        certificate_problem=problem,
    )
    return (version, cert_version), found


def _is_there(path: str) -> bool:
    try:
        return os.path.lexists(path)
    except ValueError:  # a NUL in the path
        return False


def _contents(path: str, name: str, *, secret: bool) -> tuple[Version, bytes]:
    """The bytes of a file and its version. Raises KeyFileUnusable, also for a secret that others can read."""
    try:
        # Without O_NONBLOCK the open of a FIFO waits for somebody who writes to it.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        try:
            return _from(descriptor, path, name, secret=secret)
        finally:
            os.close(descriptor)
    except OSError as error:
        problem = f"{name} cannot be read: {error.strerror or error}; expected a file on the server"
        raise KeyFileUnusable(problem) from error
    except ValueError as error:  # a NUL in the path
        raise KeyFileUnusable(f"{name} cannot be read: {error}") from error


def _from(descriptor: int, path: str, name: str, *, secret: bool) -> tuple[Version, bytes]:
    seen = os.fstat(descriptor)
    if stat.S_ISDIR(seen.st_mode):
        raise KeyFileUnusable(f"{name} cannot be read: Is a directory; expected a file")
    if not stat.S_ISREG(seen.st_mode):
        raise KeyFileUnusable(f"{name} cannot be read: it is {_kind(seen.st_mode)}, not a file")
    if seen.st_size > LARGEST:
        raise KeyFileUnusable(f"{name} is not a private key: it has more than {LARGEST} bytes")
    if secret and _is_exposed(seen):
        mode = stat.S_IMODE(seen.st_mode)
        raise KeyFileUnusable(
            f"{name} can be read by others (mode {mode:04o}); expected a file that only its owner can read:"
            f" chmod 600 {path}"
        )
    version = (seen.st_mtime_ns, seen.st_size, seen.st_ino, seen.st_ctime_ns)
    with open(descriptor, "rb", closefd=False) as file:
        return version, file.read(LARGEST + 1)  # it may have grown


def _is_exposed(seen: os.stat_result) -> bool:
    """Whether others can read a file, or write to it.

    ssh(1) allows nobody but the owner if that is the user who runs it, and does not ask otherwise. A group that gives
    the server access to somebody else's file is allowed here, too (credentials of systemd look like that, for the mask
    of their access control list stands in the place of the group); the rest of the world never is.
    """
    others = 0o077 if seen.st_uid == os.geteuid() else 0o007
    return bool(seen.st_mode & others)


_KINDS: tuple[tuple[Callable[[int], bool], str], ...] = (
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)


def _kind(mode: int) -> str:
    return next((words for test, words in _KINDS if test(mode)), "something else")
