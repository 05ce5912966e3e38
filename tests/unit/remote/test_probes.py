"""Checks from the server against real sockets on this machine."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from tendhost.server.domain.host_errors import JumpFailed
from tendhost.server.domain.policy.health_checks import HttpProbe
from tendhost.server.domain.policy.health_evaluation import CheckFinding
from tendhost.server.remote.probes import LONGEST_BODY, NetworkProber

FAR = "192.0.2.1"
"""Nobody has it (RFC 5737)."""
LONG, SOON = timedelta(seconds=20), timedelta(seconds=0.3)


@pytest.fixture
def prober():
    made = NetworkProber()
    yield made
    made.close()


class Server:
    """Answers every request with the same bytes, and remembers what was asked."""

    def __init__(self) -> None:
        self.port = 0
        self.requests: list[bytes] = []


@asynccontextmanager
async def answering(answer: bytes, *, drip: bool = False) -> AsyncIterator[Server]:
    """A server on the loopback; with `drip` it sends one byte more every so often, for ever."""
    server = Server()
    serving: set[asyncio.Task[None] | None] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.current_task())
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            server.requests.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(answer)
            while drip:
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.02)
            await writer.drain()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    async with listening:
        yield server
        await asyncio.gather(*filter(None, serving))


def said(status: str, body: bytes = b"", *headers: bytes) -> bytes:
    lines = [b"HTTP/1.1 " + status.encode(), *headers, b"Content-Length: %d" % len(body)]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


async def asked(prober, server: Server, path: str = "/", *, timeout=LONG, **probe):
    url = f"http://{{address}}:{server.port}{path}"
    return await prober.http("127.0.0.1", HttpProbe(url=url, **probe), timeout=timeout)


async def test_an_answer_that_is_well_holds(prober):
    async with answering(said("200 OK", b"all is well")) as server:
        found = await asked(prober, server, "/health?deep=1", body="is w[e]ll$")
    assert (found.holds, found.words) == (True, "status 200")
    (request,) = server.requests
    assert request.startswith(b"GET /health?deep=1 HTTP/1.1\r\n")
    assert f"Host: 127.0.0.1:{server.port}\r\n".encode() in request


@pytest.mark.parametrize(
    ("answer", "probe", "words"),
    [
        (said("503 Busy"), {}, "status 503, expected 200 to 299"),
        (said("200 OK"), {"statuses": (204, 301)}, "status 200, expected 204, 301"),
        (said("302 Found", b"", b"Location: /"), {}, "status 302, expected 200 to 299"),
        (said("200 OK", b"alas"), {"body": "well"}, "nothing in its body matches 'well'"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", {}, "no HTTP answer: SSH-2.0-OpenSSH_9.2"),
        (b"", {}, "no HTTP answer: "),
    ],
)
async def test_an_answer_that_is_not_well_says_what_was_expected(prober, answer, probe, words):
    async with answering(answer) as server:
        found = await asked(prober, server, **probe)
    assert not found.holds
    assert words in found.words


async def test_statuses_that_are_named_are_the_ones_that_are_well(prober):
    async with answering(said("301 Moved", b"", b"Location: /elsewhere")) as server:
        assert (await asked(prober, server, statuses=(301,))).holds
    assert len(server.requests) == 1


async def test_no_more_of_a_body_is_read_than_its_bound(prober):
    body = b"x" * LONGEST_BODY + b"well"
    async with answering(said("200 OK", body)) as server:
        assert not (await asked(prober, server, body="well")).holds


async def test_body_pattern__takes_time_linear_in_the_body(prober):
    async with answering(said("200 OK", b"a" * LONGEST_BODY)) as server:
        found = await asked(prober, server, body="(a+)+b")
    assert found.words == "status 200, but nothing in its body matches '(a+)+b'"


@pytest.mark.parametrize("body", [b"aa", b"\xff\x00\xfe"])
async def test_body_pattern__that_was_stored_before_re2_fails_the_check_with_words(prober, body):
    async with answering(said("200 OK", body)) as server:
        found = await asked(prober, server, body=r"(a)\1")
    assert not found.holds
    assert found.words == (
        "status 200, but the check's pattern '(a)\\\\1' must be a regular expression in RE2 syntax:"
        " invalid escape sequence: \\1"
    )


async def test_an_answer_that_never_ends_is_given_up(prober):
    async with answering(b"HTTP/1.1 200 OK\r\n\r\n", drip=True) as server:
        found = await asked(prober, server, timeout=SOON)
    assert (found.holds, found.words) == (False, "no answer within 0.3 s")


async def test_a_port_that_listens_holds_and_one_that_refuses_does_not(prober):
    async with answering(b"") as server:
        assert (await prober.tcp("127.0.0.1", server.port, timeout=LONG)).holds
        closed = server.port
    found = await prober.tcp("127.0.0.1", closed, timeout=LONG)
    assert (found.holds, found.words) == (False, f"port {closed} refuses connections")
    over_http = await asked(prober, server)
    assert over_http.words == f"port {closed} refuses connections"


async def test_a_port_that_is_silent_is_given_up(prober):
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        # With its queue full, Linux answers no further connection.
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filler.connect(address)
        found = await prober.tcp(*address, timeout=SOON)
        for filler in fillers:
            filler.close()
    assert (found.holds, found.words) == (False, "no answer within 0.3 s")


async def test_tls_that_fails_is_told_as_such(prober):
    async with answering(said("200 OK")) as server:
        url = f"https://127.0.0.1:{server.port}/"
        found = await prober.http("127.0.0.1", HttpProbe(url=url), timeout=SOON)
    assert not found.holds


async def test_a_name_that_does_not_resolve_is_told(prober):
    probe = HttpProbe(url="http://no-such-name.invalid/")
    found = await prober.http("127.0.0.1", probe, timeout=LONG)
    assert not found.holds
    assert "does not resolve" in found.words


async def test_checks_of_a_host_behind_a_jump__go_through_its_tunnel_alone(prober):
    asked_for = []

    async with answering(said("200 OK", b"well")) as server:

        async def tunnel(port: int) -> socket.socket:
            asked_for.append(port)
            if port != 80:
                raise JumpFailed(
                    host="web1", address=FAR, jump="bastion", problem="it forwards nothing"
                )
            connection = socket.create_connection(("127.0.0.1", server.port))
            connection.setblocking(False)
            return connection

        far = {"timeout": LONG, "tunnel": tunnel}
        assert (await prober.tcp(FAR, 80, **far)).holds
        assert await prober.tcp(FAR, 5432, **far) == CheckFinding(
            holds=False, words="it forwards nothing"
        )
        own = await prober.http(FAR, HttpProbe(url="http://{address}/"), **far)
        assert own == CheckFinding(holds=True, words="status 200")
        assert asked_for == [80, 5432, 80]
        # A URL of another host is not behind the jump.
        other = HttpProbe(url=f"http://127.0.0.1:{server.port}/")
        assert (await prober.http(FAR, other, **far)).holds
        assert asked_for == [80, 5432, 80]
