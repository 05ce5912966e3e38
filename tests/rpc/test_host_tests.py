"""TestHost over a real channel: what fails on the host is in the response, and nothing is stored."""

from collections.abc import Callable

import grpc
import pytest

from tendhost.server.domain.hosts.host_keys import fingerprint
from tendhost.v1 import host_service_pb2 as pb
from tendhost.v1.host_pb2 import HOST_STATE_FAILED, HOST_STATE_QUERYING
from tendhost.v1.operation_service_pb2 import ListOperationsRequest
from tendhost.v1.system_service_pb2 import GetServerInfoRequest
from tests.rpc.api import Api, refusal
from tests.unit.engine.fake_command import Command
from tests.unit.engine.fake_host import KEY, OTHER_KEY, FakeHost


async def answer_of(api: Api, name: str = "web1") -> pb.TestHostResponse:
    response = await api.hosts.TestHost(pb.TestHostRequest(name=name))
    assert isinstance(response, pb.TestHostResponse)
    return response


async def revision(api: Api) -> int:
    return int((await api.system.GetServerInfo(GetServerInfoRequest())).revision)


async def test_a_test__of_a_host_that_works_has_every_fact_and_stores_nothing(api: Api):
    fake = await api.register("web1")
    before = (await api.host(), await revision(api))
    found = await answer_of(api)
    assert (found.reachable, found.logged_in, found.user) == (True, True, "root")
    assert (found.host_key_fingerprint, found.host_key_pinned) == (fingerprint(KEY), True)
    assert found.root_access == pb.ROOT_ACCESS_ROOT
    assert found.HasField("duration")
    assert not found.HasField("problem")
    assert fake.ran == [Command.LOGIN]
    assert (await api.host(), await revision(api)) == before
    assert not (await api.operations.ListOperations(ListOperationsRequest())).operations
    assert api.world.fleet.open_connections == 0


def unreachable(host: FakeHost) -> None:
    host.reachable = False


def other_key(host: FakeHost) -> None:
    host.key = OTHER_KEY


def refuses_key(host: FakeHost) -> None:
    host.accepts_key = False


def no_shell(host: FakeHost) -> None:
    host.garbles = Command.LOGIN


def cut(host: FakeHost) -> None:
    host.cut_during = Command.LOGIN


def unprivileged(host: FakeHost) -> None:
    host.privileged = False


@pytest.mark.parametrize(
    ("breaks", "reason", "shown", "pinned", "logged_in"),
    [
        (unreachable, "HOST_UNREACHABLE", "", False, False),
        (other_key, "HOST_KEY_CHANGED", fingerprint(OTHER_KEY), False, False),
        (refuses_key, "AUTHENTICATION_REFUSED", fingerprint(KEY), True, False),
        (no_shell, "SHELL_UNUSABLE", fingerprint(KEY), True, True),
        (cut, "LINK_LOST", fingerprint(KEY), True, True),
        (unprivileged, "PRIVILEGE_MISSING", fingerprint(KEY), True, True),
    ],
    ids=["unreachable", "key", "login", "shell", "link", "root"],
)
async def test_a_test__of_a_host_that_fails_is_an_answer_with_its_problem(
    api: Api,
    breaks: Callable[[FakeHost], None],
    reason: str,
    shown: str,
    pinned: bool,
    logged_in: bool,
):
    fake = await api.register("web1")
    before = (await api.host(), await revision(api))
    breaks(fake)
    found = await answer_of(api)
    assert (found.problem.reason, found.problem.facts["host"]) == (reason, "web1")
    assert "web1" in found.problem.message
    assert found.reachable is bool(shown)
    assert (found.host_key_fingerprint, found.host_key_pinned) == (shown, pinned)
    assert found.logged_in is logged_in
    none = reason == "PRIVILEGE_MISSING"
    assert found.root_access == (pb.ROOT_ACCESS_NONE if none else pb.ROOT_ACCESS_UNSPECIFIED)
    assert found.user == ("alex" if none else "")
    assert (await api.host(), await revision(api)) == before
    assert api.world.fleet.open_connections == 0


async def test_a_test__works_on_a_busy_host_and_on_one_that_has_failed(api: Api):
    fake = await api.register("web1")
    hold = fake.hold(Command.QUERY)
    id = await api.started("StartQuery")
    await api.world.reached(hold)
    assert not (await answer_of(api)).HasField("problem")
    assert (await api.host()).status.state == HOST_STATE_QUERYING
    fake.accepts_key = False
    fake.cut_during = Command.QUERY
    hold.released.set()
    await api.ended(id)
    await api.run("StartUpdate")
    assert (await api.host()).status.state == HOST_STATE_FAILED
    assert (await answer_of(api)).problem.reason == "AUTHENTICATION_REFUSED"
    fake.accepts_key = True
    assert not (await answer_of(api)).HasField("problem")
    assert (await api.host()).status.state == HOST_STATE_FAILED


async def test_a_test__of_a_host_that_is_not_registered_is_refused(api: Api):
    refused = await refusal(api.hosts.TestHost(pb.TestHostRequest(name="nosuch")))
    assert (refused.code, refused.reason) == (grpc.StatusCode.NOT_FOUND, "HOST_NOT_FOUND")
    refused = await refusal(api.hosts.TestHost(pb.TestHostRequest()))
    assert (refused.code, refused.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["name"])
