"""ScheduleService: made, shown, changed, and refused where that is due."""

from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from tendhost.server.rpc.convert.events import event_message
from tendhost.v1 import event_pb2
from tendhost.v1 import schedule_pb2 as wire
from tendhost.v1 import schedule_service_pb2 as pb
from tendhost.v1.host_pb2 import HostFilter
from tendhost.v1.rollout_pb2 import ROLLOUT_STATUS_COMPLETED, RolloutSpec
from tests.rpc.api import Api, refusal
from tests.unit.engine.fake_clock import START

NIGHTLY: dict[str, Any] = {"name": "nightly", "cron": "0 3 * * *", "time_zone": "Europe/Berlin"}
ROLLOUT = RolloutSpec(waves=("1",), filter=HostFilter(all_tags=["web"]))


async def create(api: Api, **spec: Any) -> wire.Schedule:
    request = pb.CreateScheduleRequest(spec=wire.ScheduleSpec(**{**NIGHTLY, **spec}))
    schedule = (await api.schedules.CreateSchedule(request)).schedule
    assert isinstance(schedule, wire.Schedule)
    return schedule


async def shown(api: Api, name: str = "nightly") -> wire.Schedule:
    response = await api.schedules.GetSchedule(pb.GetScheduleRequest(name=name))
    assert isinstance(response.schedule, wire.Schedule)
    return response.schedule


async def update(api: Api, *paths: str, **spec: Any) -> wire.Schedule:
    request = pb.UpdateScheduleRequest(
        name="nightly", spec=wire.ScheduleSpec(**spec), update_mask=FieldMask(paths=paths)
    )
    schedule = (await api.schedules.UpdateSchedule(request)).schedule
    assert isinstance(schedule, wire.Schedule)
    return schedule


def moments(schedule: wire.Schedule) -> list[str]:
    return [at.ToJsonString() for at in schedule.next_runs]


async def run_is_over(api: Api, name: str = "nightly") -> wire.Schedule:
    async def done() -> bool:
        return (await shown(api, name)).HasField("last_run")

    await api.world.until(done)
    schedule = await shown(api, name)
    if schedule.last_run.rollout_id:
        await api.world.rollout_ended(schedule.last_run.rollout_id)
    return await shown(api, name)


async def test_a_schedule_says_what_was_asked_with_the_defaults_and_its_next_five_runs(api: Api):
    schedule = await create(api, rollout=ROLLOUT)
    assert (schedule.spec.name, schedule.spec.cron) == ("nightly", "0 3 * * *")
    assert schedule.spec.missed == wire.MISSED_RUNS_SKIP
    assert schedule.spec.grace == Duration(seconds=900)
    assert schedule.spec.starts_at.ToDatetime(tzinfo=UTC) == START
    assert schedule.spec.rollout.waves == ["1"]
    assert schedule.spec.rollout.filter.all_tags == ["web"]
    assert schedule.status == wire.SCHEDULE_STATUS_ACTIVE
    assert moments(schedule) == [f"2026-03-0{day}T02:00:00Z" for day in range(2, 7)]
    assert not schedule.HasField("last_run")
    assert not schedule.HasField("last_rollout")
    assert schedule == await shown(api)


async def test_a_run_that_is_due_is_told_with_its_rollout(api: Api):
    await api.register("web1", tags=["web"])
    await create(api, rollout=ROLLOUT)
    api.world.clock.advance(timedelta(hours=14))
    schedule = await run_is_over(api)
    run = schedule.last_run
    assert run.outcome == wire.RUN_OUTCOME_STARTED
    assert run.due_at.ToJsonString() == "2026-03-02T02:00:00Z"
    assert schedule.last_rollout.id == run.rollout_id
    assert schedule.last_rollout.status == ROLLOUT_STATUS_COMPLETED
    assert schedule.last_rollout.created_by == "schedule nightly"
    assert schedule.last_rollout.progress.completed == 1
    assert moments(schedule)[0] == "2026-03-03T02:00:00Z"


