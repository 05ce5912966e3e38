"""Secrets: a canary in every place where one can be put, and a search of everything that comes out of the server."""

import asyncio
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from signal import SIGTERM
from typing import Any

import grpc
import pytest
from google.protobuf import message_factory
from google.protobuf.message import Message
from grpc_status import rpc_status

from tendhost.server.config import _TABLES, Settings
from tendhost.server.main import main
from tendhost.server.rpc.permissions import PERMISSIONS
from tendhost.v1 import (
    access_service_pb2,
    event_service_pb2,
    health_pb2,
    hook_pb2,
    host_pb2,
    host_service_pb2,
    operation_service_pb2,
    rollout_pb2,
    rollout_service_pb2,
)
from tests.filled_messages import string_fields
from tests.rpc.planted_secrets import Planted, echoing
from tests.rpc.process import serving_process
from tests.rpc.scoped import described, request_of
from tests.rpc.secret_places import PLAIN_FIELDS, PLAIN_SETTINGS, SECRET_FIELDS, SECRET_SETTINGS
from tests.simulated import SimulatedFleet

OURS = [method for method in PERMISSIONS if method.startswith("/tendhost.v1.")]
READS = ("Get", "List")


def test_settings__are_all_known_to_hold_a_secret_or_none():
    names = {each.name for each in fields(Settings)} - set(_TABLES)
    for table, kind in _TABLES.items():
        names |= {f"{table}.{column.name}" for column in fields(kind)}
    assert names - PLAIN_SETTINGS == SECRET_SETTINGS


def test_text_fields__of_requests_are_all_known_to_hold_a_secret_or_none():
    found = {path[-1] for method in OURS for path in string_fields(described(method).input_type)}
    named = {
        each.full_name.removeprefix("tendhost.v1.")
        for each in found
        if each.name not in PLAIN_FIELDS
    }
    assert named == SECRET_FIELDS


@dataclass(kw_only=True)
class Caller:
    """Calls of the server, whose answers and refusals are kept."""

    planted: Planted
    channel: grpc.aio.Channel

    async def call(self, method: str, request: Message, **metadata: str) -> Any:
        """The answer; None: the call was refused."""
        (path,) = [each for each in OURS if each.endswith(f"/{method}")]
        kind = message_factory.GetMessageClass(described(path).output_type)
        stub = self.channel.unary_unary(
            path,
            request_serializer=type(request).SerializeToString,
            response_deserializer=kind.FromString,
        )
        try:
            answer = await stub(request, metadata=tuple(metadata.items()), timeout=60)
        except grpc.aio.AioRpcError as error:
            status: Any = rpc_status.from_call(error)  # type: ignore[arg-type]
            self.planted.tell("errors", status or str(error))
            return None
        if method != "CreateToken":
            self.planted.tell("answers", answer)
        return answer

    async def ended(self, operation: str) -> Any:
        """An operation that has ended, its events and its log told."""
        stream = self.channel.unary_stream(
            "/tendhost.v1.OperationService/WatchOperation",
            request_serializer=operation_service_pb2.WatchOperationRequest.SerializeToString,
            response_deserializer=operation_service_pb2.WatchOperationResponse.FromString,
        )
        async for message in stream(operation_service_pb2.WatchOperationRequest(id=operation)):
            self.planted.tell("operation stream", message)
        request = operation_service_pb2.GetOperationRequest(id=operation)
        return (await self.call("GetOperation", request)).operation


async def tendhost(planted: Planted, *line: str, **environment: str) -> bool:
    """Run `tendhost`, keep what it says, and tell whether it succeeded."""
    home = {"HOME": str(planted.folder), "PATH": os.environ["PATH"]}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tendhost.client.cli", *line),
        env=home | environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    planted.tell("tendhost", said)
    return process.returncode == 0


STORED = frozenset({"answers", "state folder", "backup"})
"""Whoever may read a policy reads its scripts; `tendhostd backup` says that they are in the copy."""
CHECKED = STORED | {"operation stream", "tendhost"}
"""A check is told by its command or its URL, in the results of operations, too."""
SPARED = {
    "Hook.script": STORED,
    "secret hook": STORED - {"answers"},
    "HealthCheck.command": CHECKED,
    "HttpProbe.url": CHECKED,
    "HttpProbe.body": STORED,
    # Programs of the machine get to the network as the server does.
    "proxy.user": frozenset({"wave hook"}),
    "proxy.password": frozenset({"wave hook"}),
}


