"""TCP connections: name resolution in threads of its own, and a limit on connections per address."""

import asyncio
import ipaddress
import os
import socket
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import timedelta

from tendhost.server.domain.host_errors import HostUnreachable

RESOLVER_THREADS = 64
"""Threads for name resolution: names that do not resolve would fill the few of the loop's executor."""


class TcpConnector:
    """Opens TCP connections."""

    def __init__(self, *, resolve_timeout: timedelta, connect_timeout: timedelta) -> None:
        self._resolve_timeout = resolve_timeout
        self._connect_timeout = connect_timeout
        self._resolvers = ThreadPoolExecutor(RESOLVER_THREADS, thread_name_prefix="resolve")

    async def connect(self, *, host: str, address: str, port: int) -> socket.socket:
        """A connected socket. Raises HostUnreachable with the reason in plain words."""
        candidates = await self._resolve(host, address, port)
        problem = "no address"
        seconds = self._connect_timeout.total_seconds()
        for family, sockaddr in candidates:
            try:
                # A share for each: a silent address must not use up the time of the next one.
                async with asyncio.timeout(seconds / len(candidates)):
                    return await self._open(family, sockaddr)
            except TimeoutError:
                problem = f"no answer at port {port} within {seconds:g} s"
            except ConnectionRefusedError:
                problem = f"port {port} refuses connections"
            except OSError as error:
                # Of asyncio the text would be "Connect call failed", with the address once more.
                reason = os.strerror(error.errno) if error.errno else str(error)
                problem = f"port {port} cannot be reached: {reason.lower()}"
        raise HostUnreachable(host=host, address=address, problem=problem)

    def close(self) -> None:
        """Release the threads of the resolver."""
        self._resolvers.shutdown(wait=False, cancel_futures=True)

    async def _resolve(
        self, host: str, address: str, port: int
    ) -> list[tuple[socket.AddressFamily, tuple[str | int | bytes, ...]]]:
        try:
            version = ipaddress.ip_address(address).version
        except ValueError:
            return await self._look_up(host, address, port)
        family = socket.AF_INET if version == 4 else socket.AF_INET6
        return [(family, (address, port))]

    async def _look_up(
        self, host: str, address: str, port: int
    ) -> list[tuple[socket.AddressFamily, tuple[str | int | bytes, ...]]]:
        if "\0" in address:
            # The resolver would read the name up to here, which is another name.
            problem = "the name is invalid: it contains a null character"
            raise HostUnreachable(host=host, address=address, problem=problem)
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
            # What works with ssh(1) may be an alias that only its configuration knows.
            problem = (
                f"the name does not resolve: {error.strerror or error}; ssh_config(5) is not read, neither the server"
                " user's nor /etc/ssh: give the host's own name or IP address, port, user and key"
            )
            raise HostUnreachable(host=host, address=address, problem=problem) from error
        except ValueError as error:
            # An empty or overlong label, or a character that no name has.
            problem = f"the name is invalid: {error}"
            raise HostUnreachable(host=host, address=address, problem=problem) from error
        return [(family, tuple(sockaddr)) for family, _, _, _, sockaddr in found]

    async def _open(
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


Endpoint = tuple[str, int, str]
"""Address and port of an SSH server, and the name of the jump behind which it has them."""


class ConnectionLimiter:
    """Limits connections that are opened at the same time, as sshd's MaxStartups drops bursts."""

    def __init__(self, *, total: int, per_address: int) -> None:
        self._total = asyncio.Semaphore(total)
        self._per_address = per_address
        self._addresses: dict[Endpoint, tuple[asyncio.Semaphore, int]] = {}

    @asynccontextmanager
    async def slot(self, key: Endpoint) -> AsyncIterator[None]:
        """Wait for a free slot and keep it while the context lasts."""
        slots, users = self._addresses.get(key, (asyncio.Semaphore(self._per_address), 0))
        self._addresses[key] = (slots, users + 1)
        try:
            async with slots, self._total:
                yield
        finally:
            slots, users = self._addresses[key]
            if users == 1:
                del self._addresses[key]
            else:
                self._addresses[key] = (slots, users - 1)