async def test_a_run_that_could_not_begin_says_why(api: Api):
    await create(api, rollout=ROLLOUT)
    api.world.clock.advance(timedelta(hours=14))
    schedule = await run_is_over(api)
    assert schedule.last_run.outcome == wire.RUN_OUTCOME_REFUSED
    assert "no host" in schedule.last_run.detail
    assert not schedule.last_run.rollout_id
    assert moments(schedule)[0] == "2026-03-03T02:00:00Z"


async def test_schedules_are_listed_by_name_page_by_page(api: Api):
    for name in ("c", "a", "b"):
        await create(api, name=name)
    first = await api.schedules.ListSchedules(pb.ListSchedulesRequest(page_size=2))
    assert [schedule.spec.name for schedule in first.schedules] == ["a", "b"]
    following = pb.ListSchedulesRequest(page_size=2, page_token=first.next_page_token)
    rest = await api.schedules.ListSchedules(following)
    assert [schedule.spec.name for schedule in rest.schedules] == ["c"]
    assert not rest.next_page_token
    stray = pb.ListSchedulesRequest(page_token="c3RyYXk=")
    assert (await refusal(api.schedules.ListSchedules(stray))).reason == "PAGE_TOKEN_INVALID"


async def test_only_what_the_mask_names_is_changed(api: Api):
    await create(api, rollout=ROLLOUT, missed=wire.MISSED_RUNS_RUN_ONCE)
    changed = await update(api, "grace", grace=Duration(seconds=60), cron="1 1 1 1 1")
    assert (changed.spec.cron, changed.spec.grace.seconds) == ("0 3 * * *", 60)
    assert changed.spec.missed == wire.MISSED_RUNS_RUN_ONCE
    assert changed.spec.rollout.waves == ["1"]
    changed = await update(api, "rollout")
    assert changed.spec.rollout.waves == ["2"]
    assert not changed.spec.rollout.filter.all_tags


async def test_a_rule_takes_the_place_of_a_cron_expression(api: Api):
    await create(api)
    changed = await update(api, "rrule", rrule="FREQ=WEEKLY;BYDAY=SA;BYHOUR=3")
    assert (changed.spec.cron, changed.spec.rrule) == ("", "FREQ=WEEKLY;BYDAY=SA;BYHOUR=3")
    assert moments(changed)[:2] == ["2026-03-07T02:00:00Z", "2026-03-14T02:00:00Z"]
    changed = await update(api, "cron", cron="0 4 * * *")
    assert (changed.spec.cron, changed.spec.rrule) == ("0 4 * * *", "")


async def test_a_rule_counts_anew_in_another_time_zone_and_on_when_something_else_is_changed(
    api: Api,
):
    rule = "FREQ=DAILY;INTERVAL=2;BYHOUR=3"
    made = await create(api, cron="", rrule=rule)
    assert made.spec.starts_at.ToJsonString() == "2026-02-28T23:00:00Z"
    api.world.clock.advance(timedelta(hours=24))
    kept = await update(api, "grace", grace=Duration(seconds=60))
    assert kept.spec.starts_at == made.spec.starts_at
    moved = await update(api, "time_zone", time_zone="Asia/Kolkata")
    assert moved.spec.starts_at.ToJsonString() == "2026-03-01T18:30:00Z"
    assert moments(moved)[0] == "2026-03-03T21:30:00Z"


@pytest.mark.parametrize("paths", [("rrule",), ("time_zone",), ("cron", "rrule", "time_zone")])
async def test_schedule__its_rule_said_again_counts_on_and_makes_no_event(
    api: Api, paths: tuple[str, ...]
):
    rule = "FREQ=DAILY;INTERVAL=2;BYHOUR=3"
    made = await create(api, cron="", rrule=rule)
    api.world.clock.advance(timedelta(hours=24))
    kept = await update(api, *paths, rrule=f" {rule}", time_zone="Europe/Berlin")
    assert kept.spec.starts_at == made.spec.starts_at
    assert (kept.revision, kept.etag) == (made.revision, made.etag)


