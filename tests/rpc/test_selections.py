"""SelectionService through a real channel, and every request that can name a saved selection."""

from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from tendhost.v1 import (
    event_service_pb2,
    host_pb2,
    host_service_pb2,
    rollout_pb2,
    rollout_service_pb2,
    schedule_pb2,
    schedule_service_pb2,
)
from tendhost.v1 import selection_service_pb2 as pb
from tests.rpc.api import Api, refusal, refusal_of

SAVED = host_pb2.HostFilter(selection="canaries")


async def fleet(api: Api) -> None:
    for name, tags in (("a", ["canary"]), ("b", ["canary", "web"]), ("c", ["web"])):
        await api.register(name, tags=tags)


async def save(api: Api, name: str = "canaries", **filter: Any) -> pb.Selection:
    wanted = host_pb2.HostFilter(**(filter or {"all_tags": ["canary"]}))
    request = pb.CreateSelectionRequest(name=name, filter=wanted)
    response: pb.CreateSelectionResponse = await api.selections.CreateSelection(request)
    return response.selection


async def update(api: Api, *fields: str, **filter: Any) -> pb.Selection:
    request = pb.UpdateSelectionRequest(
        name="canaries",
        filter=host_pb2.HostFilter(**filter),
        update_mask=FieldMask(paths=fields) if fields else None,
    )
    response: pb.UpdateSelectionResponse = await api.selections.UpdateSelection(request)
    return response.selection


async def listed(api: Api, selection: host_pb2.HostFilter) -> list[str]:
    found = await api.hosts.ListHosts(host_service_pb2.ListHostsRequest(filter=selection))
    return [host.config.name for host in found.hosts]


async def test_selection_is_created_shown_listed_changed_and_deleted(api: Api):
    await fleet(api)
    made = await save(api)
    assert (made.name, list(made.filter.all_tags), made.revision > 0) == (
        "canaries",
        ["canary"],
        True,
    )
    get = pb.GetSelectionRequest(name="canaries")
    assert (await api.selections.GetSelection(get)).selection == made
    assert await listed(api, SAVED) == ["a", "b"]
    assert await listed(api, host_pb2.HostFilter(selection="canaries", names=["b", "c"])) == ["b"]
    again = await update(api, names=["c", "a"], exclude_hosts=["a"])
    assert again.revision > made.revision
    assert await listed(api, SAVED) == ["c"]
    await save(api, "all-of-them", states=[])
    page = await api.selections.ListSelections(pb.ListSelectionsRequest(page_size=1))
    assert [s.name for s in page.selections] == ["all-of-them"]
    rest = await api.selections.ListSelections(
        pb.ListSelectionsRequest(page_size=1, page_token=page.next_page_token)
    )
    assert ([s.name for s in rest.selections], rest.next_page_token) == (["canaries"], "")
    await api.selections.DeleteSelection(pb.DeleteSelectionRequest(name="canaries"))
    gone = await refusal(api.selections.GetSelection(get))
    assert gone.reason == "SELECTION_NOT_FOUND"


@pytest.mark.parametrize("name", ["", "Canaries", "a b", "-a", "a" * 64])
async def test_selection_with_such_a_name_is_refused(api: Api, name: str):
    refused = await refusal(save(api, name))
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT


async def test_selection_that_names_another_one_is_refused(api: Api):
    await save(api)
    refused = await refusal(save(api, "more", selection="canaries"))
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refused.fields == ["filter.selection"]


async def test_selection_that_exists_is_not_created_again(api: Api):
    made = await save(api)
    refused = await refusal(save(api, names=["c"]))
    assert (refused.code, refused.reason) == (
        grpc.StatusCode.ALREADY_EXISTS,
        "SELECTION_ALREADY_EXISTS",
    )
    get = pb.GetSelectionRequest(name="canaries")
    assert (await api.selections.GetSelection(get)).selection == made


