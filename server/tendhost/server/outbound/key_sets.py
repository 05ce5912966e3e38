"""Where the public keys of issuers are read from: a file, or a web server. Neither may hold up anything else."""

from asyncio import timeout as deadline
from datetime import timedelta
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from tendhost.server.given_files import FileUnusable, read_given
from tendhost.server.outbound.http_exchange import HttpExchange, HttpFailed
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
            return read_given(self._path, most=LARGEST).data
        except FileUnusable as error:
            raise KeySetUnread(f"it {error}") from error


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
        exchange = HttpExchange(urlsplit(self._url), seconds=self._patience.total_seconds())
        headers = {"Accept": "application/jwk-set+json, application/json"}
        try:
            status, raw = await exchange.run(
                self._threads,
                "GET",
                headers,
                most=lambda status: LARGEST + 1 if status == 200 else 0,
            )
        except HttpFailed as error:
            raise KeySetUnread(str(error)) from error
        if status != 200:
            raise KeySetUnread(f"status {status}")
        return _bounded(raw)


def _bounded(raw: bytes) -> bytes:
    if len(raw) > LARGEST:
        raise KeySetUnread(f"it has more than {LARGEST} bytes")
    return raw
