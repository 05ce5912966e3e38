"""Access through a real channel: credentials, roles, and every method of the contract."""

import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pool
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2
from grpc_status import rpc_status

from tendhost.server.clock import SystemClock
from tendhost.server.domain.access.listen import listener_of
from tendhost.server.domain.access.roles import CallPermission, Role, permitted
from tendhost.server.domain.request_errors import ConfigurationError
from tendhost.server.rpc import server
from tendhost.server.rpc.listeners import bind
from tendhost.server.rpc.permissions import PERMISSIONS
from tendhost.v1 import access_service_pb2 as pb
from tendhost.v1 import event_service_pb2
from tests.rpc.api import Api, client, refusal
from tests.unit.engine.world import World

GUARDED = [method for method, needs in PERMISSIONS.items() if needs is not CallPermission.NOTHING]


PATIENCE_SECONDS = 60
WATCH = event_service_pb2.WatchEventsRequest(snapshot=True).SerializeToString()
"""Of an empty fleet, which is answered at once."""


@asynccontextmanager
async def guarded(world: World, folder: Path) -> AsyncIterator[tuple[Api, Api]]:
    """A server that asks for credentials: a client on its socket, and one on its port."""
    listeners = [listener_of(f"unix:{folder}/own/server.sock"), listener_of("127.0.0.1:0")]
    async with (
        world.running() as engine,
        server.serving(engine, listeners=listeners, socket_owner="owner") as (socket, port),
        client(world, socket) as owner,
        client(world, port) as other,
    ):
        yield owner, other


@pytest.fixture
async def doors(world: World, tmp_path: Path):
    async with guarded(world, tmp_path) as doors:
        yield doors


async def token(owner: Api, *roles: Any, **how: Any) -> tuple[pb.Token, tuple[tuple[str, str]]]:
    """A new token, and the metadata of a call with it."""
    response = await owner.access.CreateToken(
        pb.CreateTokenRequest(principal=how.pop("principal", "ci"), roles=roles, **how)
    )
    return response.token, bearer(response.text)


def bearer(text: str) -> tuple[tuple[str, str]]:
    return (("authorization", f"Bearer {text}"),)


async def code(channel: grpc.aio.Channel, method: str, metadata: Sequence[tuple[str, str]]) -> str:
    """The reason for which a method is refused that is called with an empty message; else its status."""
    request = WATCH if method.endswith("/WatchEvents") else b""
    call = channel.stream_stream(method, None, None)(
        iter([request]), metadata=metadata, timeout=PATIENCE_SECONDS
    )
    try:
        await call.read()
        call.cancel()
    except grpc.aio.AioRpcError as failed:
        status: Any = rpc_status.from_call(failed)  # type: ignore[arg-type]  # it reads what both have
        for detail in status.details if status else ():
            info = error_details_pb2.ErrorInfo()
            if detail.Unpack(info):
                return info.reason
        return failed.code().name
    return "OK"


# --- every method ---------------------------------------------------------------------------------


def test_every_method_of_every_service_is_in_the_table():
    pool = descriptor_pool.Default()
    served = {
        f"/{service}/{method.name}"
        for service in server.SERVICES
        for method in pool.FindServiceByName(service).methods
    }
    beside = {method for method in PERMISSIONS if not method.startswith("/tendhost.v1.")}
    assert set(PERMISSIONS) - beside == served
    assert {method.split("/")[1] for method in beside} == {
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    }


@pytest.mark.parametrize("method", GUARDED)
async def test_method__without_a_credential_is_refused(doors, method: str):
    _, other = doors
    assert await code(other.channel, method, ()) == "CREDENTIAL_MISSING"


async def test_methods__are_open_to_the_roles_of_the_table_and_closed_to_all_others(doors):
    owner, other = doors
    for role in Role:
        _, metadata = await token(owner, pb.Role.Value(f"ROLE_{role.upper()}"))
        for method, needs in PERMISSIONS.items():
            refused = await code(other.channel, method, metadata) == "PERMISSION_MISSING"
            assert refused is not permitted(needs, {role}), (role, method)


async def test_method__that_the_table_does_not_name_is_refused_to_everybody(doors, monkeypatch):
    owner, _ = doors
    method = "/tendhost.v1.HostService/ListHosts"
    monkeypatch.delitem(PERMISSIONS, method)
    assert await code(owner.channel, method, ()) == "PERMISSION_MISSING"


