"""The links of the cluster: what each mode does to connections."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from tests.cluster.links import Link

HOST = "127.0.0.1"


async def ended(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


@asynccontextmanager
async def echo() -> AsyncIterator[int]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while line := await reader.readline():
                writer.write(line)
        await ended(writer)

    async with await asyncio.start_server(answer, HOST, 0) as server:
        yield server.sockets[0].getsockname()[1]


@asynccontextmanager
async def linked() -> AsyncIterator[tuple[Link, int]]:
    async with echo() as to, await asyncio.start_server(lambda *_: None, HOST, 0) as free:
        port: int = free.sockets[0].getsockname()[1]
        free.close()
        await free.wait_closed()
        link = Link((HOST, port), (HOST, to))
        await link.set("open")
        try:
            yield link, port
        finally:
            await link.set("refused")


async def test_link__hands_on_what_is_said_and_that_it_ends() -> None:
    async with linked() as (_, port):
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(b"one\n")
        assert await reader.readline() == b"one\n"
        writer.write_eof()
        assert await reader.read() == b""
        await ended(writer)


async def test_silent_link__hands_on_nothing_until_it_is_open_again() -> None:
    async with linked() as (link, port):
        reader, writer = await asyncio.open_connection(HOST, port)
        await link.set("silent")
        writer.write(b"one\n")
        answer = asyncio.ensure_future(reader.readline())
        new_reader, new_writer = await asyncio.open_connection(HOST, port)
        new_writer.write(b"two\n")
        done, _ = await asyncio.wait({answer}, timeout=0.1)
        assert not done
        await link.set("open")
        assert await answer == b"one\n"
        assert await new_reader.readline() == b"two\n"
        await ended(writer)
        await ended(new_writer)


async def test_refusing_link__resets_what_is_open_and_takes_no_more() -> None:
    async with linked() as (link, port):
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(b"one\n")
        await reader.readline()
        await link.set("refused")
        with pytest.raises(ConnectionResetError):
            await reader.readline()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(HOST, port)
        await ended(writer)
        await link.set("open")
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(b"two\n")
        assert await reader.readline() == b"two\n"
        await ended(writer)


async def test_link_to_nobody__resets_the_connection() -> None:
    async with linked() as (_, port):
        link = Link((HOST, port + 1), (HOST, 1))
        await link.set("open")
        reader, writer = await asyncio.open_connection(HOST, port + 1)
        with pytest.raises(ConnectionResetError):
            await reader.read()
        await ended(writer)
        await link.set("refused")
