"""Connections to PostgreSQL: made to the first server that will do, kept while they work, bounded in number."""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias, TypeVar

import asyncpg

from tendhost.server.domain.request_errors import ConfigurationError, StoreUnavailable
from tendhost.server.store.postgres.address import DatabaseAddress
from tendhost.server.store.postgres.session import COMMAND_TIMEOUT, Statements
from tendhost.server.store.postgres.trouble import in_words, is_lost

logger = logging.getLogger(__name__)

T = TypeVar("T")
Connection: TypeAlias = Any
"""asyncpg.Connection, which has no types."""

READING = 6
"""Connections for reading, at most; with the writer's, ten servers need 70 of the 100 that PostgreSQL allows."""
CONNECT_TIMEOUT = 5.0
"""Seconds for the connection to one of the servers, with its login."""
SLOT_TIMEOUT = 2 * COMMAND_TIMEOUT
"""Seconds that a read waits for others to finish."""
_KEEPALIVE = (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3))
"""A server that has vanished is noticed after 25 s on a connection without work."""
SERVER_PID = "SELECT pg_backend_pid()"


class Link:
    """One connection with its prepared statements."""

    def __init__(self, connection: Connection, *, pooled: bool) -> None:
        self.connection = connection
        self.statements = Statements(connection, prepared=not pooled)

    @property
    def in_transaction(self) -> bool:
        return bool(self.connection.is_in_transaction())

    def drop(self) -> None:
        """Close the connection without a word to the server, which may not answer."""
        self.connection.terminate()

    async def close(self) -> None:
        """Close the connection in order, as long as the server answers."""
        try:
            await self.connection.close(timeout=CONNECT_TIMEOUT)
        except Exception:
            self.drop()


class Connections:
    """Connects to one database."""

    def __init__(self, address: DatabaseAddress) -> None:
        self.address = address
        self._good = 0
        """The server that was connected to last."""
        self._idle: list[Link] = []
        self._slots = asyncio.Semaphore(READING)
        self._closed = False

    async def connect(self) -> Link:
        """A new connection. Raises StoreUnavailable, and ConfigurationError where the password cannot be read."""
        hosts = self.address.hosts
        problems: list[str] = []
        for number in range(len(hosts)):
            position = (self._good + number) % len(hosts)
            host, port = hosts[position]
            try:
                link = await self._connect(host, port)
            except (asyncpg.PostgresError, asyncpg.InternalClientError, OSError) as error:
                problems.append(f"{host}:{port}: {self._problem(error)}")
            except (asyncpg.InterfaceError, ValueError) as error:
                # What asyncpg says of an option may repeat its value.
                problems.append(f"{host}:{port}: an option cannot be used ({type(error).__name__})")
            else:
                self._good = position
                return link
        raise StoreUnavailable(cause=f"{self.address.shown}: {'; '.join(problems)}")

    async def reconnect(self) -> Link:
        """As connect, for a server that runs: a password that cannot be read now is the database's trouble."""
        try:
            return await self.connect()
        except ConfigurationError as error:
            raise StoreUnavailable(cause=f"{self.address.shown}: {error}") from error

    async def _connect(self, host: str, port: int) -> Link:
        options: dict[str, Any] = {}
        if self.address.password_file is not None:
            options["password"] = self.address.password()
        connection: Connection = await asyncpg.connect(
            self.address.dsn,
            host=host,
            port=port,
            timeout=CONNECT_TIMEOUT,
            statement_cache_size=0,
            target_session_attrs=self.address.session,
            server_settings={"application_name": "tendhostd"},
            **options,
        )
        try:
            _keep_alive(connection)
            pid = await connection.fetchval(SERVER_PID, timeout=CONNECT_TIMEOUT)
        except BaseException:
            connection.terminate()
            raise
        # A pooler makes up the number that it gives at the login.
        return Link(connection, pooled=pid != connection.get_server_pid())

    def _problem(self, error: Exception) -> str:
        if isinstance(error, asyncpg.TargetServerAttributeNotMatched):
            return f"the server is not {self.address.session}; it may be a standby"
        return in_words(error)

    async def use(self, work: Callable[[Link], Awaitable[T]]) -> T:
        """What `work` returns, which reads, with a connection that is kept for others.

        `work` is called again with a new one where the connection was lost. Raises StoreUnavailable, and what
        `work` raises of its own.
        """
        await self._take_slot()
        try:
            return await self._used(work)
        finally:
            self._slots.release()

    async def _take_slot(self) -> None:
        if not self._slots.locked():
            await self._slots.acquire()
            return
        try:
            async with asyncio.timeout(SLOT_TIMEOUT):
                await self._slots.acquire()
        except TimeoutError:
            cause = f"{self.address.shown}: too many reads wait for the database"
            raise StoreUnavailable(cause=cause) from None

    async def _used(self, work: Callable[[Link], Awaitable[T]]) -> T:
        while True:
            fresh = not self._idle
            link = await self.reconnect() if fresh else self._idle.pop()
            try:
                result = await work(link)
                if link.in_transaction:
                    await link.statements.command("ROLLBACK")
            except Exception as error:
                if is_lost(error, link.connection):
                    self._drop(link)
                    if fresh or isinstance(error, TimeoutError):
                        raise self._unavailable(error) from error
                    continue
                await self._give_back(link)
                if isinstance(error, asyncpg.PostgresError):
                    raise self._unavailable(error) from error
                raise
            except BaseException:
                # Whatever goes on in another thread ends with the connection.
                link.drop()
                raise
            self._keep(link)
            return result

    async def _give_back(self, link: Link) -> None:
        """Keep a connection on which something failed."""
        try:
            if link.in_transaction:
                await link.statements.command("ROLLBACK")
        except Exception:
            link.drop()
        else:
            self._keep(link)

    def _keep(self, link: Link) -> None:
        if self._closed:
            link.drop()
        else:
            self._idle.append(link)

    def _drop(self, link: Link) -> None:
        """Drop a connection that was lost, and all others: they lead to the same server."""
        link.drop()
        while self._idle:
            self._idle.pop().drop()

    def _unavailable(self, error: Exception) -> StoreUnavailable:
        return StoreUnavailable(cause=f"{self.address.shown}: {in_words(error)}")

    async def aclose(self) -> None:
        """Close the connections; those in use when they are given back."""
        self._closed = True
        while self._idle:
            await self._idle.pop().close()


def _keep_alive(connection: Connection) -> None:
    transport = getattr(connection, "_transport", None)
    if transport is None:
        return
    connected = transport.get_extra_info("socket")
    if connected is None or connected.family not in (socket.AF_INET, socket.AF_INET6):
        return
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE:
        if hasattr(socket, name):
            connected.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
