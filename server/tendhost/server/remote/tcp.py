"""From an address to a connected socket: names resolved apart, connections bounded per address."""

import asyncio
import ipaddress
import socket
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import timedelta

from tendhost.server.domain.host_errors import HostUnreachable

RESOLVER_THREADS = 64
"""Of their own: the loop's default executor has a handful, and names that do not resolve fill it."""


class TcpConnector:
    """Opens TCP connections."""

    def __init__(self, *, resolve_timeout: timedelta, connect_timeout: timedelta) -> None:
        self._resolve_timeout = resolve_timeout
        self._connect_timeout = connect_timeout
        self._resolvers = ThreadPoolExecutor(RESOLVER_THREADS, thread_name_prefix="resolve")

    async def connect(self, *, host: str, address: str, port: int) -> socket.socket:
        """A connected socket. Raises HostUnreachable with the reason in plain words."""
        candidates = await self._resolved(host, address, port)
        problem = "no address"
        seconds = self._connect_timeout.total_seconds()
        for family, sockaddr in candidates:
            try:
                # A share for each: a silent address must not use up the time of the next one.
                async with asyncio.timeout(seconds / len(candidates)):
                    return await self._connected(family, sockaddr)
            except TimeoutError:
                problem = f"no answer at port {port} within {seconds:g} s"
            except ConnectionRefusedError:
                problem = f"port {port} refuses connections"
            except OSError as error:
                problem = (error.strerror or str(error)).lower()
        raise HostUnreachable(host=host, address=address, problem=problem)

    def close(self) -> None:
        """Let go of the resolver's threads."""
        self._resolvers.shutdown(wait=False, cancel_futures=True)

    async def _resolved(
        self, host: str, address: str, port: int
    ) -> list[tuple[socket.AddressFamily, tuple[str | int | bytes, ...]]]:
        try:
            version = ipaddress.ip_address(address).version
        except ValueError:
            return await self._looked_up(host, address, port)
        family = socket.AF_INET if version == 4 else socket.AF_INET6
        return [(family, (address, port))]

    async def _looked_up(
        self, host: str, address: str, port: int
    ) -> list[tuple[socket.AddressFamily, tuple[str | int | bytes, ...]]]:
        loop = asyncio.get_running_loop()
        seconds = self._resolve_timeout.total_seconds()
        try:
            async with asyncio.timeout(seconds):
                found = await loop.run_in_executor(
                    self._resolvers,
                    lambda: socket.getaddrinfo(address, port, type=socket.SOCK_STREAM),
                )
        except TimeoutError as error:
            problem = f"the name was not resolved within {seconds:g} s"
            raise HostUnreachable(host=host, address=address, problem=problem) from error
        except OSError as error:
            problem = f"the name does not resolve: {error.strerror or error}"
            raise HostUnreachable(host=host, address=address, problem=problem) from error
        except ValueError as error:
            # An empty or overlong label, or a character that no name has.
            problem = f"the name is invalid: {error}"
            raise HostUnreachable(host=host, address=address, problem=problem) from error
        return [(family, tuple(sockaddr)) for family, _, _, _, sockaddr in found]

    async def _connected(
        self, family: socket.AddressFamily, sockaddr: tuple[str | int | bytes, ...]
    ) -> socket.socket:
        connection = socket.socket(family, socket.SOCK_STREAM)
        try:
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncio.get_running_loop().sock_connect(connection, sockaddr)
        except BaseException:
            connection.close()
            raise
        return connection


class ConnectionLimiter:
    """Lets so many in at once, over all and per address: sshd's MaxStartups drops bursts."""

    def __init__(self, *, over_all: int, per_address: int) -> None:
        self._over_all = asyncio.Semaphore(over_all)
        self._per_address = per_address
        self._addresses: dict[tuple[str, int], tuple[asyncio.Semaphore, int]] = {}

    @asynccontextmanager
    async def slot(self, address: str, port: int) -> AsyncIterator[None]:
        """Wait for a place and keep it while the context lasts."""
        place = (address, port)
        gate, users = self._addresses.get(place, (asyncio.Semaphore(self._per_address), 0))
        self._addresses[place] = (gate, users + 1)
        try:
            async with gate, self._over_all:
                yield
        finally:
            gate, users = self._addresses[place]
            if users == 1:
                del self._addresses[place]
            else:
                self._addresses[place] = (gate, users - 1)