async def use(caller: Caller, fleet: SimulatedFleet) -> None:
    """Register a host, let everything fail on it that can, and begin a rollout that a hook ends."""
    planted = caller.planted
    host = fleet["web1"]
    script = f": {planted.plant('secret hook')}\ncat /proc/[0-9]*/cmdline >{planted.folder}/hook 2>/dev/null; exit 7\n"
    probe = health_pb2.HttpProbe(
        url=f"http://127.0.0.1:{planted.echo.port}/?{planted.plant('HttpProbe.url')}",
        body=planted.plant("HttpProbe.body"),
    )
    line = f": {planted.plant('HealthCheck.command')}; exit 9"
    policy = host_pb2.Policy(
        hooks=hook_pb2.Hooks(
            pre=hook_pb2.Hook(script=script, secret=True),
            post=hook_pb2.Hook(script=f": {planted.plant('Hook.script')}"),
        ),
        health_checks=health_pb2.HealthChecks(
            checks=[
                health_pb2.HealthCheck(http=probe, attempts=1),
                health_pb2.HealthCheck(command=line, attempts=1),
            ]
        ),
    )
    config = host_pb2.HostConfig(
        name="web1", address=host.address, port=host.port, ssh_key=str(planted.folder / "web.key")
    )
    assert await caller.call("RegisterHost", host_service_pb2.RegisterHostRequest(config=config))
    config.policy.CopyFrom(policy)
    changed = host_service_pb2.ReconfigureHostRequest(name="web1", config=config)
    changed.update_mask.paths.append("policy")
    assert await caller.call("ReconfigureHost", changed)

    for method in ("StartQuery", "StartCheck", "StartUpdate"):
        request = request_of(f"/tendhost.v1.HostService/{method}")(name="web1")
        begun = await caller.call(method, request)
        assert begun, planted.told["errors"]
        await caller.ended(begun.operation.id)
    spec = rollout_pb2.RolloutSpec()
    begun = await caller.call("StartRollout", rollout_service_pb2.StartRolloutRequest(spec=spec))
    assert begun, planted.told["errors"]
    await planted.echo.asked(planted.canaries["hook.path"])


async def misuse(caller: Caller, token: str) -> None:
    """Put secrets where they do not belong, and credentials that are none."""
    planted = caller.planted
    info = request_of("/tendhost.v1.SystemService/GetServerInfo")()
    head, _, rest = token.rpartition("_")
    for wrong in (f"{head}_{rest[::-1]}", token[:-3], token + token, token.replace("tend", "TEND")):
        assert await caller.call("GetServerInfo", info, authorization=f"Bearer {wrong}") is None
    for other in (planted.plant("bearer"), f"Basic {planted.plant('basic')}"):
        assert await caller.call("GetServerInfo", info, authorization=other) is None
    for method in OURS:
        request = request_of(method)()
        name = method.rpartition("/")[2]
        for named in ("id", "name", "host", "group", "principal", "plan_id", "rollout_id"):
            if hasattr(request, named):
                setattr(request, named, token)
                await caller.call(name, request) if not name.startswith("Watch") else None
                request.ClearField(named)
    config = host_pb2.HostConfig(name="web2", address="127.0.0.1", port=1)
    config.ssh_key = planted.login_key.decode()
    request = host_service_pb2.RegisterHostRequest(config=config)
    assert await caller.call("RegisterHost", request) is None
    config.ssh_key = ""

    probe = health_pb2.HttpProbe(url=f"http://me:{planted.plant('check.password')}@127.0.0.1/")
    config.policy.health_checks.checks.add(http=probe)
    request = host_service_pb2.RegisterHostRequest(config=config)
    assert await caller.call("RegisterHost", request) is None


