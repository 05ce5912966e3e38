"""Records the database of a server, and what the server answers from it, for tests of upgrades.

    python -m tests.rpc.record_database FOLDER

runs the server of this checkout on simulated hosts, and writes FOLDER/schema-N.sql and FOLDER/schema-N.json. Do that
for each release; what an older one wrote is never written again. tests/rpc/test_upgrades.py reads both.
"""

import asyncio
import base64
import json
import sqlite3
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from tendhost.v1 import (
    event_service_pb2,
    event_service_pb2_grpc,
    host_pb2,
    host_service_pb2,
    host_service_pb2_grpc,
    operation_service_pb2,
    operation_service_pb2_grpc,
    policy_service_pb2,
    policy_service_pb2_grpc,
    rollout_pb2,
    rollout_service_pb2,
    rollout_service_pb2_grpc,
    schedule_pb2,
    schedule_service_pb2,
    schedule_service_pb2_grpc,
    selection_service_pb2,
    selection_service_pb2_grpc,
)
from tests.simulated import SimulatedFleet

PACKAGES = {
    "web1": ("tb-simple", "tb-secure"),
    "web2": ("tb-simple", "tb-kernel"),
    "db1": ("tb-held",),
}


class Calls:
    """The calls of a client, as messages or as plain values."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.hosts: Any = host_service_pb2_grpc.HostServiceStub(channel)
        self.operations: Any = operation_service_pb2_grpc.OperationServiceStub(channel)
        self.rollouts: Any = rollout_service_pb2_grpc.RolloutServiceStub(channel)
        self.schedules: Any = schedule_service_pb2_grpc.ScheduleServiceStub(channel)
        self.selections: Any = selection_service_pb2_grpc.SelectionServiceStub(channel)
        self.policies: Any = policy_service_pb2_grpc.PolicyServiceStub(channel)
        self.events: Any = event_service_pb2_grpc.EventServiceStub(channel)

    async def ended(self, id: str) -> None:
        request = operation_service_pb2.WaitOperationRequest(id=id)
        while not (await self.operations.WaitOperation(request)).operation.HasField("ended_at"):
            pass

    async def everything(self) -> Mapping[str, Any]:
        """All that is stored, as far as clients get it."""
        hosts = await self.hosts.ListHosts(host_service_pb2.ListHostsRequest())
        operations = await self.operations.ListOperations(
            operation_service_pb2.ListOperationsRequest(page_size=500)
        )
        rollouts = await self.rollouts.ListRollouts(rollout_service_pb2.ListRolloutsRequest())
        return {
            "hosts": plain(hosts.hosts),
            "inventories": [
                plain(
                    await self.hosts.GetInventory(
                        host_service_pb2.GetInventoryRequest(name=host.config.name)
                    )
                )
                for host in hosts.hosts
            ],
            "operations": plain(operations.operations),
            "logs": [await self.log(operation.id) for operation in operations.operations],
            "rollouts": [await self.rollout(rollout.id) for rollout in rollouts.rollouts],
            "schedules": plain(
                (
                    await self.schedules.ListSchedules(schedule_service_pb2.ListSchedulesRequest())
                ).schedules
            ),
            "selections": plain(
                (
                    await self.selections.ListSelections(
                        selection_service_pb2.ListSelectionsRequest()
                    )
                ).selections
            ),
            "policies": plain(
                (
                    await self.policies.ListPolicies(policy_service_pb2.ListPoliciesRequest())
                ).policies
            ),
            "events": await self.all_events(),
        }

    async def log(self, id: str) -> str:
        request = operation_service_pb2.WatchOperationRequest(id=id)
        parts = [message.log.data async for message in self.operations.WatchOperation(request)]
        return b"".join(parts).decode("utf-8", "replace")

    async def rollout(self, id: str) -> Mapping[str, Any]:
        request = rollout_service_pb2.WatchRolloutRequest(id=id)
        members: dict[str, Any] = {}
        last = rollout_pb2.Rollout()
        async for message in self.rollouts.WatchRollout(request):
            members.update((member.host, plain(member)) for member in message.hosts)
            last = message.rollout
        return {"rollout": plain(last), "hosts": [members[name] for name in sorted(members)]}

    async def all_events(self) -> list[Any]:
        found: list[Any] = []
        stream = self.events.WatchEvents(event_service_pb2.WatchEventsRequest(resume_after=0))
        current = None
        async for message in stream:
            current = message.current_revision if current is None else current
            found += plain(message.events)
            if message.revision >= current:
                break
        stream.cancel()
        return found


def plain(value: Message | Sequence[Message]) -> Any:
    """A message as plain values."""
    if isinstance(value, Message):
        return MessageToDict(value)
    return [MessageToDict(each) for each in value]


async def _live(calls: Calls, fleet: SimulatedFleet) -> None:
    """A server's life: hosts, updates, a rollout, and everything that users store."""
    for host in fleet.hosts:
        config = host_pb2.HostConfig(
            name=host.name,
            address=host.address,
            port=host.port,
            user="root",
            tags=["zone=a", host.name.rstrip("12")],
            groups=["production"],
        )
        await calls.hosts.RegisterHost(host_service_pb2.RegisterHostRequest(config=config))
    policy = policy_service_pb2.SetPolicyRequest()
    policy.policy.group = "staging"  # which has no hosts: simulated ones run no hooks
    policy.policy.hooks.post.script = "true"
    await calls.policies.SetPolicy(policy)
    filter = host_pb2.HostFilter(all_tags=["web"])
    await calls.selections.CreateSelection(
        selection_service_pb2.CreateSelectionRequest(name="webs", filter=filter)
    )
    spec = schedule_pb2.ScheduleSpec(name="yearly", cron="0 3 1 1 *", time_zone="Europe/Vienna")
    spec.rollout.waves.append("1")
    await calls.schedules.CreateSchedule(schedule_service_pb2.CreateScheduleRequest(spec=spec))
    # Its run would be missed by a server that reads the recording later.
    await calls.schedules.PauseSchedule(schedule_service_pb2.PauseScheduleRequest(name="yearly"))
    for start in (
        calls.hosts.StartUpdate(host_service_pb2.StartUpdateRequest(name="db1", dry_run=True)),
        calls.hosts.StartQuery(host_service_pb2.StartQueryRequest(name="web2")),
        calls.hosts.StartUpdate(host_service_pb2.StartUpdateRequest(name="web1")),
    ):
        await calls.ended((await start).operation.id)
    rollout = rollout_pb2.RolloutSpec(filter=filter, waves=["1", "rest"])
    started = await calls.rollouts.StartRollout(
        rollout_service_pb2.StartRolloutRequest(spec=rollout)
    )
    await calls.rollout(started.rollout.id)


