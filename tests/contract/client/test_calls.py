"""What the SDK asks of a server, and what it makes of the answers."""

import uuid
from datetime import UTC, datetime, timedelta

import grpc
import pytest
from google.protobuf.message import Message

from tendhost.client import (
    Client,
    GroupPolicy,
    HostBusy,
    HostFilter,
    HostState,
    LimitReached,
    MaintenanceWindow,
    OperationStatus,
    Role,
    RolloutSpec,
    ScheduleSpec,
    ServerUnavailable,
    ServerUnreachable,
)
from tendhost.client.convert import rollouts as convert_rollouts
from tendhost.client.transport import LIMIT_PAUSES_SECONDS
from tendhost.v1 import (
    access_service_pb2,
    host_pb2,
    host_service_pb2,
    operation_service_pb2,
    policy_service_pb2,
    rollout_service_pb2,
    schedule_service_pb2,
    selection_service_pb2,
)
from tests.contract.client import messages
from tests.contract.client.mock_server import LOST, MockServer, Refused

SERVICES = (
    host_service_pb2,
    operation_service_pb2,
    rollout_service_pb2,
    schedule_service_pb2,
    selection_service_pb2,
    policy_service_pb2,
    access_service_pb2,
)
MUTATIONS = {
    "RegisterHost": lambda c: c.add_host("web1", "10.0.0.5"),
    "ReconfigureHost": lambda c: c.reconfigure_host("web1", tags=["web"]),
    "UnregisterHost": lambda c: c.remove_host("web1"),
    "StartQuery": lambda c: c.query("web1"),
    "StartUpdate": lambda c: c.update("web1"),
    "StartReboot": lambda c: c.reboot("web1"),
    "StartCheck": lambda c: c.check("web1"),
    "RetryHost": lambda c: c.retry("web1"),
    "AcknowledgeHost": lambda c: c.acknowledge("web1"),
    "StartRollout": lambda c: c.start_rollout(RolloutSpec()),
    "PauseRollout": lambda c: c.pause_rollout("ro1"),
    "ApproveWave": lambda c: c.approve_wave("ro1", 2),
    "SkipRolloutHost": lambda c: c.skip_rollout_host("ro1", "web1"),
    "RetryRollout": lambda c: c.retry_rollout("ro1"),
    "ResumeRollout": lambda c: c.resume_rollout("ro1"),
    "CancelRollout": lambda c: c.cancel_rollout("ro1"),
    "CreateSchedule": lambda c: c.create_schedule(ScheduleSpec(name="weekly", cron="0 3 * * 6")),
    "UpdateSchedule": lambda c: c.update_schedule("weekly", cron="0 4 * * 6"),
    "PauseSchedule": lambda c: c.pause_schedule("weekly"),
    "ResumeSchedule": lambda c: c.resume_schedule("weekly"),
    "CreateSelection": lambda c: c.create_selection("canaries", HostFilter(all_tags=("canary",))),
    "UpdateSelection": lambda c: c.update_selection("canaries", HostFilter(), fields=["states"]),
    "DeleteSelection": lambda c: c.delete_selection("canaries"),
    "DeleteSchedule": lambda c: c.delete_schedule("weekly"),
    "SetPolicy": lambda c: c.set_policy(GroupPolicy(group="db")),
    "DeletePolicy": lambda c: c.delete_policy("db"),
    "CreateToken": lambda c: c.create_token("ci", [Role.VIEWER]),
    "DeleteToken": lambda c: c.delete_token("5kzg4znd0gm8"),
}


def answered(method: str) -> Message:
    """A response that the SDK can read."""
    name = f"{method}Response"
    (kind,) = [getattr(module, name) for module in SERVICES if hasattr(module, name)]
    fields = {field.name for field in kind.DESCRIPTOR.fields}
    known = {
        "host": messages.host(),
        "operation": messages.operation(),
        "rollout": messages.rollout(),
        "schedule": messages.schedule(),
        "selection": messages.selection(),
    }
    message: Message = kind(**{name: value for name, value in known.items() if name in fields})
    return message


@pytest.mark.parametrize("method", MUTATIONS)
async def test_mutation_that_got_no_answer_is_sent_again_with_the_same_id(method, server, client):
    server.answer(method, LOST, LOST, answered(method))
    await MUTATIONS[method](client)
    await MUTATIONS[method](client)
    first, second, third, other = [request.request_id for request in server.requests(method)]
    assert first == second == third != other
    assert uuid.UUID(first).version == 4


