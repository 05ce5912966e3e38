"""Where the public keys of issuers are read from: a file, or a web server. Neither may hold up anything else."""

import http.client
import socket
import ssl
from asyncio import timeout as deadline
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from tendhost.server.threads import DaemonThreads

LARGEST = 256 * 1024
"""Bytes of a key set: a hundred keys with their certificates."""
PATIENCE = timedelta(seconds=5)
"""For the whole answer. Calls whose key is not known yet wait for it."""


class KeySetUnread(Exception):
    """A key set could not be read: why, without its address."""


class KeySetSource(Protocol):
    """Where the keys of one issuer are."""

    @property
    def refreshed_every(self) -> timedelta:
        """After this time, keys that were removed there are no longer used."""
        ...

    async def read(self) -> bytes:
        """The key set as it is now. Raises KeySetUnread."""
        ...


class KeySetFile:
    """A file of this machine."""

    refreshed_every = timedelta(minutes=1)

    def __init__(self, path: Path) -> None:
        self._path = path
        self._threads = DaemonThreads(1, name="key-set")

    async def read(self) -> bytes:
        """See KeySetSource."""
        try:
            async with deadline(PATIENCE.total_seconds()):
                return await self._threads.run(self.read_now)
        except TimeoutError:
            raise KeySetUnread(f"not read within {PATIENCE.total_seconds():g} s") from None

    def read_now(self) -> bytes:
        """The same, for before anything is served."""
        try:
            with self._path.open("rb") as file:
                raw = file.read(LARGEST + 1)
        except OSError as error:
            raise KeySetUnread(error.strerror or type(error).__name__) from error
        return _bounded(raw)


class KeySetUrl:
    """An https address, or an http address of this machine. Redirections are not followed, and proxies not used."""

    refreshed_every = timedelta(hours=1)

    def __init__(self, url: str, *, patience: timedelta = PATIENCE) -> None:
        self._url = url
        self._patience = patience
        # One thread an issuer: one that does not answer holds up no other.
        self._threads = DaemonThreads(1, name="key-set")

    async def read(self) -> bytes:
        """See KeySetSource."""
        seconds = self._patience.total_seconds()
        request = _HttpGet(self._url, seconds)
        try:
            async with deadline(seconds):
                return await self._threads.run(request.run)
        except TimeoutError:
            raise KeySetUnread(f"no answer within {seconds:g} s") from None
        finally:
            request.close_connection()


class _HttpGet:
    """One request and its answer, in a thread that ends with its connection."""

    def __init__(self, url: str, seconds: float) -> None:
        parts = urlsplit(url)
        secure = parts.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        self._connection = kind(parts.hostname or "", parts.port, timeout=seconds)
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._socket: socket.socket | None = None
        self._given_up = False

    def run(self) -> bytes:
        headers = {"Accept": "application/jwk-set+json, application/json", "User-Agent": "tendhost"}
        try:
            self._connection.connect()
            # Of its own: the connection forgets its socket where the server closes it after the answer.
            self._socket = self._connection.sock
            if self._given_up:
                raise TimeoutError
            self._connection.request("GET", self._target, headers=headers)
            with self._connection.getresponse() as answer:
                status = answer.status
                raw = answer.read(LARGEST + 1) if status == 200 else b""
        except ssl.SSLError as error:
            raise KeySetUnread(f"no TLS: {error.reason}") from error
        except TimeoutError as error:
            raise KeySetUnread("no answer in time") from error
        except OSError as error:
            raise KeySetUnread(error.strerror or type(error).__name__) from error
        except UnicodeError as error:
            raise KeySetUnread("its address cannot be used") from error
        except http.client.HTTPException as error:
            raise KeySetUnread(f"no HTTP answer: {type(error).__name__}") from error
        finally:
            self._connection.close()
        if status != 200:
            raise KeySetUnread(f"status {status}")
        return _bounded(raw)

    def close_connection(self) -> None:
        """End the wait of the thread for bytes; to connect takes no longer than its time limit by itself."""
        self._given_up = True
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)


def _bounded(raw: bytes) -> bytes:
    if len(raw) > LARGEST:
        raise KeySetUnread(f"it has more than {LARGEST} bytes")
    return raw
