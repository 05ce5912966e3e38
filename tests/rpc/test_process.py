"""`tendhostd` as it is started and stopped: what it refuses in plain words, and how it ends."""

import asyncio
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest

from tendhost.server.certificates import issue_server, make_authority
from tendhost.v1 import (
    event_service_pb2,
    event_service_pb2_grpc,
    host_pb2,
    host_service_pb2,
    host_service_pb2_grpc,
    operation_service_pb2,
    operation_service_pb2_grpc,
    system_service_pb2,
    system_service_pb2_grpc,
)
from tests.rpc.api import refusal
from tests.rpc.process import Ended, channel_to, ended, serving_process
from tests.rpc.streams import read_to_the_end

CANNOT_SERVE, BAD_SETTINGS = 1, 2


def says(end: Ended, *words: str) -> None:
    """Hold an end to one line in plain words; what gRPC's own core says is none of it."""
    of_core = ("add_port.cc", "absl::InitializeLog()")
    lines = end.stderr.splitlines()
    (line,) = [line for line in lines if not any(mark in line for mark in of_core)]
    assert line.startswith("tendhostd: ")
    for word in words:
        assert word in line


def names_in(folder: Path) -> list[str]:
    return [entry.name for entry in folder.iterdir()]


# --- what it refuses ------------------------------------------------------------------------------


async def test_a_port_that_is_taken_is_refused(tmp_path: Path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        end = await ended(tmp_path, "--listen", listen, "--state-dir", str(tmp_path / "state"))
    assert end.status == CANNOT_SERVE
    says(end, listen, "not in use")


async def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    state = tmp_path / "file" / "state"
    end = await ended(tmp_path, "--listen", "127.0.0.1:0", "--state-dir", str(state))
    assert end.status == CANNOT_SERVE
    says(end, str(state))


@pytest.mark.parametrize(
    "content", [b"this is no database" * 100, b"SQLite format 3\0" + b"x" * 5000]
)
async def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path, content: bytes):
    state = tmp_path / "state"
    state.mkdir()
    database = state / "tendhost.db"
    database.write_bytes(content)
    end = await ended(tmp_path, "--listen", "127.0.0.1:0", "--state-dir", str(state))
    assert end.status == CANNOT_SERVE
    says(end, str(database))
    assert database.read_bytes() == content


async def test_a_database_of_a_newer_version_is_refused(tmp_path: Path):
    async with serving_process(tmp_path) as process:
        await process.ended_after(signal.SIGTERM)
    database = tmp_path / "state" / "tendhost.db"
    connection = sqlite3.connect(database)
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    connection.execute(f"PRAGMA user_version = {version + 7}")
    connection.close()
    end = await ended(tmp_path, "--listen", "127.0.0.1:0", "--state-dir", str(tmp_path / "state"))
    assert end.status == CANNOT_SERVE
    says(end, str(database), str(version), str(version + 7))


async def test_two_servers_on_one_folder_are_refused(tmp_path: Path):
    async with serving_process(tmp_path) as process:
        end = await ended(
            tmp_path, "--listen", "127.0.0.1:0", "--state-dir", str(tmp_path / "state")
        )
        assert end.status == CANNOT_SERVE
        says(end, str(tmp_path / "state"), str(process.process.pid))
        async with channel_to(process) as channel:  # the first one serves on
            stub = system_service_pb2_grpc.SystemServiceStub(channel)
            await stub.GetServerInfo(system_service_pb2.GetServerInfoRequest())


async def test_settings_that_cannot_be_used_are_refused_before_anything_is_touched(tmp_path: Path):
    file = tmp_path / "tendhostd.toml"
    file.write_text("lissten = '127.0.0.1:1'\n")
    end = await ended(tmp_path, "--config", str(file))
    assert end.status == BAD_SETTINGS
    says(end, str(file), "did you mean 'listen'?")
    end = await ended(tmp_path, "--listen", "0.0.0.0:50051")
    assert end.status == BAD_SETTINGS
    says(end, "0.0.0.0:50051", "loopback")
    end = await ended(tmp_path, TENDHOST_OPERATIONS_AT_ONCE="many")
    assert end.status == BAD_SETTINGS
    says(end, "TENDHOST_OPERATIONS_AT_ONCE", "'many'", "from 1 to 10000")
    assert names_in(tmp_path) == [file.name]