async def test_every_mutation_of_the_contract_has_a_request_id_and_a_test_of_it(server):
    mutations = {
        method.name
        for module in SERVICES
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
        if "request_id" in method.input_type.fields_by_name
    }
    # That one is tried with operations.
    assert mutations - set(MUTATIONS) == {"CancelOperation"}


async def test_refused_call_is_not_sent_again(server, client):
    busy = Refused(code=grpc.StatusCode.ABORTED, reason="HOST_BUSY")
    server.answer("StartUpdate", busy, answered("StartUpdate"))
    with pytest.raises(HostBusy):
        await client.update("web1")
    assert len(server.requests("StartUpdate")) == 1


async def test_call_that_ran_out_of_time_is_not_sent_again(server, client):
    late = Refused(code=grpc.StatusCode.DEADLINE_EXCEEDED, message="Deadline Exceeded")
    server.answer("GetHost", late)
    with pytest.raises(ServerUnreachable):
        await client.get_host("web1")
    assert len(server.requests("GetHost")) == 1


async def test_unreachable_server_is_told_with_its_target(server, pauses):
    server.stop()
    async with Client(server.address) as client:
        with pytest.raises(ServerUnreachable) as caught:
            await client.info()
    assert caught.value.metadata == {"target": server.address}
    assert server.address in caught.value.message
    assert "\n" not in caught.value.message
    assert pauses == [0.1, 0.4, 1.0]


async def test_database_that_stays_away_is_told_after_some_tries(server, client, pauses):
    gone = Refused(code=grpc.StatusCode.UNAVAILABLE, reason="STORE_UNAVAILABLE")
    server.answer("StartUpdate", gone)
    with pytest.raises(ServerUnavailable):
        await client.update("web1")
    assert len({request.request_id for request in server.requests("StartUpdate")}) == 1
    assert len(pauses) == 3


TOO_MANY = Refused(code=grpc.StatusCode.RESOURCE_EXHAUSTED, reason="TOO_MANY_CALLS")


async def test_call_beyond_the_rate_is_sent_again_with_the_same_id(server, client, pauses):
    server.answer("StartUpdate", TOO_MANY, TOO_MANY, LOST, TOO_MANY, answered("StartUpdate"))
    await client.update("web1")
    assert len({request.request_id for request in server.requests("StartUpdate")}) == 1
    expected = [1.0, 2.0, 0.1, 4.0]
    parts = [pause / wanted for pause, wanted in zip(pauses, expected, strict=True)]
    assert all(0.7 <= part < 1.31 for part in parts)


async def test_call_that_stays_beyond_the_rate_is_told_after_some_tries(server, client, pauses):
    server.answer("StartUpdate", TOO_MANY)
    with pytest.raises(LimitReached):
        await client.update("web1")
    assert len(pauses) == len(LIMIT_PAUSES_SECONDS)


@pytest.mark.parametrize(
    "reason", ["TOO_MANY_OPERATIONS", "TOO_MANY_QUEUED", "TOO_MANY_ROLLOUTS", "TOO_MANY_STREAMS"]
)
async def test_call_beyond_a_limit_of_the_server_is_not_sent_again(server, client, reason):
    server.answer("StartUpdate", Refused(code=grpc.StatusCode.RESOURCE_EXHAUSTED, reason=reason))
    with pytest.raises(LimitReached):
        await client.update("web1")
    assert len(server.requests("StartUpdate")) == 1


async def test_calls_have_deadlines_and_enrolment_has_a_longer_one(server, client):
    server.answer("GetHost", host_service_pb2.GetHostResponse(host=messages.host()))
    server.answer("RegisterHost", answered("RegisterHost"))
    await client.get_host("web1")
    await client.add_host("web1", "10.0.0.5")
    assert 25 < server.calls["GetHost"][0].seconds < 31
    assert 60 < server.calls["RegisterHost"][0].seconds < 91


async def test_calls_say_who_asks(server, client):
    server.answer("GetHost", host_service_pb2.GetHostResponse(host=messages.host()))
    await client.get_host("web1")
    assert server.calls["GetHost"][0].metadata["tendhost-user"]


def test_client_that_is_not_open_says_how_to_open_it():
    with pytest.raises(RuntimeError, match="async with Client"):
        Client().events()


