"""The service config that any gRPC client can load: what is repeated, and how long a call may take."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import MethodDescriptor

from tendhost.server.rpc.server import SERVICES
from tendhost.v1 import host_service_pb2 as pb
from tendhost.v1 import host_service_pb2_grpc
from tests.conftest import ROOT

CONFIG = ROOT / "protos/tendhost/v1/service_config.json"


def methods() -> list[MethodDescriptor]:
    pool = descriptor_pool.Default()
    return [method for name in SERVICES for method in pool.FindServiceByName(name).methods]


def configs() -> list[tuple[str, dict[str, Any]]]:
    """The config of each method, by its full name."""
    stored = json.loads(CONFIG.read_text())["methodConfig"]
    return [(f"{n['service']}.{n['method']}", part) for part in stored for n in part["name"]]


def test_config__has_each_method_of_the_contract_once() -> None:
    assert Counter(name for name, _ in configs()) == Counter(m.full_name for m in methods())


def test_config__repeats_what_changes_nothing_and_only_that() -> None:
    config = dict(configs())
    for method in methods():
        changes = "request_id" in method.input_type.fields_by_name
        assert ("retryPolicy" in config[method.full_name]) is not changes, method.full_name
        assert ("timeout" in config[method.full_name]) is not method.server_streaming


async def test_config__is_taken_by_a_client_whose_reads_are_then_repeated(tmp_path: Path) -> None:
    asked: list[str] = []

    class Starting(host_service_pb2_grpc.HostServiceServicer):
        """Answers from the third question on, as a server that is being started again."""

        async def ListGroups(self, request: Any, context: Any) -> pb.ListGroupsResponse:
            asked.append("read")
            if len(asked) < 3:
                await context.abort(grpc.StatusCode.UNAVAILABLE, "starting")
            return pb.ListGroupsResponse()

        async def StartReboot(self, request: Any, context: Any) -> pb.StartRebootResponse:
            asked.append("reboot")
            await context.abort(grpc.StatusCode.UNAVAILABLE, "starting")
            raise AssertionError("abort raises")

    server = grpc.aio.server()
    host_service_pb2_grpc.add_HostServiceServicer_to_server(
        Starting(),  # type: ignore[abstract]  # two methods are enough here
        server,
    )
    address = f"unix:{tmp_path}/socket"
    server.add_insecure_port(address)
    await server.start()
    options = [("grpc.service_config", CONFIG.read_text())]
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        hosts = host_service_pb2_grpc.HostServiceStub(channel)
        await hosts.ListGroups(pb.ListGroupsRequest())
        assert asked == ["read"] * 3
        try:
            await hosts.StartReboot(pb.StartRebootRequest(name="web1"))
        except grpc.aio.AioRpcError as refused:
            assert refused.code() is grpc.StatusCode.UNAVAILABLE  # noqa: PT017
        assert asked == ["read"] * 3 + ["reboot"]
    await server.stop(None)