# --- how it ends ----------------------------------------------------------------------------------


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
async def test_a_server_that_is_told_to_stop_ends_well_in_spite_of_watchers(
    tmp_path: Path, signum: signal.Signals
):
    async with serving_process(tmp_path) as process, channel_to(process) as channel:
        events = event_service_pb2_grpc.EventServiceStub(channel)
        streams = [events.WatchEvents(event_service_pb2.WatchEventsRequest()) for _ in range(20)]
        for stream in streams:
            await stream.read()
        loop = asyncio.get_running_loop()
        began = loop.time()
        end = await process.ended_after(signum)
        assert loop.time() - began < 10
        assert end.status == 0
        assert "Traceback" not in end.stderr
        for stream in streams:
            # What was sent is read first: only then does a stream tell how it ended.
            refused = await refusal(read_to_the_end(stream))
            assert (refused.code, refused.reason) == (
                grpc.StatusCode.UNAVAILABLE,
                "SERVER_STOPPING",
            )


async def test_a_server_that_is_killed_forgets_nothing(tmp_path: Path):
    config = host_pb2.HostConfig(name="here", address="local", tags=["x"])
    async with serving_process(tmp_path) as process, channel_to(process) as channel:
        hosts = host_service_pb2_grpc.HostServiceStub(channel)
        request = host_service_pb2.RegisterHostRequest(config=config)
        registered = (await hosts.RegisterHost(request)).host
        await process.ended_after(signal.SIGKILL)
    async with serving_process(tmp_path) as process, channel_to(process) as channel:
        hosts = host_service_pb2_grpc.HostServiceStub(channel)
        get = host_service_pb2.GetHostRequest(name="here")
        assert (await hosts.GetHost(get)).host == registered


async def test_this_very_machine_can_be_checked(tmp_path: Path):
    config = host_pb2.HostConfig(name="here", address="local")
    async with serving_process(tmp_path) as process, channel_to(process) as channel:
        hosts = host_service_pb2_grpc.HostServiceStub(channel)
        operations = operation_service_pb2_grpc.OperationServiceStub(channel)
        await hosts.RegisterHost(host_service_pb2.RegisterHostRequest(config=config))
        started = await hosts.StartCheck(host_service_pb2.StartCheckRequest(name="here"))
        waited = await operations.WaitOperation(
            operation_service_pb2.WaitOperationRequest(id=started.operation.id)
        )
        assert waited.operation.HasField("health")
        (line,) = (await process.ended_after(signal.SIGTERM)).stderr.splitlines()
        assert line.endswith("no call needs a credential: auth is none")


# --- as grpcurl sees it ---------------------------------------------------------------------------


