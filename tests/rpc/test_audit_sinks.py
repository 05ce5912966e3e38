"""Audit sinks of `tendhostd` as a process: every record reaches every sink, also when the server is killed."""

import asyncio
import hashlib
import hmac
import json
import signal
import socket
from pathlib import Path
from typing import Any

import grpc

from tendhost.server.domain.access.audit import FIRST_HASH
from tendhost.v1 import (
    selection_service_pb2,
    selection_service_pb2_grpc,
    system_service_pb2,
    system_service_pb2_grpc,
)
from tests.rpc.process import channel_to, serving_process
from tests.unit.remote.web_receiver import receiving

SECRET = "a-secret-of-the-test"
PATIENCE_SECONDS = 30


def configure(folder: Path, port: int) -> None:
    """Settings where the server looks for them, with a sink of each kind."""
    secret = folder / "secret"
    secret.write_text(f"{SECRET}\n")
    secret.chmod(0o600)
    file = folder / ".config" / "tendhost" / "tendhostd.toml"
    file.parent.mkdir(parents=True)
    file.write_text(
        f"""
        [[audit_sink]]
        name = "disk"
        kind = "file"
        path = "{folder}/audit.jsonl"

        [[audit_sink]]
        name = "journal"
        kind = "syslog"
        address = "unix:{folder}/log"
        facility = "audit"

        [[audit_sink]]
        name = "siem"
        kind = "webhook"
        url = "http://127.0.0.1:{port}/audit"
        secret_file = "{secret}"
        """
    )


async def create(channel: grpc.aio.Channel, name: str) -> None:
    stub = selection_service_pb2_grpc.SelectionServiceStub(channel)
    await stub.CreateSelection(selection_service_pb2.CreateSelectionRequest(name=name))


async def sinks_at(channel: grpc.aio.Channel, number: int) -> list[system_service_pb2.AuditSink]:
    """The sinks, once each has got the record of this number."""
    system = system_service_pb2_grpc.SystemServiceStub(channel)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            info = await system.GetServerInfo(system_service_pb2.GetServerInfoRequest())
            if all(sink.number == number for sink in info.audit_sinks):
                return list(info.audit_sinks)


def chained(records: list[dict[str, Any]]) -> list[int]:
    """The numbers of records, which come in order; a record that came again is left out."""
    found: list[int] = []
    former = FIRST_HASH
    for record in records:
        if record["number"] in found:
            continue
        assert record["former"] == former
        former = record["hash"]
        found.append(record["number"])
    return found


async def test_audit_sinks__get_every_record_of_a_server_that_is_killed(tmp_path: Path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind(str(tmp_path / "log"))
        log.setblocking(False)
        async with receiving() as receiver:
            configure(tmp_path, receiver.port)
            async with serving_process(tmp_path) as process, channel_to(process) as channel:
                await create(channel, "one")
                names = [sink.name for sink in await sinks_at(channel, 1)]
                assert names == ["disk", "journal", "siem"]
                await create(channel, "two")
                await process.ended_after(signal.SIGKILL)
            async with serving_process(tmp_path) as process, channel_to(process) as channel:
                await create(channel, "three")
                for sink in await sinks_at(channel, 3):
                    assert (sink.problem, sink.waiting, sink.missed) == ("", 0, 0)
                await process.ended_after(signal.SIGTERM)
        messages: list[str] = []
        while not messages or '"number":3,' not in messages[-1]:
            messages.append(log.recv(65536).decode("ascii"))
    file = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    posted = [record for document in receiver.documents for record in document["records"]]
    sent = [json.loads(message[message.index("{") :]) for message in messages]
    assert chained(file) == chained(posted) == chained(sent) == [1, 2, 3]
    assert all(message.startswith("<109>1 ") for message in messages)  # 13 * 8 + 5
    for head, document in zip(receiver.heads, receiver.documents, strict=True):
        body = json.dumps(document).encode()
        signature = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
        assert f"sha256={signature}" in head
