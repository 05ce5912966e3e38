"""Events of the registry, of policies, selections and schedules say who changed what, and no secret."""

from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask

from tendhost.server.domain.hosts.host_keys import fingerprint
from tendhost.server.rpc.convert.events import event_message
from tendhost.v1 import event_pb2, policy_pb2, schedule_pb2
from tendhost.v1 import host_service_pb2 as hosts
from tendhost.v1 import policy_service_pb2 as policies
from tendhost.v1 import schedule_service_pb2 as schedules
from tendhost.v1 import selection_service_pb2 as selections
from tendhost.v1.health_pb2 import HealthCheck, HealthChecks
from tendhost.v1.hook_pb2 import Hook, Hooks
from tendhost.v1.host_pb2 import HostConfig, HostFilter, MaintenanceWindow, Policy
from tendhost.v1.rollout_pb2 import RolloutSpec
from tests.rpc.api import Api

Change = event_pb2.FieldChange
SECRET = "curl -H 'Token: hunter2' https://example.org"


async def newest(api: Api) -> Any:
    """The body of the newest event, and that it is the only one that tells of the last call."""
    message = event_message((await api.world.events())[-1])
    return getattr(message, str(message.WhichOneof("body")))


async def test_host__who_registered_changed_and_removed_it_is_told(api: Api):
    await api.register("web1", tags=["a"])
    registered, host = await newest(api), await api.host()
    who = registered.by
    assert who
    assert registered.host_key_fingerprint == host.host_key_fingerprint
    policy = Policy(
        auto_reboot=False,
        hooks=Hooks(pre=Hook(script=SECRET)),
        health_checks=HealthChecks(checks=[HealthCheck(command=SECRET)]),
        windows=[MaintenanceWindow(start="22:00", end="04:00")],
    )
    request = hosts.ReconfigureHostRequest(
        name="web1",
        config=HostConfig(address="other.example.org", port=22, policy=policy),
        update_mask=FieldMask(paths=["address", "port", "policy"]),
        add_tags=["b"],
    )
    await api.hosts.ReconfigureHost(request)
    told = await newest(api)
    assert told.by == who
    assert list(told.changes) == [
        Change(path="address", old="web1.example.org", new="other.example.org"),
        Change(path="tags", old="a", new="a, b"),
        Change(path="policy.auto_reboot", old="", new="false"),
        Change(path="policy.windows", old="", new="daily 22:00-04:00 UTC"),
        Change(path="policy.hooks.pre"),
        Change(path="policy.health_checks.checks"),
    ]
    assert list(told.fields) == [change.path for change in told.changes]
    await api.hosts.UnregisterHost(hosts.UnregisterHostRequest(name="web1"))
    assert (await newest(api)).by == who
    assert "hunter2" not in str(await api.world.events())


async def test_host__another_pinned_key_is_told_by_its_fingerprints(api: Api):
    fake = await api.register("web1")
    before, after = fake.key, "ssh-ed25519 AAAA"
    fake.key = after
    request = hosts.ReconfigureHostRequest(name="web1", accept_new_host_key=True)
    await api.hosts.ReconfigureHost(request)
    (change,) = (await newest(api)).changes
    assert change == Change(path="host_key", old=fingerprint(before), new=fingerprint(after))


async def test_policy_selection_schedule__what_changed_is_told_with_who_changed_it(api: Api):
    window = MaintenanceWindow(start="22:00", end="04:00", time_zone="UTC")
    defaults = policy_pb2.GroupPolicy(windows=[window], hooks=Hooks(pre=Hook(script=SECRET)))
    await api.policies.SetPolicy(policies.SetPolicyRequest(policy=defaults))
    told = await newest(api)
    assert told.by
    assert list(told.changes) == [
        Change(path="windows", old="", new="daily 22:00-04:00 UTC"),
        Change(path="hooks.pre"),
    ]

    create = selections.CreateSelectionRequest(name="s", filter=HostFilter(all_tags=["a"]))
    await api.selections.CreateSelection(create)
    told = await newest(api)
    assert (told.change, list(told.changes)) == (event_pb2.SELECTION_CHANGE_CREATED, [])
    change = selections.UpdateSelectionRequest(name="s", filter=HostFilter(all_tags=["a", "b"]))
    await api.selections.UpdateSelection(change)
    told = await newest(api)
    assert told.by
    assert list(told.changes) == [Change(path="all_tags", old="a", new="a, b")]

    spec = schedule_pb2.ScheduleSpec(name="n", cron="0 3 * * *", rollout=RolloutSpec(waves=["1"]))
    await api.schedules.CreateSchedule(schedules.CreateScheduleRequest(spec=spec))
    assert (await newest(api)).by
    update = schedules.UpdateScheduleRequest(
        name="n",
        spec=schedule_pb2.ScheduleSpec(cron="0 4 * * *"),
        update_mask=FieldMask(paths=["cron"]),
    )
    await api.schedules.UpdateSchedule(update)
    told = await newest(api)
    assert told.by
    assert Change(path="cron", old="0 3 * * *", new="0 4 * * *") in told.changes