async def test_refusal__says_which_roles_permit_the_call(doors, monkeypatch):
    owner, other = doors
    _, metadata = await token(owner, pb.ROLE_VIEWER)
    refused = await refusal(other.access.ListTokens(pb.ListTokensRequest(), metadata=metadata))
    assert refused.text == (
        "ci may not call ListTokens: its roles are viewer, and it needs admin; ask an admin for that role: in another"
        " token (tendhost token create), or for a JWT at its issuer, or for a certificate in the configuration of the"
        " server"
    )
    monkeypatch.delitem(PERMISSIONS, "/tendhost.v1.AccessService/ListTokens")
    refused = await refusal(owner.access.ListTokens(pb.ListTokensRequest()))
    assert refused.text == "owner may not call ListTokens, which no role permits"


async def test_health__of_a_service_with_an_endless_name_is_refused_in_a_few_words(doors):
    _, other = doors
    check = other.channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await check(health_pb2.HealthCheckRequest(service="x" * 100_000))
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    assert (refused.value.details() or "").startswith("no service 'xxx")


async def test_socket__in_a_folder_of_somebody_else_is_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = tmp_path / "theirs"
    folder.mkdir(mode=0o777)
    if os.geteuid() == 0:
        os.chown(folder, 12345, 12345)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(ConfigurationError, match="belongs to root or to"):
        bind(
            grpc.aio.server(),
            [listener_of(f"unix:{folder}/server.sock")],
            None,
            clock=SystemClock(),
        )
    assert not list(folder.iterdir())


async def test_health__needs_no_credential(doors):
    _, other = doors
    check = other.channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    assert (await check(health_pb2.HealthCheckRequest())).status == 1


# --- who --------------------------------------------------------------------------------------------


async def test_socket__makes_its_owner_an_admin_whatever_name_is_claimed(doors):
    owner, _ = doors
    caller = await owner.access.GetCaller(
        pb.GetCallerRequest(), metadata=(("tendhost-user", "alice"),)
    )
    assert (caller.principal, caller.credential_kind) == ("owner", pb.CREDENTIAL_KIND_SOCKET)
    assert list(caller.roles) == [pb.ROLE_ADMIN]


async def test_socket__is_its_owners_alone(doors, tmp_path: Path):
    assert (tmp_path / "own/server.sock").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "own").stat().st_mode & 0o777 == 0o700


async def test_token__names_its_principal_and_is_shown_to_be_used(doors):
    owner, other = doors
    made, metadata = await token(owner, pb.ROLE_OPERATOR, description="nightly")
    caller = await other.access.GetCaller(pb.GetCallerRequest(), metadata=metadata)
    assert (caller.principal, caller.credential_id) == ("ci", made.id)
    (listed,) = (await owner.access.ListTokens(pb.ListTokensRequest())).tokens
    assert listed.HasField("last_used_at")
    assert (listed.description, listed.created_by) == ("nightly", "owner (unix:)")


async def test_token__that_was_deleted_is_refused_from_then_on(doors):
    owner, other = doors
    made, metadata = await token(owner, pb.ROLE_VIEWER)
    await owner.access.DeleteToken(pb.DeleteTokenRequest(id=made.id))
    refused = await refusal(other.access.GetCaller(pb.GetCallerRequest(), metadata=metadata))
    assert (refused.code, refused.reason) == (
        grpc.StatusCode.UNAUTHENTICATED,
        "CREDENTIAL_INVALID",
    )
    again = await refusal(owner.access.DeleteToken(pb.DeleteTokenRequest(id=made.id)))
    assert again.reason == "TOKEN_NOT_FOUND"


async def test_token__that_has_expired_is_refused(doors, world: World):
    owner, other = doors
    soon = Timestamp()
    soon.FromDatetime(world.clock.now() + timedelta(days=1))
    _, metadata = await token(owner, pb.ROLE_VIEWER, expires_at=soon)
    await other.access.GetCaller(pb.GetCallerRequest(), metadata=metadata)
    world.clock.set_off(timedelta(days=1))
    refused = await refusal(other.access.GetCaller(pb.GetCallerRequest(), metadata=metadata))
    assert "it expired at" in refused.text