async def _record(folder: Path, state: Path, fleet: SimulatedFleet) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tendhost.server.main", "--listen", f"unix:{state}/socket"),
        *("--state-dir", str(state)),
        env={
            "HOME": str(state),
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": ":".join(sys.path),
            "TENDHOST_SSH_KEY": base64.b64encode(fleet.private_key).decode(),
        },
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        address = (await process.stdout.readline()).decode().split()[-1]
        async with asyncio.timeout(60), grpc.aio.insecure_channel(address) as channel:
            await _live(Calls(channel), fleet)
            answers = await Calls(channel).everything()
    finally:
        process.terminate()
        await process.wait()
    database = sqlite3.connect(state / "tendhost.db")
    (schema,) = database.execute("PRAGMA user_version").fetchone()
    (application,) = database.execute("PRAGMA application_id").fetchone()
    lines = [*database.iterdump(), f"PRAGMA user_version = {schema};"]
    lines += [f"PRAGMA application_id = {application};"] if application else []
    target = folder / f"schema-{schema}"
    target.with_suffix(".sql").write_text("\n".join(lines) + "\n", encoding="utf-8")
    text = json.dumps(answers, indent=1, sort_keys=True)
    target.with_suffix(".json").write_text(text + "\n", encoding="utf-8")


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as state, SimulatedFleet(PACKAGES) as fleet:
        asyncio.run(_record(folder, Path(state), fleet))


if __name__ == "__main__":
    main()