async def read_all(caller: Caller) -> None:
    """Every list, and whatever there is of the host; every event."""
    for method in OURS:
        name = method.rpartition("/")[2]
        request = request_of(method)()
        if name.startswith(READS):
            for named in ("name", "host"):
                if hasattr(request, named):
                    setattr(request, named, "web1")
            await caller.call(name, request)
    stream = caller.channel.unary_stream(
        "/tendhost.v1.EventService/WatchEvents",
        request_serializer=event_service_pb2.WatchEventsRequest.SerializeToString,
        response_deserializer=event_service_pb2.WatchEventsResponse.FromString,
    )(event_service_pb2.WatchEventsRequest(resume_after=0))
    async for message in stream:
        caller.planted.tell("events", *message.events)
        if message.revision >= message.current_revision:
            break
    stream.cancel()


async def commands(planted: Planted, address: str, token: str) -> None:
    """What `tendhost` says."""
    at = {"TENDHOST_SERVER": address, "TENDHOST_TOKEN": token}
    assert await tendhost(planted, "info", **at), planted.told["tendhost"]
    assert await tendhost(planted, "audit", **at), planted.told["tendhost"]
    at["TENDHOST_TOKEN"] = token[:-1] + ("0" if token[-1] != "0" else "1")
    assert not await tendhost(planted, "info", **at)


def server_commands(planted: Planted, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What `tendhostd` says and writes beside the server."""
    folder = planted.folder
    place = ("--config", str(file), "--state-dir", str(folder / "state"))
    export = ("audit", "export", str(folder / "audit.jsonl"))
    for line in (("check-config",), ("backup", str(folder / "copy.db")), export):
        assert main([*place, *line]) == 0
    said = capsys.readouterr()
    assert "hooks and health checks are in it in clear text" in said.out
    planted.tell("tendhostd", said.out, said.err)
    planted.tell("backup", (folder / "copy.db").read_bytes())
    planted.tell("audit", (folder / "audit.jsonl").read_bytes())


async def serve(planted: Planted, fleet: SimulatedFleet, file: Path) -> None:
    """All that a server with these settings is asked."""
    options = ("--config", str(file), "--log-level", "debug")
    socket = f"unix:{planted.folder}/s"
    async with (
        serving_process(
            planted.folder,
            *options,
            listen=f"{socket},127.0.0.1:0",
            auth="required",
            environment=planted.environment,
        ) as process,
        grpc.aio.insecure_channel(socket) as channel,
    ):
        caller = Caller(planted=planted, channel=channel)
        create = access_service_pb2.CreateTokenRequest(
            principal="ci",
            roles=[access_service_pb2.ROLE_ADMIN],
            request_id="c4a5ee1e-3f33-4d8a-9f50-6f6f1f0a0a01",
        )
        token = (await caller.call("CreateToken", create)).text
        planted.canaries["token"] = token.split("_")[2]
        planted.tell("answers", await caller.call("CreateToken", create))
        await use(caller, fleet)
        await misuse(caller, token)
        await commands(planted, process.address, token)
        ways = ("notify.path", "sink.path", "sink.query", "hook.path")
        await planted.echo.asked(*(planted.canaries[way] for way in ways))
        await read_all(caller)
        end = await process.ended_after(SIGTERM)
    assert "a call was refused" in end.stderr, "the log has debug lines"
    planted.tell("log", end.stderr)
    planted.tell("documents", *planted.echo.bodies)


@pytest.fixture
def fleet() -> Iterator[SimulatedFleet]:
    with SimulatedFleet({"web1": ("tb-simple",)}) as fleet:
        yield fleet


@pytest.fixture
def planted(tmp_path: Path, fleet: SimulatedFleet) -> Planted:
    return Planted(folder=tmp_path, login_key=fleet.private_key)


async def test_secrets__are_in_no_output(
    planted: Planted,
    fleet: SimulatedFleet,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    folder = planted.folder
    async with echoing() as planted.echo:
        file = planted.settings()
        await serve(planted, fleet, file)
    for name, value in planted.environment.items():
        monkeypatch.setenv(name, value)
    await asyncio.to_thread(server_commands, planted, file, capsys)
    planted.tell("process list", (folder / "hook").read_bytes())
    planted.tell("wave hook", (folder / "wave_hook").read_bytes())
    for stored in (folder / "state").rglob("*"):
        if stored.is_file():
            planted.tell("state folder", stored.read_bytes())
    assert sorted(planted.leaks(spared=SPARED)) == []