async def test_schedule__a_mask_that_names_no_field_is_refused(api: Api):
    await create(api)
    refused = await refusal(update(api, cron="0 4 * * *"))
    assert (refused.code, refused.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["update_mask"])


async def test_a_beginning_in_the_future_stays_when_the_rule_is_changed(api: Api):
    begins = Timestamp(seconds=int(datetime(2026, 4, 1, tzinfo=UTC).timestamp()))
    await create(api, starts_at=begins)
    changed = await update(api, "cron", cron="0 4 * * *")
    assert changed.spec.starts_at == begins
    assert moments(changed)[0] == "2026-04-01T02:00:00Z"


@pytest.mark.parametrize("path", ["name", "colour", "rollout.waves"])
async def test_a_mask_that_names_what_cannot_be_changed_is_refused(api: Api, path: str):
    await create(api)
    refused = await refusal(update(api, path))
    assert (refused.code, refused.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["update_mask"])


async def test_a_schedule_is_paused_resumed_and_deleted_where_that_is_possible(api: Api):
    await create(api)
    resume, pause = (
        pb.ResumeScheduleRequest(name="nightly"),
        pb.PauseScheduleRequest(name="nightly"),
    )
    refused = await refusal(api.schedules.ResumeSchedule(resume))
    assert (refused.code, refused.reason) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "INVALID_SCHEDULE_STATUS",
    )
    assert refused.facts == {"schedule": "nightly", "status": "active", "wanted": "resumed"}
    paused = (await api.schedules.PauseSchedule(pause)).schedule
    assert (paused.status, moments(paused)) == (wire.SCHEDULE_STATUS_PAUSED, [])
    assert (await refusal(api.schedules.PauseSchedule(pause))).reason == "INVALID_SCHEDULE_STATUS"
    api.world.clock.advance(timedelta(days=2))
    resumed = (await api.schedules.ResumeSchedule(resume)).schedule
    assert moments(resumed)[0] == "2026-03-04T02:00:00Z"
    assert not resumed.HasField("last_run")
    deleted = await api.schedules.DeleteSchedule(pb.DeleteScheduleRequest(name="nightly"))
    assert deleted.revision == resumed.revision + 1
    refused = await refusal(api.schedules.GetSchedule(pb.GetScheduleRequest(name="nightly")))
    assert (refused.code, refused.reason) == (grpc.StatusCode.NOT_FOUND, "SCHEDULE_NOT_FOUND")


async def test_a_schedule_of_that_name_is_there_once(api: Api):
    await create(api)
    refused = await refusal(create(api))
    assert (refused.code, refused.reason) == (
        grpc.StatusCode.ALREADY_EXISTS,
        "SCHEDULE_ALREADY_EXISTS",
    )


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"name": "Nightly"}, "spec.name"),
    ({"cron": "0 0 30 2 *"}, "spec.cron"),
    ({"cron": "0 0 31 4,6,9,11 *"}, "spec.cron"),
    ({"cron": "* * */20 * 1L"}, "spec.cron"),
    ({"cron": "61 * * * *"}, "spec.cron"),
    ({"cron": "0 0 3 * * *"}, "spec.cron"),
    ({"cron": ""}, "spec.cron"),
    ({"rrule": "FREQ=DAILY"}, "spec.cron"),
    ({"cron": "", "rrule": "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30"}, "spec.rrule"),
    ({"cron": "", "rrule": "FREQ=DAILY;UNTIL=20260101T000000Z"}, "spec.rrule"),
    ({"cron": "", "rrule": "FREQ=DAILY;INTERVAL=0"}, "spec.rrule"),
    ({"cron": "", "rrule": "FREQ=SECONDLY"}, "spec.rrule"),
    ({"time_zone": "Europe/Atlantis"}, "spec.time_zone"),
    ({"time_zone": "../../etc/passwd"}, "spec.time_zone"),
    ({"starts_at": Timestamp(seconds=4_102_444_800)}, "spec.starts_at"),
    ({"starts_at": Timestamp(seconds=2**60)}, "spec.starts_at"),
    ({"grace": Duration(seconds=59)}, "spec.grace"),
    ({"grace": Duration(seconds=86_401)}, "spec.grace"),
    ({"missed": 99}, "spec.missed"),
    ({"rollout": RolloutSpec(waves=("0",))}, "spec.rollout.waves[0]"),
]


