"""The first message of an SSH server, which names its algorithms, and so the kinds of its host keys."""

import asyncio
import socket
from dataclasses import dataclass

MOST_LINES = 64
"""Lines that a server may send before its version: RFC 4253, section 4.2, allows any number."""
LONGEST_LINE = 1024
LONGEST_PACKET = 35_000
"""RFC 4253, section 6.1."""
_KEXINIT = 20
_COOKIE = 16


class NoOffer(ValueError):
    """What answers does not speak SSH 2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """The names of algorithms that a server offers, in its own order."""

    key_exchange: tuple[str, ...]
    host_keys: tuple[str, ...]
    encryption: tuple[str, ...]
    """Towards the server. sshd has the same in both directions."""


async def offer_of(connection: socket.socket) -> Offer:
    """What the server at the other end of a new connection offers. Raises NoOffer, OSError.

    A server sends the message (RFC 4253, section 7.1) without waiting for the client's.
    """
    reader = _OfferReader(connection)
    await asyncio.get_running_loop().sock_sendall(connection, b"SSH-2.0-tendhost\r\n")
    for _ in range(MOST_LINES):
        if (await reader.line()).startswith(b"SSH-"):
            break
    else:
        raise NoOffer("it does not speak SSH")
    length = int.from_bytes(await reader.take(4), "big")
    if not 2 + _COOKIE <= length <= LONGEST_PACKET:
        raise NoOffer("its first message has no sound length")
    packet = await reader.take(length)
    if packet[1] != _KEXINIT:
        raise NoOffer("its first message is not the one of SSH 2")
    rest, lists = packet[2 + _COOKIE :], []
    for _ in range(3):
        names, rest = _string(rest)
        lists.append(tuple(names.decode("ascii", "replace").split(",")))
    return Offer(key_exchange=lists[0], host_keys=lists[1], encryption=lists[2])


def _string(data: bytes) -> tuple[bytes, bytes]:
    """A string with its length before it (RFC 4251, section 5), and what follows."""
    end = 4 + int.from_bytes(data[:4], "big")
    if len(data) < end:
        raise NoOffer("its first message is cut off")
    return data[4:end], data[end:]


class _OfferReader:
    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._data = bytearray()

    async def line(self) -> bytes:
        while b"\n" not in self._data[:LONGEST_LINE]:
            if len(self._data) >= LONGEST_LINE:
                raise NoOffer("it does not speak SSH")
            await self._more()
        return await self.take(self._data.index(b"\n") + 1)

    async def take(self, count: int) -> bytes:
        while len(self._data) < count:
            await self._more()
        taken = bytes(self._data[:count])
        del self._data[:count]
        return taken

    async def _more(self) -> None:
        data = await asyncio.get_running_loop().sock_recv(self._connection, 4096)
        if not data:
            raise ConnectionResetError("connection closed")
        self._data += data
