"""A TCP relay between a store and its database, which loses the message, or the answer, that a test chooses."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import Enum
from urllib.parse import urlsplit


class Loss(Enum):
    """What becomes of the connection at the chosen message."""

    MESSAGE = "the message never arrives"
    ANSWER = "the message arrives, and its answer does not"
    TIME = "the client is cut off at once, and the message arrives when the test says so"


class Relay:
    """Forwards connections to a database. `lose` arms it for one message that holds `text`."""

    def __init__(self, to: str) -> None:
        parts = urlsplit(to)
        assert parts.hostname is not None
        assert parts.port is not None
        self._to = parts.hostname, parts.port
        self._address = to
        self._text = b""
        self._loss = Loss.MESSAGE
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._open: set[asyncio.StreamWriter] = set()
        self.arrive = asyncio.Event()
        """Set by a test: the message that Loss.TIME held back arrives."""
        self.late = asyncio.Event()
        """Set once the server has answered the message that arrived late, or has closed the connection."""
        self.lost = 0

    def lose(self, text: bytes, loss: Loss) -> None:
        self._text, self._loss = text, loss

    @property
    def address(self) -> str:
        assert self._server is not None
        port = self._server.sockets[0].getsockname()[1]
        return self._address.replace(f":{self._to[1]}/", f":{port}/")

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Relay"]:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        try:
            yield self
        finally:
            self._server.close()
            self.arrive.set()
            for writer in self._open:
                writer.transport.abort()
            await asyncio.gather(*self._tasks)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        far_reader, far_writer = await asyncio.open_connection(*self._to)
        self._open.update((writer, far_writer))
        back = asyncio.ensure_future(_forward(far_reader, writer))
        try:
            while chunk := await reader.read(1 << 16):
                if self._text and self._text in chunk:
                    self._text = b""
                    self.lost += 1
                    back.cancel()
                    await asyncio.wait({back})
                    await self._lose(chunk, writer, far_reader, far_writer)
                    return
                far_writer.write(chunk)
                await far_writer.drain()
        except OSError:
            pass
        finally:
            back.cancel()
            for each in (writer, far_writer):
                each.transport.abort()

    async def _lose(
        self,
        chunk: bytes,
        writer: asyncio.StreamWriter,
        far_reader: asyncio.StreamReader,
        far_writer: asyncio.StreamWriter,
    ) -> None:
        if self._loss is Loss.TIME:
            writer.transport.abort()
            await self.arrive.wait()
        if self._loss is not Loss.MESSAGE:
            far_writer.write(chunk)
            await far_reader.read(1 << 16)
            self.late.set()


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while chunk := await reader.read(1 << 16):
            writer.write(chunk)
            await writer.drain()
    except OSError:
        pass
    writer.transport.abort()