async def test_client_can_be_opened_again(server):
    server.answer("GetHost", host_service_pb2.GetHostResponse(host=messages.host()))
    client = Client(server.address)
    for _ in range(2):
        async with client:
            assert (await client.get_host("web1")).name == "web1"


# --- hosts ----------------------------------------------------------------------------------------


async def test_host_is_registered_as_it_was_described(server, client):
    server.answer("RegisterHost", answered("RegisterHost"))
    host = await client.add_host(
        "web1",
        "10.0.0.5",
        port=2222,
        user="admin",
        ssh_key="/etc/key",
        compose_paths=["/srv/app"],
        tags=["web"],
        groups=["production"],
        auto_reboot=False,
        windows=[
            MaintenanceWindow(
                start="22:00", end="04:00", days=("sat", "sun"), time_zone="Europe/Vienna"
            )
        ],
        expected_host_key="SHA256:abc",
    )
    (request,) = server.requests("RegisterHost")
    window = host_pb2.MaintenanceWindow(
        start="22:00",
        end="04:00",
        days=[host_pb2.WEEKDAY_SATURDAY, host_pb2.WEEKDAY_SUNDAY],
        time_zone="Europe/Vienna",
    )
    assert request.config == host_pb2.HostConfig(
        name="web1",
        address="10.0.0.5",
        port=2222,
        user="admin",
        ssh_key="/etc/key",
        compose_paths=["/srv/app"],
        tags=["web"],
        groups=["production"],
        policy=host_pb2.Policy(auto_reboot=False, windows=[window]),
    )
    assert request.expected_host_key == "SHA256:abc"
    assert (host.name, host.host_key_fingerprint) == ("web1", "SHA256:abc")


async def test_only_what_is_named_is_reconfigured(server, client):
    server.answer("ReconfigureHost", answered("ReconfigureHost"))
    await client.reconfigure_host("web1", tags=[], auto_reboot=False, windows=[])
    (request,) = server.requests("ReconfigureHost")
    assert sorted(request.update_mask.paths) == [
        "policy.auto_reboot",
        "policy.windows",
        "tags",
    ]
    assert not request.config.tags
    assert not request.config.policy.windows
    assert request.config.policy.auto_reboot is False
    assert not request.accept_new_host_key


async def test_host_key_is_pinned_anew_only_where_that_is_asked(server, client):
    server.answer("ReconfigureHost", answered("ReconfigureHost"))
    await client.reconfigure_host("web1", accept_new_host_key=True, expected_host_key="SHA256:abc")
    (request,) = server.requests("ReconfigureHost")
    assert (request.accept_new_host_key, request.expected_host_key) == (True, "SHA256:abc")
    assert not request.update_mask.paths


async def test_hosts_are_listed_over_as_many_pages_as_there_are(server, client):
    page = host_service_pb2.ListHostsResponse
    server.answer(
        "ListHosts",
        page(hosts=[messages.host("a"), messages.host("b")], next_page_token="t1"),
        page(hosts=[], next_page_token="t2"),
        page(hosts=[messages.host("c")]),
    )
    selection = HostFilter(all_tags=("web",), states=(HostState.FAILED,), reboot_needed=False)
    found = [host.name async for host in client.hosts(selection)]
    assert found == ["a", "b", "c"]
    asked = server.requests("ListHosts")
    assert [request.page_token for request in asked] == ["", "t1", "t2"]
    for request in asked:
        assert request.filter == host_pb2.HostFilter(
            all_tags=["web"], states=[host_pb2.HOST_STATE_FAILED], reboot_needed=False
        )


async def test_page_is_asked_for_only_when_it_is_needed(server, client):
    page = host_service_pb2.ListHostsResponse
    server.answer("ListHosts", page(hosts=[messages.host("a")], next_page_token="t1"))
    async for host in client.hosts():
        assert host.name == "a"
        break
    assert len(server.requests("ListHosts")) == 1


async def test_groups_and_tags_are_counted(server, client):
    count = host_service_pb2.NameCount
    server.answer(
        "ListGroups", host_service_pb2.ListGroupsResponse(groups=[count(name="g", host_count=2)])
    )
    server.answer(
        "ListTags", host_service_pb2.ListTagsResponse(tags=[count(name="t", host_count=3)])
    )
    assert await client.groups() == {"g": 2}
    assert await client.tags() == {"t": 3}


