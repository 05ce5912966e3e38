"""Etags: what was decided upon is what is changed, and what two clients add is added twice."""

import asyncio
from datetime import timedelta
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from tendhost.v1 import host_service_pb2 as hosts
from tendhost.v1 import policy_pb2, schedule_pb2
from tendhost.v1 import policy_service_pb2 as policies
from tendhost.v1 import schedule_service_pb2 as schedules
from tendhost.v1 import selection_service_pb2 as selections
from tendhost.v1.host_pb2 import HostConfig, HostFilter, MaintenanceWindow, Policy
from tendhost.v1.rollout_pb2 import RolloutSpec
from tests.rpc.api import Api, Refusal, refusal
from tests.rpc.test_policies import REQUEST_ID, freeze, moment
from tests.unit.engine.fake_clock import START

NIGHTS = MaintenanceWindow(start="22:00", end="04:00", time_zone="UTC")
MORNINGS = MaintenanceWindow(start="05:00", end="06:00", time_zone="UTC")


def mismatch(refused: Refusal) -> bool:
    """Whether a call was refused because of its etag."""
    return (refused.code, refused.reason) == (grpc.StatusCode.ABORTED, "ETAG_MISMATCH")


async def reconfigure(api: Api, *paths: str, name: str = "web1", **fields: Any) -> Any:
    config = fields.pop("config", None)
    mask = FieldMask(paths=paths) if paths else fields.pop("update_mask", None)
    request = hosts.ReconfigureHostRequest(name=name, config=config, update_mask=mask, **fields)
    return (await api.hosts.ReconfigureHost(request)).host


async def revision(api: Api) -> int:
    events = await api.world.events()
    return events[-1].revision if events else 0


# --- hosts ----------------------------------------------------------------------------------------


async def test_host__its_etag_is_that_of_its_configuration_and_not_of_its_status(api: Api):
    await api.register("web1", tags=["web"])
    before = await api.host()
    await api.run("StartQuery")
    queried = await api.host()
    assert queried.revision > before.revision
    assert queried.etag == before.etag != ""
    changed = await reconfigure(api, "port", config=HostConfig(port=2222), etag=before.etag)
    assert changed.etag != before.etag
    assert (await api.host()).etag == changed.etag


async def test_host__another_etag_changes_nothing_and_forgets_nothing(api: Api):
    await api.register("web1")
    read = await api.host()
    await reconfigure(api, add_tags=["canary"])
    latest, told = await api.host(), await revision(api)
    refused = await refusal(reconfigure(api, add_tags=["db"], etag=read.etag))
    assert mismatch(refused)
    assert refused.facts["current"] == latest.etag
    request = hosts.UnregisterHostRequest(name="web1", etag=read.etag)
    assert mismatch(await refusal(api.hosts.UnregisterHost(request)))
    assert (await api.host(), await revision(api)) == (latest, told)
    await api.hosts.UnregisterHost(hosts.UnregisterHostRequest(name="web1", etag=latest.etag))
    assert (await refusal(api.host())).reason == "HOST_NOT_FOUND"


async def test_host__the_same_configuration_again_makes_no_event_and_no_new_revision(api: Api):
    await api.register("web1", tags=["web"], groups=["db"])
    before, told = await api.host(), await revision(api)
    same = HostConfig(tags=["web"], port=22)
    assert await reconfigure(api, "tags", "port", config=same, request_id=REQUEST_ID) == before
    assert await reconfigure(api, add_tags=["web"], remove_tags=["never"]) == before
    assert await reconfigure(api, accept_new_host_key=True) == before
    assert await revision(api) == told
    # The answer is kept: the same request later does not take back what was changed meanwhile.
    await reconfigure(api, add_tags=["canary"])
    assert await reconfigure(api, "tags", "port", config=same, request_id=REQUEST_ID) == before
    assert list((await api.host()).config.tags) == ["canary", "web"]


async def test_host__lists_are_added_to_and_removed_from_after_the_mask(api: Api):
    await api.register("web1", tags=["a", "b"], groups=["g"])
    policy = Policy(windows=[NIGHTS])
    host = await reconfigure(
        api,
        *("tags", "policy.windows"),
        config=HostConfig(tags=["x", "y"], policy=policy),
        add_tags=["c"],
        remove_tags=["y"],
        add_groups=["f"],
        remove_groups=["g"],
        add_windows=[MORNINGS, NIGHTS],
    )
    assert (list(host.config.tags), list(host.config.groups)) == (["c", "x"], ["f"])
    assert list(host.config.policy.windows) == [NIGHTS, MORNINGS]
    host = await reconfigure(api, remove_windows=[NIGHTS])
    assert list(host.config.policy.windows) == [MORNINGS]