async def test_selection_update__changes_the_fields_of_the_mask(api: Api):
    await save(api, all_tags=["canary"], exclude_hosts=["a"])
    changed = await update(api, "exclude_hosts", all_tags=["ignored"], exclude_hosts=["b"])
    assert changed.filter == host_pb2.HostFilter(all_tags=["canary"], exclude_hosts=["b"])
    assert (await update(api, "exclude_hosts")).filter == host_pb2.HostFilter(all_tags=["canary"])
    assert (await update(api)).filter == host_pb2.HostFilter()


async def test_selection_update__refuses_what_cannot_be_changed(api: Api):
    refused = await refusal(update(api, "names"))
    assert refused.reason == "SELECTION_NOT_FOUND"
    await save(api)
    refused = await refusal(update(api, "name"))
    assert refused.fields == ["update_mask"]
    nothing = pb.UpdateSelectionRequest(name="canaries", update_mask=FieldMask())
    refused = await refusal(api.selections.UpdateSelection(nothing))
    assert refused.fields == ["update_mask"]
    refused = await refusal(update(api, "selection", selection="others"))
    assert refused.fields == ["filter.selection"]


async def test_request_that_names_no_saved_selection_changes_nothing(api: Api):
    await fleet(api)
    spec = rollout_pb2.RolloutSpec(filter=SAVED)
    schedule = schedule_pb2.ScheduleSpec(name="weekly", cron="0 3 * * 6", rollout=spec)
    asked = (
        api.hosts.ListHosts(host_service_pb2.ListHostsRequest(filter=SAVED)),
        api.hosts.ListPendingUpdates(host_service_pb2.ListPendingUpdatesRequest(filter=SAVED)),
        api.hosts.GetCompliance(host_service_pb2.GetComplianceRequest(filter=SAVED)),
        api.rollouts.PlanRollout(rollout_service_pb2.PlanRolloutRequest(spec=spec)),
        api.rollouts.StartRollout(rollout_service_pb2.StartRolloutRequest(spec=spec)),
        api.schedules.CreateSchedule(schedule_service_pb2.CreateScheduleRequest(spec=schedule)),
    )
    for call in asked:
        refused = await refusal(call)
        assert refused.reason == "SELECTION_NOT_FOUND"
        assert refused.text.startswith("there is no saved selection 'canaries'; ")
    watch = api.events.WatchEvents(event_service_pb2.WatchEventsRequest(filter=SAVED))
    with pytest.raises(grpc.aio.AioRpcError) as watched:
        await watch.read()
    assert refusal_of(watched.value).reason == "SELECTION_NOT_FOUND"


async def test_plan_of_a_selection_that_has_changed_since_says_how(api: Api):
    await fleet(api)
    await save(api)
    spec = rollout_pb2.RolloutSpec(filter=SAVED, dry_run=True)
    planned = (
        await api.rollouts.PlanRollout(rollout_service_pb2.PlanRolloutRequest(spec=spec))
    ).plan
    assert (planned.host_count, planned.not_selected_count, planned.spec.filter.selection) == (
        2,
        1,
        "canaries",
    )
    await update(api, names=["b", "c"])
    refused = await refusal(
        api.rollouts.StartRollout(rollout_service_pb2.StartRolloutRequest(plan_id=planned.id))
    )
    assert refused.reason == "FLEET_CHANGED"
    assert "no longer in it: a; new in it: c" in refused.text


async def test_selection_that_a_schedule_names_cannot_be_deleted(api: Api):
    await save(api)
    schedule = schedule_pb2.ScheduleSpec(
        name="weekly", cron="0 3 * * 6", rollout=rollout_pb2.RolloutSpec(filter=SAVED)
    )
    await api.schedules.CreateSchedule(schedule_service_pb2.CreateScheduleRequest(spec=schedule))
    delete = pb.DeleteSelectionRequest(name="canaries")
    refused = await refusal(api.selections.DeleteSelection(delete))
    assert refused.reason == "SELECTION_IN_USE"
    await api.schedules.DeleteSchedule(schedule_service_pb2.DeleteScheduleRequest(name="weekly"))
    await api.selections.DeleteSelection(delete)