async def test_token__outlives_the_server(world: World, tmp_path: Path):
    async with guarded(world, tmp_path) as (owner, _):
        _, metadata = await token(owner, pb.ROLE_VIEWER)
    async with guarded(world, tmp_path) as (_, other):
        caller = await other.access.GetCaller(pb.GetCallerRequest(), metadata=metadata)
        assert caller.principal == "ci"


def other_token(text: str) -> str:
    swapped = "a" if text[30] != "a" else "b"
    return text[:30] + swapped + text[31:]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (lambda text: [f"Bearer {text[:-1]}"], "67 characters"),
        (lambda text: [f"Bearer {text}{text}"], "136 characters"),
        (lambda text: [f"Bearer {other_token(text)}"], "checksum"),
        (lambda text: [text], "in the form 'Bearer TOKEN'"),
        (lambda text: [f"Basic {text}"], "in the form 'Bearer TOKEN'"),
        (lambda text: [f"Bearer {text}", f"Bearer {text}"], "given once"),
        (lambda text: [""], "in the form 'Bearer TOKEN'"),
        (lambda text: ["Bearer eyJhbGciOiJub25lIn0.e30."], "does not begin with tend_"),
    ],
)
async def test_wrong_token__is_refused_with_what_is_wrong_and_not_repeated(
    doors, given: Callable[[str], list[str]], words: str
):
    owner, other = doors
    _, metadata = await token(owner, pb.ROLE_ADMIN)
    text = metadata[0][1].removeprefix("Bearer ")
    wrong = tuple(("authorization", value) for value in given(text))
    refused = await refusal(other.access.GetCaller(pb.GetCallerRequest(), metadata=wrong))
    assert refused.reason == "CREDENTIAL_INVALID"
    assert words in refused.text
    assert text.split("_")[2][:20] not in refused.text


async def test_wrong_token__is_not_made_good_by_the_socket(doors):
    owner, _ = doors
    refused = await refusal(owner.access.GetCaller(pb.GetCallerRequest(), metadata=bearer("x")))
    assert refused.reason == "CREDENTIAL_INVALID"


async def test_creation__that_is_repeated_makes_no_second_token_and_stores_no_secret(doors):
    owner, _ = doors
    request = pb.CreateTokenRequest(
        principal="ci", roles=[pb.ROLE_VIEWER], request_id="5f9d9f6e-2b1c-4c5e-9a52-0d6f3f6f1a11"
    )
    first = await owner.access.CreateToken(request)
    second = await owner.access.CreateToken(request)
    assert first.token == second.token
    assert (first.text != "", second.text) == (True, "")
    assert len((await owner.access.ListTokens(pb.ListTokensRequest())).tokens) == 1


async def test_secret__of_a_token_is_nowhere_in_the_state_folder(world: World, tmp_path: Path):
    async with guarded(world, tmp_path) as (owner, other):
        _, metadata = await token(owner, pb.ROLE_VIEWER)
        await other.access.GetCaller(pb.GetCallerRequest(), metadata=metadata)
        secret = metadata[0][1].split("_")[2].encode()
        files = [path for path in world.directory.rglob("*") if path.is_file()]
        assert files
        assert not [path for path in files if secret in path.read_bytes()]


@pytest.mark.parametrize(
    ("how", "field"),
    [
        ({"principal": ""}, "principal"),
        ({"principal": "a b"}, "principal"),
        ({"principal": "a" * 65}, "principal"),
        ({"roles": []}, "roles"),
        ({"roles": [0]}, "roles[0]"),
        ({"roles": [99]}, "roles[0]"),
        ({"roles": [1, 1]}, "roles"),
        ({"description": "x" * 201}, "description"),
        ({"expires_at": Timestamp(seconds=1)}, "expires_at"),
        ({"expires_at": Timestamp(seconds=1 << 60)}, "expires_at"),
    ],
)
async def test_creation__of_an_unusable_token_is_refused(doors, how: dict[str, Any], field: str):
    owner, _ = doors
    request: dict[str, Any] = {"principal": "ci", "roles": [pb.ROLE_VIEWER], **how}
    refused = await refusal(owner.access.CreateToken(pb.CreateTokenRequest(**request)))
    assert refused.fields == [field]
    assert not (await owner.access.ListTokens(pb.ListTokensRequest())).tokens