@pytest.mark.parametrize(
    ("asked", "fields"),
    [
        ({}, ["update_mask"]),
        ({"add_tags": ["a b"]}, ["add_tags[0]"]),
        ({"add_tags": ["a"], "remove_tags": ["b", "a"]}, ["remove_tags[1]"]),
        ({"remove_windows": [NIGHTS]}, ["remove_windows[0]"]),
        (
            {"add_windows": [MaintenanceWindow(start="01:00", end="02:00", time_zone="Mars")]},
            ["add_windows[0].time_zone"],
        ),
        ({"add_tags": [f"t{n}" for n in range(64)]}, ["config.tags"]),
        ({"update_mask": FieldMask(), "config": HostConfig(tags=["a"])}, ["update_mask"]),
        ({"add_groups": [f"t{n}" for n in range(64)]}, ["config.groups"]),
    ],
)
async def test_host__what_cannot_be_added_or_removed_is_named(api: Api, asked: Any, fields: Any):
    await api.register("web1", tags=["t"], groups=["g"])
    refused = await refusal(reconfigure(api, **asked))
    assert (refused.code, refused.fields) == (grpc.StatusCode.INVALID_ARGUMENT, fields)


async def test_host__tags_that_many_clients_add_at_once_are_all_kept(api: Api):
    await api.register("web1")
    await asyncio.gather(*(reconfigure(api, add_tags=[f"t{number:02}"]) for number in range(20)))
    assert list((await api.host()).config.tags) == [f"t{number:02}" for number in range(20)]


# --- policies -------------------------------------------------------------------------------------


async def say(api: Api, *paths: str, **fields: Any) -> Any:
    lists = {name: fields.pop(name) for name in list(fields) if name.startswith(("add", "remove"))}
    request = policies.SetPolicyRequest(policy=policy_pb2.GroupPolicy(**fields), **lists)
    if paths:
        request.update_mask.paths.extend(paths)
    return (await api.policies.SetPolicy(request)).policy


async def said(api: Api, group: str = "") -> Any:
    return (await api.policies.GetPolicy(policies.GetPolicyRequest(group=group))).policy


async def test_policy__what_was_read_before_somebody_changed_it_is_not_said(api: Api):
    mine, theirs = await said(api), await said(api)
    mine.freezes.append(freeze())
    await api.policies.SetPolicy(policies.SetPolicyRequest(policy=mine))
    theirs.windows.append(NIGHTS)
    refused = await refusal(api.policies.SetPolicy(policies.SetPolicyRequest(policy=theirs)))
    assert mismatch(refused)
    latest = await said(api)
    assert [one.name for one in latest.freezes] == ["year end"]
    request = policies.DeletePolicyRequest(etag=theirs.etag)
    assert mismatch(await refusal(api.policies.DeletePolicy(request)))
    await api.policies.DeletePolicy(policies.DeletePolicyRequest(etag=latest.etag))
    assert (await said(api)).etag == theirs.etag, "it is as if nothing had ever been said"


async def test_policy__what_is_said_again_makes_no_event(api: Api):
    first = await say(api, group="db", windows=[NIGHTS], freezes=[freeze()])
    told = await revision(api)
    assert await say(api, group="db", windows=[NIGHTS], freezes=[freeze()]) == first
    assert await say(api, group="db", add_windows=[NIGHTS]) == first
    assert await revision(api) == told


async def test_policy__a_mask_that_names_no_field_is_refused_unless_something_is_added(api: Api):
    request = policies.SetPolicyRequest(
        policy=policy_pb2.GroupPolicy(windows=[NIGHTS]), update_mask=FieldMask()
    )
    refused = await refusal(api.policies.SetPolicy(request))
    assert (refused.code, refused.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["update_mask"])
    request.add_windows.append(NIGHTS)
    assert len((await api.policies.SetPolicy(request)).policy.windows) == 1


async def test_policy__that_has_nothing_to_remove_says_so(api: Api):
    refused = await refusal(say(api, remove_windows=[NIGHTS], remove_freezes=["easter"]))
    assert [words.partition("; ")[2] for _, words in refused.violations] == [
        "there are no windows",
        "there are no freezes",
    ]


async def test_policy__twelve_freezes_at_once_are_all_kept(api: Api):
    names = [f"f{number:02}" for number in range(12)]
    await asyncio.gather(*(say(api, add_freezes=[freeze(name)]) for name in names))
    assert sorted(one.name for one in (await said(api)).freezes) == names


