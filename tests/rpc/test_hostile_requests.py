"""Hostile text in every text field of every request: refused or stored, executed nowhere, and never INTERNAL.

The fields are those of the descriptors, so that a new one is tried without anybody thinking of it.
"""

from collections.abc import Iterator
from contextlib import suppress
from itertools import product
from typing import Any

import grpc
import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.field_mask_pb2 import FieldMask

from tendhost.server.domain.shell_words import quoted
from tendhost.server.remote.protocol import Completed
from tendhost.server.rpc.paging import token
from tendhost.v1.rollout_pb2 import RolloutSpec
from tendhost.v1.rollout_service_pb2 import PlanRolloutRequest, StartRolloutRequest
from tests.contract.client.mock_server import SERVICES
from tests.filled_messages import string_fields
from tests.rpc.api import Api
from tests.unit.engine.fake_host import Pending
from tests.unit.engine.fake_remote import FakeRemote

SIGN = ">/tmp/tendhost-canary"
INJECTIONS = (
    f"$(:{SIGN})",
    f"`:{SIGN}`",
    f"';:{SIGN};'",
    f'";:{SIGN};"',
    f"x\n:{SIGN}\n",
    f"--x;:{SIGN}|&",
    f"|| :{SIGN} #",
    f"/srv/it's $(:{SIGN})`:{SIGN}`;\"",
)
_METHODS = {
    f"{method.containing_service.name}.{method.name}": method
    for service in SERVICES
    for method in service.methods
}
Path = tuple[FieldDescriptor, ...]
_PLAUSIBLE = {
    "name": "web1",
    "host": "web1",
    "address": "web9.example.org",
    "sql": "SELECT 1",
    "cron": "0 3 * * 6",
    "time_zone": "UTC",
    "start": "02:00",
    "end": "04:00",
    "id": "0f0e0d0c-0b0a-4909-8807-060504030201",
    "waves": "1",
}


def _with(message: Any, path: Path, text: str) -> None:
    """Set the field at the end of `path` to `text`, and what is beside it on the way to something plausible."""
    field, *rest = path
    inner = field.message_type
    if inner is not None and inner.GetOptions().map_entry:
        getattr(message, field.name)[text] = text
    elif inner is None:
        value = getattr(message, field.name)
        if field.is_repeated:
            value.append(text)
        else:
            setattr(message, field.name, text)
    else:
        child = getattr(message, field.name)
        child = child.add() if field.is_repeated else child
        for beside in inner.fields:
            known = _PLAUSIBLE.get(beside.name)
            if known and beside.type == FieldDescriptor.TYPE_STRING and beside != rest[0]:
                if beside.is_repeated:
                    getattr(child, beside.name).append(known)
                elif beside.containing_oneof is None:
                    setattr(child, beside.name, known)
        _with(child, tuple(rest), text)


def _request(method: MethodDescriptor, path: Path, text: str) -> Any:
    request: Any = message_factory.GetMessageClass(method.input_type)()
    fields: Any = method.input_type.fields_by_name
    for name, known in _PLAUSIBLE.items():
        if name in fields and fields[name].type == FieldDescriptor.TYPE_STRING:
            setattr(request, name, known)
    _with(request, path, text)
    mask = fields.get("update_mask")
    if mask is not None and path[0].message_type is not None and path[0].name != "update_mask":
        request.update_mask.CopyFrom(FieldMask(paths=[path[1].name]))
    return request