@pytest.mark.parametrize(("wrong", "field"), WRONG, ids=lambda value: str(value).replace("\n", ""))
async def test_what_cannot_be_kept_is_refused_and_the_field_is_named(
    api: Api, wrong: dict[str, Any], field: str
):
    refused = await refusal(create(api, **wrong))
    assert (refused.code, refused.fields) == (grpc.StatusCode.INVALID_ARGUMENT, [field])
    listed = await api.schedules.ListSchedules(pb.ListSchedulesRequest())
    assert not listed.schedules


@pytest.mark.parametrize(
    ("wrong", "field"),
    [({"cron": "0 0 30 2 *"}, "spec.cron"), ({"grace": Duration(seconds=1)}, "spec.grace")],
)
async def test_a_change_is_held_to_the_same_rules(api: Api, wrong: dict[str, Any], field: str):
    made = await create(api)
    refused = await refusal(update(api, *wrong, **wrong))
    assert refused.fields == [field]
    assert await shown(api) == made


@pytest.mark.parametrize("method", ["Get", "Update", "Pause", "Resume", "Delete"])
async def test_a_schedule_that_nobody_knows_is_not_found(api: Api, method: str):
    request = getattr(pb, f"{method}ScheduleRequest")(name="nothing")
    if method == "Update":
        request.update_mask.paths.append("grace")
    refused = await refusal(getattr(api.schedules, f"{method}Schedule")(request))
    assert (refused.code, refused.reason) == (grpc.StatusCode.NOT_FOUND, "SCHEDULE_NOT_FOUND")


async def test_a_mutation_that_is_sent_twice_is_one(api: Api):
    id = "5f9d9f6e-2b1c-4c5e-9a52-0d6f3f6f1a11"
    spec: dict[str, Any] = dict(NIGHTLY)
    request = pb.CreateScheduleRequest(spec=wire.ScheduleSpec(**spec), request_id=id)
    first = await api.schedules.CreateSchedule(request)
    assert await api.schedules.CreateSchedule(request) == first
    id = "5f9d9f6e-2b1c-4c5e-9a52-0d6f3f6f1a12"
    deletion = pb.DeleteScheduleRequest(name="nightly", request_id=id)
    gone = await api.schedules.DeleteSchedule(deletion)
    assert await api.schedules.DeleteSchedule(deletion) == gone


async def test_every_change_of_a_schedule_is_an_event(api: Api):
    await api.register("web1", tags=["web"])
    await create(api, rollout=ROLLOUT)
    await update(api, "grace", grace=Duration(seconds=60))
    await api.schedules.PauseSchedule(pb.PauseScheduleRequest(name="nightly"))
    await api.schedules.ResumeSchedule(pb.ResumeScheduleRequest(name="nightly"))
    api.world.clock.advance(timedelta(hours=14))
    schedule = await run_is_over(api)
    await api.schedules.DeleteSchedule(pb.DeleteScheduleRequest(name="nightly"))
    told = [
        message
        for message in map(event_message, await api.world.events())
        if message.WhichOneof("body") == "schedule_changed"
    ]
    names = [event_pb2.ScheduleChange.Name(m.schedule_changed.change) for m in told]
    assert [name.removeprefix("SCHEDULE_CHANGE_") for name in names] == [
        *("CREATED", "UPDATED", "PAUSED", "RESUMED", "STARTED", "DELETED")
    ]
    assert {m.schedule_changed.schedule for m in told} == {"nightly"}
    assert told[4].rollout_id == schedule.last_run.rollout_id
    assert told[4].schedule_changed.next_at.ToJsonString() == "2026-03-03T02:00:00Z"
    assert told[0].schedule_changed.message.startswith("by ")
    assert not told[2].schedule_changed.HasField("next_at")
