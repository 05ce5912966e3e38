"""A web server on the loopback that takes what is posted to it, refuses it, or never answers."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Receiver:
    """What was posted, and what is answered: the statuses in turn, then the last of them for ever."""

    statuses: Sequence[int] = (200,)
    answers: bool = True
    port: int = 0
    heads: list[str] = field(default_factory=list)
    documents: list[dict[str, Any]] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def titles(self) -> list[str]:
        """The titles of the messages that Apprise's json:// posted."""
        return [document["title"] for document in self.documents if "title" in document]

    async def received(self, count: int) -> None:
        """Return once so many documents were posted."""
        async with asyncio.timeout(20):
            while len(self.documents) < count:
                self.news.clear()
                await self.news.wait()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request and its answer."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next(
            int(line.partition(":")[2])
            for line in head.splitlines()
            if line.lower().startswith("content-length:")
        )
        document = json.loads(await reader.readexactly(length))
        status = self.statuses[min(len(self.documents), len(self.statuses) - 1)]
        self.heads.append(head)
        self.documents.append(document)
        self.news.set()
        if not self.answers:
            await reader.read()  # until the other side gives up
            return
        body = b"so it is" if status != 302 else b""
        where = f"Location: http://127.0.0.1:{self.port}/elsewhere\r\n" if status == 302 else ""
        writer.write(
            f"HTTP/1.1 {status} Word\r\n{where}Content-Length: {len(body)}\r\n"
            f"Connection: close\r\n\r\n".encode()
            + body
        )
        await writer.drain()


@asynccontextmanager
async def receiving(*statuses: int, answers: bool = True, port: int = 0) -> AsyncIterator[Receiver]:
    """A receiver while the context lasts; what is under way at its end is broken off."""
    receiver = Receiver(statuses=statuses or (200,), answers=answers)
    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await receiver.serve(reader, writer)
        finally:
            serving.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    listening = await asyncio.start_server(serve, "127.0.0.1", port)
    receiver.port = listening.sockets[0].getsockname()[1]
    async with listening:
        yield receiver
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)


def free_port() -> int:
    """A port of the loopback on which nothing listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port
