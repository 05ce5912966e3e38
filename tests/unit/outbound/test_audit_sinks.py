"""Audit sinks with real receivers: a file, a unix socket, UDP and TCP on the loopback, and a web server."""

import asyncio
import contextlib
import hashlib
import hmac
import itertools
import json
import os
import re
import socket
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tendhost.server.domain.access.audit import (
    FIRST_HASH,
    AuditEntry,
    AuditRecord,
    documents,
    hash_of,
)
from tendhost.server.domain.access.syslog import (
    FACILITIES,
    SyslogAddress,
    Transport,
    framed,
    message_of,
    syslog_address,
)
from tendhost.server.outbound.audit_file import FileSink
from tendhost.server.outbound.audit_sink import SinkFailed, run_within
from tendhost.server.outbound.audit_syslog import SyslogSink, send_stream
from tendhost.server.outbound.audit_webhook import WebhookSink
from tendhost.server.threads import DaemonThreads
from tests.unit.remote.web_receiver import free_port, receiving

AT = datetime(2027, 1, 31, 12, 0, 0, 250000, tzinfo=UTC)


def chained(count: int, first: int = 1, former: str = FIRST_HASH, **how: Any) -> list[AuditEntry]:
    """Records that follow each other."""
    found = []
    for number in range(first, first + count):
        told = {"principal": "ann", "method": "/tendhost.v1.HostService/StartCheck"} | how
        record = AuditRecord(at=AT, subject=f"web{number}", **told)
        entry = AuditEntry(number=number, revision=number, record=record, hash="")
        entry = replace(entry, hash=hash_of(entry, former))
        found.append(entry)
        former = entry.hash
    return found


def numbers(lines: Sequence[str]) -> list[int]:
    return [json.loads(line)["number"] for line in lines]


# --- file -----------------------------------------------------------------------------------------


def file_sink(path: Path, max_size: int = 10**6, keep: int = 2) -> FileSink:
    return FileSink(path, max_size=max_size, keep=keep)


async def test_file__has_a_record_a_line_and_belongs_to_its_owner_alone(tmp_path: Path):
    path = tmp_path / "audit.jsonl"
    path.touch(0o644)
    entries = chained(5)
    await file_sink(path).deliver(entries[:3], FIRST_HASH)
    await file_sink(path).deliver(entries[3:], entries[2].hash)
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert records == list(documents(entries, FIRST_HASH))
    for former, record in itertools.pairwise(records):
        assert record["former"] == former["hash"]
    assert path.stat().st_mode & 0o777 == 0o600


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_file__is_rotated_by_its_size_and_the_oldest_is_dropped(tmp_path: Path):
    path = tmp_path / "audit.jsonl"
    entries = chained(9)
    size = len(json.dumps(next(documents(entries, FIRST_HASH)))) * 2
    sink = file_sink(path, max_size=size)
    former = FIRST_HASH
    for entry in entries:
        await sink.deliver([entry], former)
        former = entry.hash
    files = [path, Path(f"{path}.1"), Path(f"{path}.2")]
    assert names_in(tmp_path) == [file.name for file in files]
    assert [numbers(file.read_text().splitlines()) for file in files] == [[9], [7, 8], [5, 6]]
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


async def test_file__that_another_program_has_rotated_is_made_again(tmp_path: Path):
    path, entries = tmp_path / "audit.jsonl", chained(2)
    sink = file_sink(path)
    await sink.deliver(entries[:1], FIRST_HASH)
    path.rename(tmp_path / "elsewhere")
    await sink.deliver(entries[1:], entries[0].hash)
    assert numbers(path.read_text().splitlines()) == [2]


@pytest.mark.parametrize("kept", [1, 5, 40, 200])
async def test_file__loses_the_record_that_a_crash_has_cut_off_and_gets_it_whole(
    tmp_path: Path, kept: int
):
    path, entries = tmp_path / "audit.jsonl", chained(2)
    await file_sink(path).deliver(entries, FIRST_HASH)
    first, second = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + second[:kept])
    await file_sink(path).deliver(entries[1:], entries[0].hash)
    assert path.read_bytes() == first + second


async def test_file__of_something_else_is_left_as_it_is(tmp_path: Path):
    path = tmp_path / "notes"
    path.write_text("buy milk")
    with pytest.raises(SinkFailed, match="does not end with an audit record"):
        await file_sink(path).deliver(chained(1), FIRST_HASH)
    assert path.read_text() == "buy milk"


def _folder(path: Path) -> None:
    path.mkdir()


def _link(path: Path) -> None:
    path.symlink_to("/nowhere")


def _nothing(path: Path) -> None:
    path.parent.rmdir()


@pytest.mark.parametrize("made", [_folder, _link, os.mkfifo, _nothing])
async def test_file__that_is_none_is_told(tmp_path: Path, made: Any):
    folder = tmp_path / "logs"
    folder.mkdir()
    made(folder / "audit.jsonl")
    with pytest.raises(SinkFailed):
        await file_sink(folder / "audit.jsonl").deliver(chained(1), FIRST_HASH)


