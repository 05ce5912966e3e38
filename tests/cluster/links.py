"""A TCP connection's way through the keeper's process: it can be cut, silenced and slowed down."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from typing import Literal

Mode = Literal["open", "silent", "slow", "refused"]
"""`silent`: nothing arrives, in either direction, and nobody is told; `refused`: what is open is reset, and new
connections are refused; `slow`: each piece is delayed."""
CHUNK = 65536
Address = tuple[str, int]


class Link:
    """Listens at an address and hands on to another; what was on its way while it was silent arrives afterwards."""

    def __init__(self, listen: Address, to: Address) -> None:
        self._listen = listen
        self._to = to
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._delay = 0.0

    async def set(self, mode: Mode, delay: float = 0.0) -> None:
        """Change what it does, to the connections that are open as well. Raises OSError: the address is taken."""
        self._delay = delay if mode == "slow" else 0.0
        if mode == "silent":
            self._flowing.clear()
        else:
            self._flowing.set()
        if mode == "refused":
            await self._refuse()
        elif self._server is None:
            host, port = self._listen
            self._server = await asyncio.start_server(self._serve, host, port, backlog=512)

    async def _refuse(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in tuple(self._open):
            _reset(writer)
        if self._serving:
            await asyncio.wait(self._serving)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        async with self._kept(writer):
            await self._flowing.wait()
            try:
                far_reader, far_writer = await asyncio.open_connection(*self._to)
            except OSError:
                _reset(writer)
                return
            async with self._kept(far_writer):
                await asyncio.gather(
                    self._hand_on(reader, far_writer), self._hand_on(far_reader, writer)
                )

    @contextlib.asynccontextmanager
    async def _kept(self, writer: asyncio.StreamWriter) -> AsyncIterator[None]:
        self._open.add(writer)
        try:
            yield
        except OSError:
            _reset(writer)
        finally:
            self._open.discard(writer)
            writer.close()

    async def _hand_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while chunk := await reader.read(CHUNK):
                await self._let_through()
                writer.write(chunk)
                await writer.drain()
            await self._let_through()
            if not writer.is_closing():
                writer.write_eof()
        except OSError:
            _reset(writer)  # one side was reset: so is the other

    async def _let_through(self) -> None:
        if self._delay:
            await asyncio.sleep(self._delay)
        await self._flowing.wait()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close at once, and tell the other side that it is no orderly end."""
    if not writer.is_closing():
        no_time = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_time)
    writer.transport.abort()
