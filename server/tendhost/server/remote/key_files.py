"""Reads private keys from files: in threads of their own, within a time limit, only from regular files.

The path is whatever somebody wrote into a host's configuration. Opening a file on a mount whose server is gone never
returns, and on the event loop it would stop everything.
"""

import asyncio
import os
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path

import asyncssh

from tendhost.server.given_files import FileMissing, FileUnusable, FileVersion, read_given
from tendhost.server.remote.key_formats import KeyFileUnusable, parsed_certificate, parsed_key
from tendhost.server.threads import DaemonThreads

LARGEST = 64 * 1024
"""Bytes of a key file; an RSA key of 16,384 bits has 13 KiB."""
THREADS = 16
"""So many files are read at once. Each path has at most one, so a dead mount takes one for each key on it."""

_NO_FILE: FileVersion = (0, 0, 0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginKey:
    """A private key, and what belongs to it."""

    key: asyncssh.SSHKey
    certificate: asyncssh.SSHCertificate | None = None
    """From the file beside the key that ssh(1) reads, too: the key's path and "-cert.pub"."""
    certificate_path: str = ""
    certificate_problem: str = ""
    """Why there is a file for the certificate, and no certificate to log in with; empty: nothing is wrong."""


_Known = tuple[tuple[FileVersion, FileVersion], LoginKey]


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


def _contents(path: str, name: str, *, secret: bool) -> tuple[FileVersion, bytes]:
    """The bytes of a file and its version. Raises KeyFileUnusable, also for a secret that others can read."""
    try:
        found = read_given(path, most=LARGEST)
    except FileUnusable as error:
        where = "; expected a file on the server" if isinstance(error, FileMissing) else ""
        raise KeyFileUnusable(f"{name} {error}{where}") from error
    if secret and found.exposure:
        raise KeyFileUnusable(f"{name} is not secret: {found.exposure}")
    return found.version, found.data
