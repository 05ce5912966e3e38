"""The server as such: deadlines, sizes, faults, health, reflection, what is not implemented, the end."""

import asyncio
import logging
import socket
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import AsyncMock

import grpc
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2

from tendhost.server.domain.request_errors import ConfigurationError, HostNotFound
from tendhost.server.engine.audit_sinks import AuditSinks
from tendhost.server.engine.duties import Duties
from tendhost.server.engine.loop_monitor import LoopMonitor
from tendhost.server.engine.store_watch import PROBE_PAUSE
from tendhost.server.rpc.server import SERVICES
from tendhost.server.rpc.services import system
from tendhost.server.store.records import Unstorable
from tendhost.server.store.sqlite import SqliteStore
from tendhost.v1 import (
    event_service_pb2,
    host_service_pb2,
    operation_service_pb2,
    rollout_service_pb2,
    system_service_pb2,
)
from tendhost.v1.host_pb2 import HostConfig
from tendhost.v1.operation_pb2 import OPERATION_STATUS_CANCELLED, OPERATION_STATUS_SUCCEEDED
from tests.rpc.api import Api, client, refusal
from tests.rpc.open_server import serving
from tests.unit.engine.fake_command import Command
from tests.unit.engine.world import World


async def heard(api: Api) -> None:
    """Return once the server has heard all that was sent over the connection before."""
    for _ in range(2):
        await api.system.GetServerInfo(system_service_pb2.GetServerInfoRequest())


