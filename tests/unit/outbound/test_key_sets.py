"""Reading of key sets: from a web server on loopback, and from files."""

import asyncio
import socket
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from tendhost.server.outbound.key_sets import LARGEST, KeySetFile, KeySetUnread, KeySetUrl
from tests.unit.jwt_issuer import Publisher, published, publishing


@pytest.fixture
def publisher():
    with publishing() as publisher:
        yield publisher


async def test_url__gives_the_key_set(publisher: Publisher):
    assert await KeySetUrl(publisher.url).read() == published()


@pytest.mark.parametrize("status", [204, 301, 302, 401, 500])
async def test_url__that_answers_with_another_status_is_not_read(publisher: Publisher, status: int):
    publisher.status, publisher.headers = status, {"Location": publisher.url}
    with pytest.raises(KeySetUnread, match=f"status {status}"):
        await KeySetUrl(publisher.url).read()
    assert publisher.asked == 1


async def test_answer__is_bounded(publisher: Publisher):
    publisher.body = b" " * (LARGEST + 1)
    with pytest.raises(KeySetUnread, match="more than 262144 bytes"):
        await KeySetUrl(publisher.url).read()


async def test_url__that_does_not_answer_is_given_up_and_read_again(publisher: Publisher):
    publisher.hold.clear()
    source = KeySetUrl(publisher.url, patience=timedelta(milliseconds=50))
    with pytest.raises(KeySetUnread, match="no answer"):
        await source.read()
    publisher.hold.set()
    assert await KeySetUrl(publisher.url).read() == published()


async def test_answer__that_never_ends_is_given_up():
    """Each byte comes in time, and the whole never does."""

    async def dribble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            while not writer.is_closing():
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.005)
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(dribble, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        source = KeySetUrl(f"http://127.0.0.1:{port}/", patience=timedelta(milliseconds=100))
        for _ in range(2):  # the thread of the first reading has ended, for there is but one
            with pytest.raises(KeySetUnread, match="no answer"):
                await source.read()
        async with asyncio.timeout(30):
            for thread in threading.enumerate():
                if thread.name == "key-set":
                    await asyncio.to_thread(thread.join)


async def test_url__that_nobody_serves_is_told_without_its_address():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(KeySetUnread, match=r"^Connection refused$"):
        await KeySetUrl(f"http://127.0.0.1:{port}/s3cret").read()


async def test_url__of_https_wants_a_certificate_of_a_known_ca(publisher: Publisher):
    with pytest.raises(KeySetUnread, match="no TLS"):
        await KeySetUrl(publisher.url.replace("http:", "https:")).read()


async def test_file__is_read_and_bounded(tmp_path: Path):
    file = tmp_path / "jwks.json"
    source = KeySetFile(file)
    with pytest.raises(KeySetUnread, match="No such file"):
        await source.read()
    file.write_bytes(published())
    assert await source.read() == published()
    file.write_bytes(b" " * (LARGEST + 1))
    with pytest.raises(KeySetUnread, match="more than"):
        await source.read()
