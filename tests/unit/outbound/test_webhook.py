"""Webhooks: what of a refusal is told."""

import asyncio
from datetime import timedelta

import pytest

from tendhost.server.outbound.webhook import WebhookFailed, Webhooks

SECRETS = ("t0psecret", "pass/word", "pass%2Fword", "me-myself", "path-s3cret", "query+s3cret")


async def refused(url: str, answer: str) -> str:
    """What is told of a receiver that refuses, with this answer."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        await reader.readexactly(len(b"{}"))  # what closes with a part unread resets the connection
        body = answer.replace("HEAD", head).encode()
        writer.write(b"HTTP/1.1 404 Word\r\nConnection: close\r\n\r\n" + body)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        at = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        where = url.replace("HOST", at)
        with pytest.raises(WebhookFailed) as failed:
            await Webhooks().post(where, {}, key="k", timeout=timedelta(seconds=20))
    return str(failed.value)


@pytest.mark.parametrize(
    "answer",
    ["HEAD", "Cannot POST /hooks/path-s3cret", "PATH-S3CRET", "a" * 190 + "path-s3cret", *SECRETS],
)
async def test_refusal__that_repeats_the_url_is_told_without_it(answer: str):
    url = "http://me-myself:pass%2Fword@HOST/hooks/path-s3cret?t=query%2Bs3cret&x=t0psecret#f"
    told = await refused(url, answer)
    assert told.startswith("status 404")
    for secret in (*SECRETS, "bWUtbXlzZWxm", "query%2Bs3cret", "path"):
        assert secret not in told.lower()


async def test_refusal__is_told_in_its_own_words():
    assert await refused("http://HOST/gate", "frozen until Monday") == (
        "status 404: frozen until Monday"
    )


async def test_receiver__whose_answer_never_ends_keeps_no_thread():
    left = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(len(b"{}"))
        writer.write(b"HTTP/1.1 404 Word\r\nConnection: close\r\n\r\n")
        gone = asyncio.ensure_future(reader.read())
        while not gone.done():
            writer.write(b" and so on")
            await asyncio.wait([gone], timeout=0.05)
        left.set()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
        with pytest.raises(WebhookFailed, match=r"no answer within 0\.2 s"):
            await Webhooks().post(url, {}, key="k", timeout=timedelta(milliseconds=200))
        async with asyncio.timeout(10):
            await left.wait()