async def test_policy__the_mask_changes_its_fields_alone_and_lists_follow(api: Api):
    await say(api, windows=[NIGHTS], freezes=[freeze("old"), freeze("kept")])
    now = await say(
        api, "windows", windows=[MORNINGS], add_freezes=[freeze("new")], remove_freezes=["old"]
    )
    assert list(now.windows) == [MORNINGS]
    assert [one.name for one in now.freezes] == ["kept", "new"]
    now = await say(api, add_windows=[NIGHTS], remove_windows=[MORNINGS])
    assert list(now.windows) == [NIGHTS]
    assert [one.name for one in now.freezes] == ["kept", "new"]
    longer = freeze("kept", ends_at=moment(START + timedelta(hours=9)))
    now = await say(api, add_freezes=[longer])
    assert [one.name for one in now.freezes] == ["new", "kept"]
    assert now.freezes[1] == longer


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"remove_freezes": ["easter"]}, "remove_freezes[0]"),
        ({"add_freezes": [freeze("a")], "remove_freezes": ["a"]}, "remove_freezes[0]"),
        ({"add_freezes": [freeze("a"), freeze("a")]}, "add_freezes[1].name"),
        ({"add_freezes": [freeze("a", time_zone="Mars")]}, "add_freezes[0].time_zone"),
        ({"remove_windows": [NIGHTS]}, "remove_windows[0]"),
        ({"add_freezes": [freeze(f"f{n}") for n in range(100)]}, "add_freezes"),
    ],
)
async def test_policy__what_cannot_be_added_or_lifted_is_named(api: Api, asked: Any, field: str):
    await say(api, freezes=[freeze("year end")])
    refused = await refusal(say(api, **asked))
    assert (refused.code, refused.fields) == (grpc.StatusCode.INVALID_ARGUMENT, [field])
    refused = await refusal(say(api, "revision"))
    assert refused.fields == ["update_mask"]


# --- selections and schedules ---------------------------------------------------------------------


async def create(api: Api, *tags: str) -> Any:
    request = selections.CreateSelectionRequest(name="canaries", filter=HostFilter(all_tags=tags))
    return (await api.selections.CreateSelection(request)).selection


async def save(api: Api, *tags: str, etag: str = "") -> Any:
    request = selections.UpdateSelectionRequest(
        name="canaries", filter=HostFilter(all_tags=tags), etag=etag
    )
    return (await api.selections.UpdateSelection(request)).selection


async def test_selection__another_etag_changes_and_deletes_nothing(api: Api):
    read = await create(api, "a")
    assert mismatch(await refusal(save(api, "b", etag="never")))
    told = await revision(api)
    assert await save(api, "a") == read
    assert await revision(api) == told
    latest = await save(api, "b", etag=read.etag)
    assert latest.etag != read.etag
    assert mismatch(await refusal(save(api, "c", etag=read.etag)))
    delete = selections.DeleteSelectionRequest
    request = delete(name="canaries", etag=read.etag)
    assert mismatch(await refusal(api.selections.DeleteSelection(request)))
    await api.selections.DeleteSelection(delete(name="canaries", etag=latest.etag))


async def test_selection__that_is_gone_is_told_as_that(api: Api):
    refused = await refusal(save(api, "a", etag="never"))
    assert (refused.code, refused.reason) == (grpc.StatusCode.NOT_FOUND, "SELECTION_NOT_FOUND")


async def test_selection__many_changes_at_once_all_succeed(api: Api):
    await create(api)
    saved = await asyncio.gather(*(save(api, f"t{number}") for number in range(12)))
    (newest,) = [one for one in saved if one.revision == await revision(api)]
    request = selections.GetSelectionRequest(name="canaries")
    assert (await api.selections.GetSelection(request)).selection == newest


async def test_schedule__another_etag_changes_nothing(api: Api):
    spec = schedule_pb2.ScheduleSpec(
        name="nightly", cron="0 3 * * *", rollout=RolloutSpec(waves=["1"])
    )
    create = schedules.CreateScheduleRequest(spec=spec)
    read = (await api.schedules.CreateSchedule(create)).schedule

    def update(etag: str, cron: str) -> Any:
        request = schedules.UpdateScheduleRequest(
            name="nightly",
            spec=schedule_pb2.ScheduleSpec(cron=cron),
            update_mask=FieldMask(paths=["cron"]),
            etag=etag,
        )
        return api.schedules.UpdateSchedule(request)

    latest = (await update(read.etag, "0 4 * * *")).schedule
    assert latest.etag != read.etag
    told = await revision(api)
    assert mismatch(await refusal(update(read.etag, "0 5 * * *")))
    for verb in ("Pause", "Resume", "Delete"):
        request = getattr(schedules, f"{verb}ScheduleRequest")(name="nightly", etag=read.etag)
        assert mismatch(await refusal(getattr(api.schedules, f"{verb}Schedule")(request)))
    assert await revision(api) == told
    pause = schedules.PauseScheduleRequest(name="nightly", etag=latest.etag)
    paused = (await api.schedules.PauseSchedule(pause)).schedule
    assert paused.etag != latest.etag