async def test_file__that_cannot_be_written_to_its_end_keeps_nothing_of_the_delivery(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path, entries = tmp_path / "audit.jsonl", chained(3)
    sink = file_sink(path)
    await sink.deliver(entries[:1], FIRST_HASH)
    before = path.read_bytes()
    write = os.write

    def full(descriptor: int, data: Any) -> int:
        if len(data) < 300:
            raise OSError(28, "No space left on device")
        return write(descriptor, data[:300])

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(SinkFailed, match="No space left"):
        await sink.deliver(entries[1:], entries[0].hash)
    assert path.read_bytes() == before


# --- syslog ---------------------------------------------------------------------------------------

HEADER = re.compile(
    rb"<(\d{1,3})>1 (\S+) ([\x21-\x7e]{1,255}) (tendhostd) - ([\x21-\x7e]{1,32}) - (.*)"
)
"""RFC 5424, section 6, without structured data."""


@given(
    method=st.text(),
    subject=st.text(),
    principal=st.text(),
    result=st.sampled_from(["OK", "STARTED", "HOST_BUSY"]),
    host=st.text(),
)
def test_message__is_one_line_of_rfc_5424_whatever_the_record_holds(
    method: str, subject: str, principal: str, result: str, host: str
):
    record = AuditRecord(at=AT, principal=principal, method=method, subject=subject, result=result)
    entry = AuditEntry(number=1, revision=1, record=record, hash="f")
    (document,) = documents([entry], FIRST_HASH)
    message = message_of(entry, document, facility=10, host=host)
    match = HEADER.fullmatch(message)
    assert match is not None
    assert int(match[1]) == 80 + (4 if result == "HOST_BUSY" else 5)
    assert datetime.fromisoformat(match[2].decode()) == AT
    assert json.loads(match[6]) == document


def test_message__has_the_name_of_the_method_and_of_the_server():
    (entry,) = chained(1)
    (document,) = documents([entry], FIRST_HASH)
    message = message_of(entry, document, facility=FACILITIES["local0"], host="patch1")
    assert message.startswith(
        b"<133>1 2027-01-31T12:00:00.250000Z patch1 tendhostd - StartCheck - {"
    )


@given(st.lists(st.binary(max_size=20)))
def test_frames__are_taken_apart_by_their_lengths(messages: list[bytes]):
    assert unframed(framed(messages)) == messages


def unframed(data: bytes) -> list[bytes]:
    """RFC 6587, section 3.4.1: MSG-LEN SP SYSLOG-MSG."""
    found = []
    while data:
        length, _, rest = data.partition(b" ")
        found.append(rest[: int(length)])
        assert len(found[-1]) == int(length)
        data = rest[int(length) :]
    return found


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("unix:/dev/log", SyslogAddress(transport=Transport.UNIX, path="/dev/log")),
        ("udp://log:514", SyslogAddress(transport=Transport.UDP, host="log", port=514)),
        ("tcp://[::1]:6514", SyslogAddress(transport=Transport.TCP, host="::1", port=6514)),
    ],
)
def test_address__is_of_one_of_three_forms(text: str, address: SyslogAddress):
    assert syslog_address(text) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/dev/log",
        "unix:dev/log",
        "udp://log",
        "tcp://:514",
        "tcp://log:0",
        "tcp://log:99999",
        "tcp://log:514/x",
        "tcp://u@log:514",
        "tls://log:6514",
        "tcp://[::1",
    ],
)
def test_address__of_another_form_is_refused(text: str):
    with pytest.raises(ValueError, match="expected unix:/PATH"):
        syslog_address(text)


def syslog(address: str, **how: Any) -> SyslogSink:
    return SyslogSink(syslog_address(address), facility=10, host="patch1", **how)


def told(messages: Sequence[bytes]) -> list[int]:
    found = [HEADER.fullmatch(message) for message in messages]
    return [json.loads(match[6])["number"] for match in found if match]


async def test_syslog__gets_a_datagram_a_record_on_a_unix_socket(tmp_path: Path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "log"))
        await syslog(f"unix:{tmp_path}/log").deliver(chained(3), FIRST_HASH)
        assert told([receiver.recv(65536) for _ in range(3)]) == [1, 2, 3]


async def test_syslog__gets_a_datagram_a_record_over_udp():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        port = receiver.getsockname()[1]
        await syslog(f"udp://127.0.0.1:{port}").deliver(chained(3), FIRST_HASH)
        assert told([receiver.recv(65536) for _ in range(3)]) == [1, 2, 3]