async def grpcurl(address: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    process = await asyncio.create_subprocess_exec(
        *("grpcurl", "-plaintext", *arguments[:-1], address, *arguments[-1].split(" ")),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ,
    )
    async with asyncio.timeout(60):
        stdout, stderr = await process.communicate()
    assert process.returncode is not None
    return subprocess.CompletedProcess(
        arguments, process.returncode, stdout.decode(), stderr.decode()
    )


@pytest.mark.grpcurl
async def test_grpcurl_finds_its_way_without_any_file(tmp_path: Path):
    async with serving_process(tmp_path) as process:
        listed = await grpcurl(process.address, "list")
        assert "tendhost.v1.HostService" in listed.stdout.splitlines()
        methods = await grpcurl(process.address, "list tendhost.v1.RolloutService")
        assert "tendhost.v1.RolloutService.StartRollout" in methods.stdout.splitlines()
        for symbol in (
            *("tendhost.v1.HostService", "tendhost.v1.HostService.StartUpdate"),
            *("tendhost.v1.Host", "tendhost.v1.HostState", "tendhost.v1.WatchEventsRequest"),
        ):
            described = await grpcurl(process.address, f"describe {symbol}")
            assert described.returncode == 0, described.stderr
            assert symbol.rpartition(".")[2] in described.stdout


@pytest.mark.grpcurl
async def test_grpcurl__describes_everything_that_it_lists(tmp_path: Path):
    async with serving_process(tmp_path) as process:
        listed = (await grpcurl(process.address, "list")).stdout.splitlines()
        assert "grpc.reflection.v1.ServerReflection" in listed
        for service in listed:
            described = await grpcurl(process.address, f"describe {service}")
            assert described.returncode == 0, described.stderr
            assert f"service {service.rpartition('.')[2]} {{" in described.stdout
        commented = await grpcurl(process.address, "describe tendhost.v1.GetHostRequest")
        assert "// " in commented.stdout


@pytest.mark.grpcurl
async def test_grpcurl_registers_and_lists_hosts_and_reads_an_error(tmp_path: Path):
    async with serving_process(tmp_path) as process:
        body = json.dumps({"config": {"name": "here", "address": "local", "tags": ["x"]}})
        done = await grpcurl(process.address, "-d", body, "tendhost.v1.HostService/RegisterHost")
        assert done.returncode == 0, done.stderr
        listed = await grpcurl(process.address, "tendhost.v1.HostService/ListHosts")
        (host,) = json.loads(listed.stdout)["hosts"]
        assert host["config"]["name"] == "here"
        assert host["status"]["state"] == "HOST_STATE_IDLE"
        refused = await grpcurl(
            process.address, "-d", '{"name": "nobody"}', "tendhost.v1.HostService/GetHost"
        )
        assert refused.returncode != 0
        assert "NotFound" in refused.stderr
        assert "host 'nobody' is not registered" in refused.stderr
        assert "HOST_NOT_FOUND" in refused.stderr
        refused = await grpcurl(
            process.address, "-d", '{"config": {}}', "tendhost.v1.HostService/RegisterHost"
        )
        assert "InvalidArgument" in refused.stderr
        assert "config.name" in refused.stderr
        assert "config.address" in refused.stderr


async def test_server__says_at_its_start_what_its_log_lacks_and_shows_it_when_asked(tmp_path: Path):
    folder = tmp_path / "state" / "tls"
    now = datetime.now(UTC)
    make_authority(folder, now=now)
    issue_server(folder, ["localhost", "127.0.0.1"], now=now)
    listen = "127.0.0.1:0,tls://127.0.0.1:0"
    said = []
    for asked in ({}, {"GRPC_VERBOSITY": "INFO"}, {"GRPC_VERBOSITY": "INFO", "GRPC_TRACE": "http"}):
        how: dict[str, Any] = {"listen": listen, "auth": "required", "environment": asked}
        async with serving_process(tmp_path, **how) as process:
            plain, encrypted = process.ports
            for port, first in (
                (encrypted, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
                (encrypted, b"GET / HTTP/1.1\r\n\r\n"),
                (plain, b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03"),
            ):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(first)
                await reader.read()  # until the server closes the connection
                writer.close()
            said.append((await process.ended_after(signal.SIGTERM)).stderr)
    silent, handshakes, traced = said
    hint = "a client in plain text at an address with TLS, or with TLS at one without, has no line here"
    assert [text.count(hint) for text in said] == [1, 1, 1]
    assert "docs/access.md#tls-that-does-not-fit" in silent
    for words in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST"):
        assert "Handshake failed" in handshakes
        assert words in handshakes
        assert words not in silent
    mismatch = "Connect string mismatch: expected 'P' (80) got "
    assert [mismatch in text for text in said] == [False, False, True]
    assert re.search(r"SERVER \[ipv4:127\.0\.0\.1:\d+\]", traced.partition(mismatch)[0])