async def test_methods__are_found_by_the_path_of_a_call_alone(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    def registered(*_: object) -> None:
        pytest.fail("grpc.aio serves each registered method in a turn of its own")

    monkeypatch.setattr(grpc.aio.Server, "add_registered_method_handlers", registered)
    async with (
        world.running() as engine,
        serving(engine) as address,
        client(world, address) as api,
    ):
        await heard(api)


# --- clients that go ------------------------------------------------------------------------------


async def test_a_client_that_gives_up_does_not_stop_what_it_began(api: Api):
    await api.register("web1")
    begun = api.world.store.hold_after_commit(lambda change: bool(change.operations))
    call = api.hosts.StartCheck(host_service_pb2.StartCheckRequest(name="web1"))
    waiting = asyncio.ensure_future(call.code())
    await api.world.reached(begun)  # it is stored, and the server is about to take it up
    call.cancel()
    assert await waiting is grpc.StatusCode.CANCELLED
    await heard(api)
    (stored,) = (await api.world.store.operations(limit=1)).items
    begun.released.set()
    assert (await api.ended(stored.id)).status == OPERATION_STATUS_SUCCEEDED
    assert (await api.run("StartCheck")).status == OPERATION_STATUS_SUCCEEDED


async def test_a_deadline_ends_the_wait_and_not_the_work(api: Api):
    fake = await api.register("web1")
    hold = fake.hold(Command.UNITS)
    id = await api.started("StartCheck")
    await api.world.reached(hold)
    request = operation_service_pb2.WaitOperationRequest(id=id)
    waited = await refusal(api.operations.WaitOperation(request, timeout=0.05))
    assert waited.code is grpc.StatusCode.DEADLINE_EXCEEDED
    hold.released.set()
    assert (await api.ended(id)).status == OPERATION_STATUS_SUCCEEDED


async def test_a_client_that_gives_up_a_cancellation_has_cancelled_all_the_same(api: Api):
    fake = await api.register("web1")
    hold = fake.hold(Command.PREFLIGHT)
    id = await api.started("StartUpdate")
    await api.world.reached(hold)
    marked = api.world.store.hold_after_commit(
        lambda change: any(o.cancel_requested_by for o in change.operations)
    )
    call = api.operations.CancelOperation(operation_service_pb2.CancelOperationRequest(id=id))
    waiting = asyncio.ensure_future(call.code())
    await api.world.reached(marked)
    call.cancel()
    assert await waiting is grpc.StatusCode.CANCELLED
    await heard(api)
    marked.released.set()
    hold.released.set()
    assert (await api.ended(id)).status == OPERATION_STATUS_CANCELLED


async def test_a_client_that_gives_up_a_rollout_has_started_it_all_the_same(api: Api):
    await api.register("web1")
    begun = api.world.store.hold_after_commit(lambda change: bool(change.rollouts))
    call = api.rollouts.StartRollout(rollout_service_pb2.StartRolloutRequest())
    waiting = asyncio.ensure_future(call.code())
    await api.world.reached(begun)
    call.cancel()
    assert await waiting is grpc.StatusCode.CANCELLED
    await heard(api)
    (stored,) = (await api.world.store.rollouts(limit=1)).items
    begun.released.set()
    assert (await api.world.rollout_ended(stored.id)).progress.completed == 1


async def test_event_loop_lag__is_told_by_a_server_that_measures_it(
    api: Api, world: World, monkeypatch: pytest.MonkeyPatch
):
    absent = await api.system.GetServerInfo(system_service_pb2.GetServerInfoRequest())
    assert not absent.HasField("event_loop_lag")
    monitor = LoopMonitor(now=iter((0.0, 0.15, 0.2)).__next__, cpu=lambda: 0.0)
    monitor.beat()
    watched: Any = SimpleNamespace(
        store=world.store,
        notifier=SimpleNamespace(delivery_status=()),
        audit_sinks=AuditSinks((), store=world.store, duties=cast(Duties, None), clock=world.clock),
        pruner=SimpleNamespace(problem=AsyncMock(return_value="")),
        loop_monitor=monitor,
        store_watch=SimpleNamespace(problem=""),
        certificates=SimpleNamespace(expiries=()),
    )
    monkeypatch.setattr(system, "caller", lambda: SimpleNamespace(scope=None))
    info = await system.SystemServicer(watched, open_access=False).GetServerInfo(
        system_service_pb2.GetServerInfoRequest(), None
    )
    assert info.event_loop_lag.max.ToMilliseconds() == 100
    assert info.event_loop_lag.p99.ToMilliseconds() == 100


# --- faults ---------------------------------------------------------------------------------------


async def test_a_fault_of_the_server_tells_a_client_nothing_of_its_inside(
    api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    async def broken(*_: object) -> None:
        raise RuntimeError("the password is swordfish")

    monkeypatch.setattr(api.world.store.behind, "count_hosts", broken)
    refused = await refusal(api.system.GetServerInfo(system_service_pb2.GetServerInfoRequest()))
    assert (refused.code, refused.reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")
    assert "swordfish" not in refused.text
    assert refused.facts == {}
    assert "swordfish" in caplog.text
    assert any("GetServerInfo" in getattr(record, "method", "") for record in caplog.records)


async def test_a_store_that_cannot_be_used_says_when_to_try_again(api: Api):
    await api.register("web1")
    api.world.store.outage = True
    request = host_service_pb2.StartCheckRequest(name="web1")
    refused = await refusal(api.hosts.StartCheck(request))
    api.world.store.outage = False
    assert (refused.code, refused.reason) == (
        grpc.StatusCode.UNAVAILABLE,
        "STORE_UNAVAILABLE",
    )
    assert refused.kinds == ["ErrorInfo", "RetryInfo"]
    assert (await api.run("StartCheck")).status == OPERATION_STATUS_SUCCEEDED


async def test_a_refused_call_is_no_error_in_the_log(api: Api, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    await refusal(api.hosts.GetHost(host_service_pb2.GetHostRequest(name="nobody")))
    (record,) = [r for r in caplog.records if r.name.startswith("tendhost.server.rpc")]
    assert (record.levelname, record.__dict__["reason"]) == ("INFO", HostNotFound.reason)


async def test_a_request_of_two_mebibytes_is_refused(api: Api):
    config = HostConfig(name="web1", address="web1.example.org", ssh_key="/" + "k" * (2 << 20))
    request = host_service_pb2.RegisterHostRequest(config=config)
    refused = await refusal(api.hosts.RegisterHost(request))
    assert refused.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert (await api.register("web1")).ran == []  # the connection is as good as before


async def test_a_method_that_does_not_exist_is_unimplemented(api: Api):
    call = api.channel.unary_unary("/tendhost.v1.HostService/Explode", bytes, bytes)
    assert (await refusal(call(b""))).code is grpc.StatusCode.UNIMPLEMENTED


async def test_bytes_that_are_no_message_are_refused_and_do_no_harm(api: Api):
    for method in ("HostService/GetHost", "EventService/WatchEvents"):
        call = api.channel.unary_unary(f"/tendhost.v1.{method}", bytes, bytes)
        refused = await refusal(call(b"\xff\xff\xff\xff"))
        assert (refused.code, refused.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["request"])


# --- what the server says of itself ---------------------------------------------------------------


async def test_the_server_says_what_it_is_and_how_much_it_knows(api: Api):
    before = await api.system.GetServerInfo(system_service_pb2.GetServerInfoRequest())
    assert (before.host_count, before.revision) == (0, 0)
    await api.register("web1")
    after = await api.system.GetServerInfo(system_service_pb2.GetServerInfoRequest())
    assert (after.host_count, after.revision) == (1, 1)
    assert after.log_id == before.log_id != ""
    assert after.version


@pytest.mark.parametrize("service", ["", *SERVICES])
async def test_every_service_is_healthy_while_it_serves(api: Api, service: str):
    stub = health_pb2_grpc.HealthStub(api.channel)
    answer = await stub.Check(health_pb2.HealthCheckRequest(service=service))
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_health__is_not_serving_while_the_store_cannot_be_used(api: Api, world: World):
    def switch(*, on: bool) -> None:
        """Have every write to the database refused, as on a disk that was mounted read-only."""
        writer = cast(SqliteStore, world.store.behind)._writer
        writer._database.execute(f"PRAGMA query_only = {on:d}")

    async def info() -> Any:
        return await api.system.GetServerInfo(system_service_pb2.GetServerInfoRequest())

    await api.register("web1")
    stub: Any = health_pb2_grpc.HealthStub(api.channel)
    for service in ("", SERVICES[0]):
        watch = stub.Watch(health_pb2.HealthCheckRequest(service=service))
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        assert (await info()).store_problem == ""
        switch(on=True)
        request = host_service_pb2.StartCheckRequest(name="web1")
        assert (await refusal(api.hosts.StartCheck(request))).reason == "STORE_UNAVAILABLE"
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        answer = await stub.Check(health_pb2.HealthCheckRequest(service=service))
        assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert "readonly" in (await info()).store_problem
        assert (await info()).host_count == 1, "what can be read is told"
        switch(on=False)
        world.clock.advance(PROBE_PAUSE)
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        watch.cancel()


async def test_health__does_not_turn_for_one_change_that_cannot_be_stored(api: Api, world: World):
    store = cast(SqliteStore, world.store.behind)
    with pytest.raises(Unstorable):
        await store._writer.submit(lambda database: 1 // 0)
    assert not await store.until_unusable(timeout=timedelta())
    stub: Any = health_pb2_grpc.HealthStub(api.channel)
    answer = await stub.Check(health_pb2.HealthCheckRequest())
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_the_health_of_a_service_that_is_none_is_not_found(api: Api):
    stub = health_pb2_grpc.HealthStub(api.channel)
    refused = await refusal(stub.Check(health_pb2.HealthCheckRequest(service="nothing")))
    assert refused.code is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
@pytest.mark.parametrize(
    "symbol", ["tendhost.v1.HostService", "tendhost.v1.HostService.ListHosts", "tendhost.v1.Host"]
)
async def test_reflection_lists_the_services_and_describes_them(
    api: Api, version: str, symbol: str
):
    ask = api.channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    requests = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol=symbol),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol="tendhost.v1.Nothing"),
    ]
    listed, described, unknown = [answer async for answer in ask(iter(requests))]
    names = {service.name for service in listed.list_services_response.service}
    assert {*SERVICES, "grpc.health.v1.Health", f"grpc.reflection.{version}.ServerReflection"} <= (
        names
    )
    assert any(
        symbol.rsplit(".", maxsplit=1)[-1].encode() in file
        for file in described.file_descriptor_response.file_descriptor_proto
    )
    assert unknown.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]


async def reflected(api: Api, symbol: str) -> list[descriptor_pb2.FileDescriptorProto]:
    """The files that reflection answers with, the one asked for and what it imports."""
    ask = api.channel.stream_stream(
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    call = ask(iter([reflection_pb2.ServerReflectionRequest(file_containing_symbol=symbol)]))
    (answer,) = [answer async for answer in call]
    assert not answer.HasField("error_response"), answer
    files = answer.file_descriptor_response.file_descriptor_proto
    return [descriptor_pb2.FileDescriptorProto.FromString(file) for file in files]


async def test_reflection__describes_every_service_that_it_lists(api: Api):
    ask = api.channel.stream_stream(
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    call = ask(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
    (listed,) = [answer async for answer in call]
    names = [service.name for service in listed.list_services_response.service]
    assert len(names) == len(SERVICES) + 3
    for name in names:
        # A client builds a pool of what it gets, in which every type that is named has to be.
        pool = descriptor_pool.DescriptorPool()
        files = await reflected(api, name)
        added: set[str] = set()
        while len(added) < len(files):
            ready = [f for f in files if f.name not in added and {*f.dependency} <= added]
            assert ready, f"{name}: files that it imports are missing"
            for file in ready:
                pool.Add(file)
                added.add(file.name)
        for method in pool.FindServiceByName(name).methods:
            assert (await reflected(api, method.full_name))[0].name
            assert method.input_type.full_name
            assert method.output_type.full_name


async def test_reflection__tells_the_comments_of_the_contract(api: Api):
    files = await reflected(api, "tendhost.v1.HostService.GetHost")
    comments = [location.leading_comments for location in files[0].source_code_info.location]
    assert any("Returns one host. NOT_FOUND." in comment for comment in comments)
    for file in files:
        if file.name.startswith("tendhost/"):
            assert file.source_code_info.location, f"{file.name} has no comments"


# --- its beginning and its end --------------------------------------------------------------------


async def test_an_address_that_is_taken_is_refused(world: World):
    async with world.running() as engine, serving(engine, "127.0.0.1:0") as address:
        with pytest.raises(ConfigurationError, match="not in use"):
            async with serving(engine, address):
                raise AssertionError("two servers on one address")


async def test_an_address_of_which_somebody_else_has_a_part_is_refused(world: World):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        async with world.running() as engine:
            with pytest.raises(ConfigurationError, match=r"not in use .Address already in use"):
                async with serving(engine, f"localhost:{other.getsockname()[1]}"):
                    raise AssertionError("clients would call somebody else's server")


async def test_a_socket_in_a_folder_that_takes_none_is_refused_with_the_reason(world: World):
    async with world.running() as engine:
        with pytest.raises(ConfigurationError, match=r"not in use \(No such file or directory\)"):
            async with serving(engine, "unix:/proc/tendhost.sock"):
                raise AssertionError("/proc takes no sockets")


async def test_a_file_in_the_place_of_a_socket_stays(world: World):
    file = world.directory / "tendhost.sock"
    file.write_text("mine")
    async with world.running() as engine:
        with pytest.raises(ConfigurationError, match="something else is there"):
            async with serving(engine, f"unix:{file}"):
                raise AssertionError("the file is gone")
    assert file.read_text() == "mine"


async def test_a_server_on_a_unix_socket_serves(world: World):
    address = f"unix:{world.directory}/tendhost.sock"
    async with (
        world.running() as engine,
        serving(engine, address) as bound,
        client(world, bound) as api,
    ):
        assert bound == address
        assert (await api.register("web1")).ran == []


async def test_a_server_that_stops_turns_its_health_and_ends_its_waits(world: World):
    async with world.running() as engine:
        async with serving(engine, "127.0.0.1:0") as address:
            connection = client(world, address)
            api = await connection.__aenter__()
            fake = await api.register("web1")
            hold = fake.hold(Command.UNITS)
            id = await api.started("StartCheck")
            await world.reached(hold)
            request = operation_service_pb2.WaitOperationRequest(id=id)
            waiting = asyncio.ensure_future(api.operations.WaitOperation(request))
            watching = api.events.WatchEvents(event_service_pb2.WatchEventsRequest())
            await watching.read()
            health = health_pb2_grpc.HealthStub(api.channel).Watch(health_pb2.HealthCheckRequest())
            assert (await health.read()).status == health_pb2.HealthCheckResponse.SERVING
        # Neither has come to its end, and both say so; the watch tells where it is first.
        assert (await refusal(waiting)).reason == "SERVER_STOPPING"
        assert (await watching.read()).revision > 0
        refused = await refusal(watching.read())
        assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "SERVER_STOPPING")
        assert refused.kinds == ["ErrorInfo", "RetryInfo"]
        assert (await health.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        await connection.__aexit__(None, None, None)
        hold.released.set()
        await world.ended(id)