async def test_inventory_is_read(server, client):
    inventory = host_pb2.Inventory(
        host="web1",
        system=host_pb2.SystemFacts(os_id="debian", kernel="6.1.0", package_manager="apt"),
        pending_updates=[
            host_pb2.PendingPackage(
                name="nginx", to_version="2", withheld=host_pb2.WITHHELD_KEPT_BACK, security=True
            )
        ],
        packages=[host_pb2.InstalledPackage(name="nginx", version="1")],
        collected_at=messages.AT,
    )
    inventory.system.uptime.FromSeconds(90)
    server.answer("GetInventory", host_service_pb2.GetInventoryResponse(inventory=inventory))
    found = await client.inventory("web1")
    assert (found.os_id, found.kernel, found.package_manager) == ("debian", "6.1.0", "apt")
    assert found.uptime == timedelta(seconds=90)
    assert found.collected_at == datetime.fromtimestamp(1_800_000_000, UTC)
    (pending,) = found.pending_updates
    assert (pending.name, str(pending.withheld), pending.security) == ("nginx", "kept_back", True)


@pytest.mark.parametrize(
    ("method", "begin"),
    [
        ("StartQuery", lambda c: c.query("web1", queue=True)),
        ("StartUpdate", lambda c: c.update("web1", dry_run=True, queue=True)),
        ("StartReboot", lambda c: c.reboot("web1", queue=True)),
        ("StartCheck", lambda c: c.check("web1", queue=True)),
    ],
)
async def test_work_begins_with_a_handle_of_its_operation(method, begin, server, client):
    server.answer(method, answered(method))
    handle = await begin(client)
    (request,) = server.requests(method)
    assert (request.name, request.queue) == ("web1", True)
    assert getattr(request, "dry_run", True)
    assert (handle.id, handle.host, handle.latest.status) == (
        "op1",
        "web1",
        OperationStatus.RUNNING,
    )


async def test_reboot__may_be_wanted_only_if_required(server, client):
    operation = messages.operation("SUCCEEDED", reboot_outcome=2)
    response = host_service_pb2.StartRebootResponse(operation=operation)
    server.answer("StartReboot", response)
    handle = await client.reboot("web1", only_if_required=True)
    (request,) = server.requests("StartReboot")
    assert request.only_if_required
    assert handle.latest.reboot_outcome == "not_needed"


# --- rollouts -------------------------------------------------------------------------------------


async def test_rollout_is_started_as_it_was_described(server: MockServer, client: Client):
    server.answer("StartRollout", answered("StartRollout"))
    spec = RolloutSpec(
        filter=HostFilter(all_tags=("web",), groups=("production",), exclude_hosts=("db1",)),
        waves=("5",),
        delay_between_waves=timedelta(0),
        dry_run=True,
    )
    rollout = await client.start_rollout(spec)
    (request,) = server.requests("StartRollout")
    # A pause of nothing is not the same as no word about the pause.
    assert request.spec.HasField("delay_between_waves")
    assert convert_rollouts.spec(request.spec) == spec
    assert (rollout.id, rollout.spec.delay_between_waves) == ("ro1", timedelta(seconds=30))


async def test_hosts_of_a_rollout_are_listed_over_all_pages(server, client):
    page = rollout_service_pb2.GetRolloutResponse
    server.answer(
        "GetRollout",
        page(hosts=[messages.member("a", "COMPLETED")], next_page_token="t1"),
        page(hosts=[messages.member("b", "FAILED", "disk full")]),
    )
    found = [(m.host, str(m.status), m.detail) async for m in client.rollout_hosts("ro1")]
    assert found == [("a", "completed", ""), ("b", "failed", "disk full")]


async def test_rollouts_and_operations_are_listed_over_all_pages(server, client):
    rollouts = rollout_service_pb2.ListRolloutsResponse
    server.answer(
        "ListRollouts",
        rollouts(rollouts=[messages.rollout()], next_page_token="t1"),
        rollouts(rollouts=[messages.rollout("CANCELLED")]),
    )
    assert [str(r.status) async for r in client.rollouts()] == ["running", "cancelled"]
    operations = operation_service_pb2.ListOperationsResponse
    server.answer(
        "ListOperations",
        operations(operations=[messages.operation()], next_page_token="t1"),
        operations(operations=[messages.operation("FAILED")]),
    )
    listed = client.operations(host="web1", statuses=[OperationStatus.FAILED])
    assert [str(o.status) async for o in listed] == ["running", "failed"]
    first, second = server.requests("ListOperations")
    assert (first.page_token, second.page_token) == ("", "t1")
    assert list(second.statuses) == [4]
