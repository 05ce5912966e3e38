"""What a filter names that no host has: an error in a rollout, a warning in what is kept for later."""

from datetime import timedelta
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from tendhost.v1 import host_service_pb2 as hosts
from tendhost.v1 import policy_pb2, schedule_pb2
from tendhost.v1 import policy_service_pb2 as policies
from tendhost.v1 import rollout_service_pb2 as rollouts
from tendhost.v1 import schedule_service_pb2 as schedules
from tendhost.v1 import selection_service_pb2 as selections
from tendhost.v1.host_pb2 import HostFilter
from tendhost.v1.rollout_pb2 import RolloutSpec
from tests.rpc.api import Api, refusal
from tests.unit.engine.world import World


@pytest.fixture
async def api(api: Api) -> Api:
    """A server that knows three hosts."""
    for name in ("go-1", "go-2", "web-1"):
        await api.register(name, tags=["all"], groups=["prod"])
    return api


def asked(**filter: Any) -> RolloutSpec:
    return RolloutSpec(waves=["rest"], filter=HostFilter(**filter))


async def planned(api: Api, **filter: Any) -> Any:
    request = rollouts.PlanRolloutRequest(spec=asked(**filter))
    return await api.rollouts.PlanRollout(request)


async def test_exclude__takes_globs_as_names_do(api: Api):
    plan = await planned(api, exclude_hosts=["go-*"])
    assert [host.exclusion != 0 for host in plan.hosts] == [False, True, True]
    assert [host.host for host in plan.hosts] == ["web-1", "go-1", "go-2"]
    request = hosts.ListHostsRequest(filter=HostFilter(exclude_hosts=["*-[2-9]", "web-1"]))
    found = (await api.hosts.ListHosts(request)).hosts
    assert [host.config.name for host in found] == ["go-1"]
    compliance = hosts.GetComplianceRequest(filter=HostFilter(exclude_hosts=["go-*"]))
    assert (await api.hosts.GetCompliance(compliance)).host_count == 1


@pytest.mark.parametrize(
    ("filter", "field", "words"),
    [
        ({"exclude_hosts": ["go-1", "og-*"]}, "exclude_hosts[1]", "'og-*' matches no host"),
        ({"exclude_hosts": ["go-3"]}, "exclude_hosts[0]", "'go-3' is no host"),
        ({"names": ["go-1", "go-3"]}, "names[1]", "'go-3' is no host"),
        ({"names": ["web-1", "db-*"]}, "names[1]", "'db-*' matches no host"),
        ({"any_tags": ["all", "alll"]}, "any_tags[1]", "'alll' is on no host"),
        ({"all_tags": ["alll"]}, "all_tags[0]", "'alll' is on no host"),
        ({"groups": ["prod", "pord"]}, "groups[1]", "'pord' is a group that no host is in"),
    ],
)
async def test_rollout__what_no_host_matches_is_refused_with_its_field_and_value(
    api: Api, filter: dict[str, Any], field: str, words: str
):
    start = rollouts.StartRolloutRequest(spec=asked(**filter))
    for refused in (
        await refusal(planned(api, **filter)),
        await refusal(api.rollouts.StartRollout(start)),
    ):
        assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
        assert refused.fields == [f"spec.filter.{field}"]
        assert words in refused.text
    # A list answers with what is there.
    listed = await api.hosts.ListHosts(hosts.ListHostsRequest(filter=HostFilter(**filter)))
    assert len(listed.hosts) <= 3


async def test_rollout__a_saved_selection_that_spares_nobody_is_refused_and_warned_of(api: Api):
    request = selections.CreateSelectionRequest(
        name="careful", filter=HostFilter(groups=["prod"], exclude_hosts=["db-*"])
    )
    saved = (await api.selections.CreateSelection(request)).selection
    assert list(saved.warnings) == ["exclude_hosts[0]: 'db-*' matches no host"]
    refused = await refusal(planned(api, selection="careful"))
    assert refused.fields == ["spec.filter.selection"]
    assert "'careful' has exclude_hosts[0]: 'db-*' matches no host" in refused.text
    await api.register("db-1")
    await planned(api, selection="careful")
    get = selections.GetSelectionRequest(name="careful")
    assert not (await api.selections.GetSelection(get)).selection.warnings


async def test_schedule__warns_when_it_is_made_and_shown_and_its_runs_tell_it(
    api: Api, world: World
):
    spec = schedule_pb2.ScheduleSpec(
        name="nightly", cron="0 13 * * *", rollout=asked(exclude_hosts=["go-1", "og-*"])
    )
    warnings = ["exclude_hosts[1]: 'og-*' matches no host"]
    create = schedules.CreateScheduleRequest(spec=spec)
    made = (await api.schedules.CreateSchedule(create)).schedule
    assert list(made.warnings) == warnings
    update = schedules.UpdateScheduleRequest(
        name="nightly", spec=spec, update_mask=FieldMask(paths=["rollout"])
    )
    assert list((await api.schedules.UpdateSchedule(update)).schedule.warnings) == warnings
    get = schedules.GetScheduleRequest(name="nightly")

    async def run() -> bool:
        return bool((await api.schedules.GetSchedule(get)).schedule.HasField("last_run"))

    world.clock.advance(timedelta(hours=1))
    await world.until(run)
    shown = (await api.schedules.GetSchedule(get)).schedule
    assert shown.last_run.outcome == schedule_pb2.RUN_OUTCOME_STARTED, shown.last_run.detail
    assert shown.last_run.detail == warnings[0]
    assert list(shown.warnings) == warnings


async def test_policy__of_a_group_that_no_host_is_in_warns(api: Api):
    async def say(group: str) -> list[str]:
        defaults = policy_pb2.GroupPolicy(group=group)
        request = policies.SetPolicyRequest(policy=defaults)
        return list((await api.policies.SetPolicy(request)).policy.warnings)

    assert await say("pord") == ["'pord' is a group that no host is in"]
    assert (await say("prod"), await say("")) == ([], [])