async def test_syslog__without_a_receiver_is_told(tmp_path: Path):
    with pytest.raises(SinkFailed, match="No such file"):
        await syslog(f"unix:{tmp_path}/log").deliver(chained(1), FIRST_HASH)
    with pytest.raises(SinkFailed, match="refused"):
        await syslog(f"tcp://127.0.0.1:{free_port()}").deliver(chained(1), FIRST_HASH)
    with pytest.raises(SinkFailed):
        await syslog(f"udp://{'a' * 70}.example:514").deliver(chained(1), FIRST_HASH)


@dataclass
class Collector:
    """A receiver of syslog over TCP. `reads` False: it takes connections and ends them without reading; `closes`
    False: it reads, and leaves the connection open; `talks`: it answers without end."""

    reads: bool = True
    closes: bool = True
    talks: bool = False
    port: int = 0
    messages: list[bytes] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if not self.reads:
                writer.transport.abort()
                return
            self.messages.extend(unframed(await reader.read()))
            while self.talks:
                writer.write(b"x" * 4096)
                await writer.drain()
            if not self.closes:
                await asyncio.Event().wait()
        except ConnectionError:
            assert self.talks
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


@asynccontextmanager
async def collecting(**how: bool) -> AsyncIterator[Collector]:
    collector = Collector(**how)  # type: ignore[arg-type]
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with contextlib.suppress(asyncio.CancelledError):
            await collector.serve(reader, writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    collector.port = server.sockets[0].getsockname()[1]
    try:
        yield collector
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_syslog__over_tcp_counts_octets_and_has_arrived_once_the_receiver_has_read_it():
    async with collecting() as collector:
        sink = syslog(f"tcp://127.0.0.1:{collector.port}")
        entries = chained(4)
        await sink.deliver(entries[:3], FIRST_HASH)
        await sink.deliver(entries[3:], entries[2].hash)
        assert told(collector.messages) == [1, 2, 3, 4]


async def test_syslog__that_goes_away_without_reading_has_not_got_the_records():
    async with collecting(reads=False) as collector:
        with pytest.raises(SinkFailed):
            await syslog(f"tcp://127.0.0.1:{collector.port}").deliver(chained(50), FIRST_HASH)


async def test_syslog__that_does_not_say_that_it_has_read_is_told():
    async with collecting(closes=False) as collector:
        address = syslog_address(f"tcp://127.0.0.1:{collector.port}")
        with pytest.raises(SinkFailed, match=r"did not close the connection within 0\.1 s"):
            await asyncio.to_thread(send_stream, address, [b"x"], 0.1)


async def test_sink__that_takes_longer_than_its_time_limit_is_told():
    over = threading.Event()

    def work() -> None:
        over.wait(60)

    try:
        with pytest.raises(SinkFailed, match=r"no answer within 0\.01 s"):
            await run_within(DaemonThreads(1, name="test"), work, timedelta(seconds=0.01))
    finally:
        over.set()


async def test_syslog__that_answers_without_end_is_not_listened_to():
    async with collecting(talks=True) as collector:
        with pytest.raises(SinkFailed, match="answers, and does not close"):
            await syslog(f"tcp://127.0.0.1:{collector.port}").deliver(chained(1), FIRST_HASH)


# --- webhook --------------------------------------------------------------------------------------


async def test_webhook__gets_signed_records_in_one_document():
    entries = chained(3)
    async with receiving() as receiver:
        sink = WebhookSink("siem", f"http://127.0.0.1:{receiver.port}/s3cr3t", secret=b"key")
        await sink.deliver(entries, FIRST_HASH)
        (document,), (head,) = receiver.documents, receiver.heads
    assert document == {"sink": "siem", "records": list(documents(entries, FIRST_HASH))}
    signed = hmac.new(b"key", json.dumps(document).encode(), hashlib.sha256).hexdigest()
    lines = head.split("\r\n")
    assert f"Tendhost-Signature: sha256={signed}" in lines
    assert "Idempotency-Key: siem/1-3" in lines


@pytest.mark.parametrize("name", ["日志", "a\r\nX-Other: b", "größe/1"])
async def test_webhook__has_a_key_whatever_the_name_of_the_sink_is(name: str):
    async with receiving() as receiver:
        sink = WebhookSink(name, f"http://127.0.0.1:{receiver.port}/", secret=b"key")
        await sink.deliver(chained(1), FIRST_HASH)
        (document,), (head,) = receiver.documents, receiver.heads
    assert document["sink"] == name
    assert f"\r\nIdempotency-Key: {quote(name, safe='')}/1-1\r\n" in head
    assert "X-Other:" not in head


async def test_webhook__that_refuses_is_told_without_the_url():
    async with receiving(503) as receiver:
        sink = WebhookSink("siem", f"http://127.0.0.1:{receiver.port}/s3cr3t", secret=b"key")
        with pytest.raises(SinkFailed, match="status 503") as failed:
            await sink.deliver(chained(1), FIRST_HASH)
    assert "s3cr3t" not in str(failed.value)