def _paths(method: MethodDescriptor) -> Iterator[Path]:
    return string_fields(method.input_type)


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every command that a host was given."""
    commands: list[str] = []
    run = FakeRemote.run

    async def recorded(self: FakeRemote, command: str, **how: Any) -> Any:
        commands.append(command)
        if "part active " in command or "bounded=" in command:  # which no fake host knows
            return Completed(exit_status=1, stdout=b"", stderr=b"")
        return await run(self, command, **how)

    monkeypatch.setattr(FakeRemote, "run", recorded)
    return commands


def _loose(command: str) -> str:
    """The command without the injections that are words of it, also within words that hold a script."""
    for injection in INJECTIONS:
        forms = [injection]
        for _ in range(3):
            forms.append(quoted(forms[-1])[1:-1] if "'" in forms[-1] else forms[-1])
        for form in reversed(forms):
            for word in (f"'{form}'", quoted(form)):
                command = command.replace(word, "")
    return command


async def _asked(api: Api, method: MethodDescriptor, request: Any) -> grpc.StatusCode:
    path = f"/{method.containing_service.full_name}/{method.name}"
    kind = message_factory.GetMessageClass(method.output_type)
    how = {
        "request_serializer": type(request).SerializeToString,
        "response_deserializer": kind.FromString,
    }
    try:
        if method.server_streaming:
            call = api.channel.unary_stream(path, **how)(request, timeout=5)
            await call.read()
            call.cancel()
        else:
            await api.channel.unary_unary(path, **how)(request, timeout=5)
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


@pytest.mark.parametrize("name", _METHODS)
async def test_text_of_a_request__is_executed_nowhere_and_never_internal(
    api: Api, ran: list[str], name: str
) -> None:
    method = _METHODS[name]
    await api.register("web1")
    for path in _paths(method):
        for injection in INJECTIONS:
            code = await _asked(api, method, _request(method, path, injection))
            where = ".".join(field.name for field in path)
            assert code not in (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN), (
                where,
                injection,
            )
    assert not [command for command in ran if SIGN in _loose(command)]
    assert (await api.host("web1")).config.name == "web1"


async def test_text_that_a_host_is_registered_with__reaches_it_as_words_only(
    api: Api, ran: list[str]
) -> None:
    method = _METHODS["HostService.RegisterHost"]
    accepted = set()
    for number, (path, injection) in enumerate(product(_paths(method), INJECTIONS)):
        name = f"h{number}"
        fake = api.world.fleet.add(f"{name}.example.org")
        fake.pending = {"web": Pending()}
        request = _request(method, path, injection)
        where = ".".join(field.name for field in path)
        if where not in ("config.name", "config.address"):
            request.config.name, request.config.address = name, fake.address
        if await _asked(api, method, request) is grpc.StatusCode.OK:
            accepted.add(where)
            for start in ("StartQuery", "StartCheck", "StartUpdate"):
                with suppress(grpc.aio.AioRpcError):  # the host failed before
                    ended = await api.run(start, name)
                    assert "unexpected error" not in ended.problem.message, (where, injection)
    assert "config.compose_paths" in accepted
    assert not [command for command in ran if SIGN in _loose(command)]
    assert any(SIGN in command for command in ran)


MADE_UP = (
    "-" + "9" * 30,
    "9" * 30,
    "9" * 2000,
    "-1",
    "²",
    "٣",
    "\ud7ff\u202e",
    "a\x1b[2J",
    "[" * 2000,
    f'[{"9" * 30}, -{"9" * 30}, {"9" * 30}, "a", "b"]',
    '[true, -1, 0, "\\ud800", "\\u0000"]',
    '{"a": 1}',
    "null",
    "NaN",
)
"""Positions that no server gives. A token holds no secret, so that a client can make one up."""
_LISTS = [
    name for name, method in _METHODS.items() if "page_token" in method.input_type.fields_by_name
]


@pytest.mark.parametrize("name", _LISTS)
async def test_page_token__that_somebody_made_up_is_refused_or_read(api: Api, name: str) -> None:
    method = _METHODS[name]
    await api.register("web1")
    plan = await api.rollouts.PlanRollout(PlanRolloutRequest(spec=RolloutSpec(waves=["1"])))
    started = await api.rollouts.StartRollout(StartRolloutRequest(plan_id=plan.plan.id))
    for last in MADE_UP:
        request: Any = message_factory.GetMessageClass(method.input_type)()
        fields = method.input_type.fields_by_name
        if "name" in fields:
            request.name = "web1"
        if "plan_id" in fields:
            request.plan_id = plan.plan.id
        if "id" in fields:
            request.id = started.rollout.id
        request.page_token = token(request, last)
        for text in (request.page_token, last.encode("utf-8", "replace").decode()):
            request.page_token = text
            code = await _asked(api, method, request)
            assert code in (grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT), (last, code)
