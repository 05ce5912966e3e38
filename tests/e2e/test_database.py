"""The database of a real server: copied, restored, locked by others, and on a full disk."""

import asyncio
import io
import sqlite3
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from tendhost.v1 import (
    event_service_pb2,
    host_pb2,
    host_service_pb2,
    operation_pb2,
    rollout_pb2,
    rollout_service_pb2,
    system_service_pb2,
    system_service_pb2_grpc,
)
from tests.e2e.daemon import Daemon, daemon
from tests.fleet import HostSpec
from tests.rpc.api import refusal

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
IN_THE_MIDDLE = "until [ -e /run/tb-slow-running ]; do sleep 0.05; done"


@dataclass(frozen=True, kw_only=True)
class Done:
    """How a command ended."""

    status: int
    stdout: str
    stderr: str


async def tendhostd(*arguments: str | Path) -> Done:
    """`tendhostd` with these arguments, to its end."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tendhost.server.main", *map(str, arguments)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        stdout, stderr = await process.communicate()
    assert process.returncode is not None
    return Done(status=process.returncode, stdout=stdout.decode(), stderr=stderr.decode())


def says(done: Done, *words: str) -> None:
    """Hold a command that failed to one line in plain words."""
    assert (done.status, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("tendhostd: ")
    for word in words:
        assert word in line


def registration(name: str) -> host_service_pb2.RegisterHostRequest:
    """The same request however often it is sent."""
    config = host_pb2.HostConfig(name=name, address="local")
    return host_service_pb2.RegisterHostRequest(
        config=config, request_id=str(uuid.uuid4()), allow_duplicate=True
    )


@asynccontextmanager
async def channel_to(server: Daemon) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(server.address) as channel:
        yield channel


async def info(channel: grpc.aio.Channel) -> system_service_pb2.GetServerInfoResponse:
    stub: Any = system_service_pb2_grpc.SystemServiceStub(channel)
    response = await stub.GetServerInfo(system_service_pb2.GetServerInfoRequest(), timeout=2)
    assert isinstance(response, system_service_pb2.GetServerInfoResponse)
    return response


async def answers(server: Daemon, channel: grpc.aio.Channel, *, hosts: int) -> None:
    """Hold a server that cannot write to what it can do all the same."""
    assert (await info(channel)).host_count == hosts
    assert (await server.host("before")).config.name == "before"
    listed = await server.hosts.ListHosts(host_service_pb2.ListHostsRequest(), timeout=2)
    assert len(listed.hosts) == hosts
    async with asyncio.timeout(2):
        assert len(await server.all_events()) == hosts


# --- locked ---------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_database_that_another_process_has_locked_is_waited_for_and_told(tmp_path):
    state = tmp_path / "state"
    loop = asyncio.get_running_loop()
    async with daemon(state) as server, channel_to(server) as channel:
        await server.hosts.RegisterHost(registration("before"))
        request = registration("after")
        with closing(sqlite3.connect(state / "tendhost.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            began = loop.time()
            call = asyncio.create_task(refusal(server.hosts.RegisterHost(request)))
            await answers(server, channel, hosts=1)
            assert not call.done()
            refused = await call
            assert (refused.code, refused.reason) == (UNAVAILABLE, "STORE_UNAVAILABLE")
            assert "locked" in refused.facts["cause"]
            assert 4 < loop.time() - began < 15
            waiting = server.hosts.RegisterHost(request)  # on its way from here on
            await answers(server, channel, hosts=1)
            other.execute("COMMIT")
        # What came while it was locked is carried out once it no longer is.
        assert (await waiting).host.config.name == "after"
        await answers(server, channel, hosts=2)


# --- a full disk ----------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def write_forever(file: io.FileIO, data: bytes) -> None:
    while True:
        file.write(data)


@contextmanager
def filled(folder: Path) -> Iterator[None]:
    """The disk is full to the last byte."""
    hog = folder / "hog"
    with hog.open("wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            with pytest.raises(OSError, match="No space left on device"):
                write_forever(file, b"x" * size)
    yield
    hog.unlink()


@pytest.mark.slow
@pytest.mark.fleet  # which means root: a disk is mounted
async def test_full_disk_refuses_writes_and_nothing_else_and_is_over_when_there_is_space(
    small_disk, tmp_path
):
    state = small_disk / "state"
    async with daemon(state) as server, channel_to(server) as channel:
        await server.hosts.RegisterHost(registration("before"))
        request = registration("after")
        for _ in range(2):
            with filled(small_disk):
                for _ in range(2):
                    refused = await refusal(server.hosts.RegisterHost(request, timeout=10))
                    assert (refused.code, refused.reason) == (UNAVAILABLE, "STORE_UNAVAILABLE")
                    assert "full" in refused.facts["cause"]
                    await answers(server, channel, hosts=1)
                # There is always a way to save what is there.
                copied = await tendhostd(
                    "backup", tmp_path / "copy", "--force", "--state-dir", state
                )
                assert copied.status == 0, copied.stderr
                says(await tendhostd("--state-dir", state, "backup", small_disk / "copy"), "full")
                assert {entry.name for entry in small_disk.iterdir()} <= {
                    *("hog", "state", "state.log")
                }
        assert (await server.hosts.RegisterHost(request)).host.config.name == "after"
        await answers(server, channel, hosts=2)
        assert server.process.returncode is None


# --- copies ---------------------------------------------------------------------------------------


async def test_copy_of_a_serving_server_is_restored_and_old_cursors_are_refused(tmp_path):
    state, copy = tmp_path / "state", tmp_path / "copy"
    async with daemon(state) as server, channel_to(server) as channel:
        await server.hosts.RegisterHost(registration("before"))
        done = await tendhostd("backup", copy, "--state-dir", state)
        assert (done.status, done.stderr) == (0, "")
        size = copy.stat().st_size
        expected = f"copied {state}/tendhost.db to {copy}: {size} bytes, revision 1; "
        assert done.stdout.startswith(expected)
        assert "hooks and health checks are in it in clear text" in done.stdout
        await server.hosts.RegisterHost(registration("lost"))
        former = await info(channel)
        refused = await tendhostd("restore", copy, "--state-dir", state)
        says(refused, str(state), "in use", str(server.process.pid))
        server.process.kill()
        await server.process.wait()
    restored = await tendhostd("restore", copy, "--state-dir", state)
    assert restored.status == 0, restored.stderr
    assert restored.stdout.startswith(f"restored {copy} of 2")
    assert f"revision 1; the former database is {state}/tendhost.db.before-" in restored.stdout
    async with daemon(state) as server, channel_to(server) as channel:
        await answers(server, channel, hosts=1)
        present = await info(channel)
        assert present.log_id not in ("", former.log_id)
        for cursor in (0, 1, 2):  # what both logs have, and what only the former had
            request = event_service_pb2.WatchEventsRequest(
                resume_after=cursor, log_id=former.log_id
            )
            watching = server.events.WatchEvents(request)
            told = await refusal(watching.read())
            assert (told.code, told.reason) == (
                grpc.StatusCode.OUT_OF_RANGE,
                "CURSOR_UNKNOWN",
            )


@pytest.mark.slow
async def test_copies_that_cannot_be_made_are_told_in_one_line(tmp_path):
    state, copy = tmp_path / "state", tmp_path / "copy"
    says(await tendhostd("--state-dir", state, "backup", copy), "no database")
    assert not state.exists()
    async with daemon(state):
        pass
    assert (await tendhostd("--state-dir", state, "backup", copy)).status == 0
    says(await tendhostd("--state-dir", state, "backup", copy), str(copy), "--force")
    bad = await tendhostd("--state-dir", state, "--config", tmp_path / "none", "backup", copy)
    assert bad.status == 2
    file = tmp_path / "settings.toml"
    file.write_text(f'state_dir = "{state}"\n')
    done = await tendhostd("backup", "--config", file, tmp_path / "other")
    assert done.status == 0, done.stderr


@pytest.mark.fleet
@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_upgrade_that_ran_when_the_copy_was_made_is_not_run_again(make_fleet, tmp_path):
    fleet = make_fleet(
        HostSpec(name="web1", packages=("tb-slow",)), HostSpec(name="web2", packages=("tb-slow",))
    )
    first, second = fleet.hosts
    state, copy = tmp_path / "state", tmp_path / "copy"
    first.run(
        "echo 15 >/etc/tb-slow-seconds", check=True
    )  # longer than a backup takes on a busy machine
    async with daemon(state, key=fleet.private_key) as server:
        for host in fleet.hosts:
            await server.register(host.name, host.address)
        begun = await server.rollout(waves=("1",))
        await asyncio.to_thread(first.run, IN_THE_MIDDLE, timeout=60, check=True)
        done = await tendhostd("backup", copy, "--state-dir", state)
        assert done.status == 0, done.stderr
        pausing = rollout_service_pb2.PauseRolloutRequest(id=begun.id)
        await server.rollouts.PauseRollout(pausing)
        request = rollout_service_pb2.WatchRolloutRequest(id=begun.id)
        async for message in server.rollouts.WatchRollout(request):
            if message.rollout.progress.completed == 1:
                break
    assert (await tendhostd("restore", copy, "--state-dir", state)).status == 0
    async with daemon(state, key=fleet.private_key) as server:
        status = (await server.host("web1")).status
        assert status.state == host_pb2.HOST_STATE_FAILED
        assert status.failure.problem.reason == "DATABASE_RESTORED"
        asked = rollout_service_pb2.GetRolloutRequest(id=begun.id)
        rollout = (await server.rollouts.GetRollout(asked)).rollout
        assert rollout.status == rollout_pb2.ROLLOUT_STATUS_PAUSED
        retried = await server.retry("web1")
        assert retried.status == operation_pb2.OPERATION_STATUS_SUCCEEDED, retried
        assert (await server.host("web1")).status.state == host_pb2.HOST_STATE_IDLE
    assert first.transactions().count("tb-slow 2.0-1") == 1
    assert second.transactions().count("tb-slow 2.0-1") == 0
