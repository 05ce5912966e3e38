"""ExplainHost, GetCompliance and GetRolloutReport through a real channel."""

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from tendhost.v1 import host_service_pb2, rollout_service_pb2
from tendhost.v1.host_pb2 import HostFilter
from tendhost.v1.rollout_pb2 import RolloutSpec
from tests.rpc.api import Api, refusal
from tests.unit.engine.fake_host import Pending


async def updated_fleet(api: Api) -> str:
    """Three hosts after a rollout of which one failed; the rollout's id."""
    for name in "abc":
        fake = await api.register(name, tags=["all"])
        fake.pending = {"web": Pending(breaks=name == "b")}
    spec = RolloutSpec(waves=["rest"], delay_between_waves=Duration(), max_failures="5")
    request = rollout_service_pb2.StartRolloutRequest(spec=spec)
    rollout = (await api.rollouts.StartRollout(request)).rollout
    await api.world.rollout_ended(rollout.id)
    return str(rollout.id)


async def test_explanations_name_the_rollout_and_the_operation(api: Api):
    rollout = await updated_fleet(api)
    good = await api.hosts.ExplainHost(host_service_pb2.ExplainHostRequest(name="a"))
    assert good.update.startswith("up to date: no updates were pending")
    (done,) = (r for r in good.reasons if r.kind == host_service_pb2.REASON_KIND_UPDATED)
    assert (done.rollout_id, bool(done.operation_id)) == (rollout, True)
    events = {event.revision for event in await api.world.events()}
    assert done.revision in events
    bad = await api.hosts.ExplainHost(host_service_pb2.ExplainHostRequest(name="b"))
    assert bad.update.startswith("not updated: it has been in failed since")
    assert "web: cannot migrate" in bad.update
    refused = await refusal(
        api.hosts.ExplainHost(host_service_pb2.ExplainHostRequest(name="nobody"))
    )
    assert (refused.code, refused.reason) == (grpc.StatusCode.NOT_FOUND, "HOST_NOT_FOUND")


async def test_report_has_the_counts_and_the_causes(api: Api):
    rollout = await updated_fleet(api)
    request = rollout_service_pb2.GetRolloutReportRequest(id=rollout)
    found = await api.rollouts.GetRolloutReport(request)
    progress = found.rollout.progress
    assert (progress.completed, progress.failed) == (2, 1)
    assert [(p.name, p.host_count) for p in found.packages] == [
        ("web", 3)
    ]  # dpkg has it on the one that failed, too
    assert [(cause.host_count, list(cause.hosts)) for cause in found.failures] == [(1, ["b"])]
    assert found.HasField("duration")
    unknown = rollout_service_pb2.GetRolloutReportRequest(id="unheard-of")
    refused = await refusal(api.rollouts.GetRolloutReport(unknown))
    assert refused.code is grpc.StatusCode.NOT_FOUND


async def test_compliance_counts_and_lists_page_by_page(api: Api):
    await updated_fleet(api)
    await api.register("new")
    request = host_service_pb2.GetComplianceRequest(page_size=1)
    first = await api.hosts.GetCompliance(request)
    assert (first.host_count, first.overdue_host_count) == (4, 2)
    assert [(age.days, age.host_count) for age in first.ages if age.host_count] == [(1, 2), (0, 2)]
    request.page_token = first.next_page_token
    second = await api.hosts.GetCompliance(request)
    assert [overdue.host for overdue in (*first.overdue_hosts, *second.overdue_hosts)] == [
        "b",
        "new",
    ]
    assert second.next_page_token == ""
    some = host_service_pb2.GetComplianceRequest(filter=HostFilter(all_tags=["all"]))
    assert (await api.hosts.GetCompliance(some)).host_count == 3


@pytest.mark.parametrize("days", [0, -1, 3651])
async def test_overdue_days_out_of_bounds_are_refused_by_name(api: Api, days: int):
    request = host_service_pb2.GetComplianceRequest(overdue_days=days)
    refused = await refusal(api.hosts.GetCompliance(request))
    assert refused.fields == ["overdue_days"]
