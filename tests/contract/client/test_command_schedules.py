"""`tendhost schedule …`: what it asks, prints, and exits with; and what the SDK asks and is told."""

from datetime import UTC, datetime, timedelta

import grpc
import pytest

from tendhost.client import MissedRuns, RolloutSpec, RunOutcome, ScheduleSpec, ScheduleStatus
from tendhost.v1 import host_pb2, rollout_pb2, schedule_pb2
from tendhost.v1 import schedule_service_pb2 as pb
from tests.contract.client.messages import AT, rollout, schedule
from tests.contract.client.mock_server import Refused

SCHEDULE_KEYS = [
    *("spec", "status", "next_runs", "last_run", "last_rollout"),
    *("created_by", "created_at", "revision", "etag", "warnings"),
    *("bound_to", "incomplete"),
]
SPEC_KEYS = [
    *("name", "cron", "rrule", "time_zone", "starts_at", "offset_days", "missed", "grace"),
    "rollout",
]
RUN_KEYS = ["due_at", "at", "outcome", "rollout_id", "detail"]
"""Programs read them: none is ever removed or renamed."""


def had(outcome: str, detail: str = "", rollout_id: str = "") -> schedule_pb2.ScheduledRun:
    return schedule_pb2.ScheduledRun(
        due_at=AT,
        at=AT,
        outcome=schedule_pb2.RunOutcome.Value(f"RUN_OUTCOME_{outcome}"),
        rollout_id=rollout_id,
        detail=detail,
    )


def test_schedule_is_made_of_what_was_typed(tendhost, server):
    server.answer("CreateSchedule", pb.CreateScheduleResponse(schedule=schedule()))
    done = tendhost(
        *("schedule", "create", "weekly", "--cron", "0 3 * * 6", "--time-zone", "Europe/Berlin"),
        *("--missed", "run-once", "--grace", "1h", "--starts-at", "2027-01-15T09:00+01:00"),
        *("--tag", "web", "--waves", "1,rest", "--max-failures", "2"),
    )
    first, heading, second, *_ = (line.strip() for line in done.out.splitlines())
    assert (done.status, first, heading) == (0, "schedule weekly is active", "NEXT RUNS")
    assert second.startswith("Fri 2027-01-22 09:00 Europe/Berlin")
    (request,) = server.requests("CreateSchedule")
    spec = request.spec
    assert (spec.name, spec.cron, spec.rrule, spec.time_zone) == (
        *("weekly", "0 3 * * 6", "", "Europe/Berlin"),
    )
    assert (spec.missed, spec.grace.seconds) == (schedule_pb2.MISSED_RUNS_RUN_ONCE, 3600)
    assert spec.starts_at.ToDatetime(tzinfo=UTC) == datetime(2027, 1, 15, 8, 0, tzinfo=UTC)
    assert (spec.rollout.waves, spec.rollout.max_failures) == (["1", "rest"], "2")
    assert spec.rollout.filter.all_tags == ["web"]


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("2027-01-15T09:00+01:00", "2027-01-15T08:00"),
        ("2027-01-15T09:00[Europe/Berlin]", "2027-01-15T08:00"),
        ("2027-01-15T09:00+01:00[Europe/Berlin]", "2027-01-15T08:00"),
        (
            "2027-01-15T09:00Z[Europe/Berlin]",
            "2027-01-15T09:00",
        ),  # RFC 9557: Z leaves the offset open
        ("2026-10-25T02:30[Europe/Berlin]", "2026-10-25T00:30"),  # the first of two
        ("2026-10-25T02:30+01:00[Europe/Berlin]", "2026-10-25T01:30"),
    ],
)
def test_start_of_a_schedule__is_a_time_with_its_offset_or_zone(tendhost, server, typed, expected):
    server.answer("CreateSchedule", pb.CreateScheduleResponse(schedule=schedule()))
    rule = ("--cron", "0 3 * * *", "--offset-days", "-3")
    done = tendhost("schedule", "create", "weekly", *rule, "--starts-at", typed)
    assert done.status == 0
    (request,) = server.requests("CreateSchedule")
    assert request.spec.starts_at.ToDatetime().isoformat()[:16] == expected
    assert request.spec.offset_days == -3


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("2027-01-15T18:00+05:00[Europe/Berlin]", "is not that of Europe/Berlin, which is +01:00"),
        ("2027-07-15T18:00+01:00[Europe/Berlin]", "is not that of Europe/Berlin, which is +02:00"),
        ("2027-03-28T02:30[Europe/Berlin]", "does not exist"),
        ("2026-10-04T02:15[Australia/Lord_Howe]", "does not exist"),
        ("2027-01-15T09:00", "use one with its time zone"),
        ("2027-01-15T09:00[Europe/Atlantis]", "unknown time zone 'Europe/Atlantis'"),
    ],
)
@pytest.mark.parametrize("option", ["--starts-at", "--freeze"])
def test_time_that_contradicts_itself__is_refused_with_its_option(
    tendhost, server, option, typed, words
):
    freeze = f"'year end' {typed} 2028-01-01T00:00Z"
    commands = {
        "--starts-at": ("schedule", "create", "weekly", "--cron", "0 3 * * *", option, typed),
        "--freeze": ("policy", "set", option, freeze),
    }
    done = tendhost(*commands[option])
    assert (done.status, done.out) == (2, "")
    assert done.err.splitlines()[-1].startswith(f"error: {option}: ")
    assert words in done.err


def test_schedule__that_is_bound_to_hosts_is_shown_with_them(tendhost, server):
    bound = schedule(bound_to=host_pb2.HostFilter(groups=["web"]))
    server.answer("GetSchedule", pb.GetScheduleResponse(schedule=bound))
    assert "bound to hosts of group web" in " ".join(
        tendhost("schedule", "show", "weekly").out.split()
    )


def test_schedule_has_the_defaults_that_are_documented(tendhost, server):
    server.answer("CreateSchedule", pb.CreateScheduleResponse(schedule=schedule()))
    rule = "FREQ=DAILY;BYHOUR=3"
    document = tendhost("schedule", "create", "daily", "--rrule", rule, "--output", "json").json
    assert list(document) == SCHEDULE_KEYS
    assert list(document["spec"]) == SPEC_KEYS
    (request,) = server.requests("CreateSchedule")
    expected = schedule_pb2.ScheduleSpec(
        name="daily", rrule=rule, time_zone="UTC", missed=schedule_pb2.MISSED_RUNS_SKIP
    )
    expected.grace.FromSeconds(900)
    expected.rollout.CopyFrom(
        rollout_pb2.RolloutSpec(waves=("2",), order=rollout_pb2.HOST_ORDER_NAME)
    )
    expected.rollout.filter.SetInParent()
    expected.rollout.delay_between_waves.FromSeconds(30)
    assert request.spec == expected


@pytest.mark.parametrize(
    ("option", "wrong", "expected"),
    [
        ("--missed", "twice", "invalid policy 'twice'; use skip, run-once"),
        ("--grace", "soon", "invalid duration 'soon'"),
        ("--starts-at", "tomorrow", "invalid time 'tomorrow'; use one with its time zone"),
        ("--starts-at", "2027-01-15T09:00", "invalid time '2027-01-15T09:00'; use"),
    ],
)
def test_wrong_option_is_refused_as_it_was_typed(option, wrong, expected, tendhost, server):
    done = tendhost("schedule", "create", "weekly", "--cron", "0 3 * * 6", option, wrong)
    assert done.status == 2
    assert done.err.startswith(f"error: {option}: {expected}")
    assert not server.calls


def test_refused_field_is_told_by_the_name_of_its_option(tendhost, server):
    words = "invalid cron expression '0 0 30 2 *': bad day-of-month"
    refused = Refused(
        code=grpc.StatusCode.INVALID_ARGUMENT,
        reason="INVALID_ARGUMENT",
        violations=[("spec.cron", words), ("spec.rollout.waves[0]", "must be more than nothing")],
    )
    server.answer("CreateSchedule", refused)
    done = tendhost("schedule", "create", "never", "--cron", "0 0 30 2 *")
    assert (done.status, done.err.splitlines()) == (
        2,
        [f"error: --cron: {words}", "error: --waves: must be more than nothing"],
    )


def test_schedules_are_listed_with_their_next_and_last_runs(tendhost, server):
    skipped = schedule("PAUSED", last_run=had("OVERLAPPED", "rollout ro1 has not ended"))
    skipped.spec.name = "other"
    answer = pb.ListSchedulesResponse(schedules=[schedule(), skipped])
    server.answer("ListSchedules", answer)
    head, active, paused = tendhost("schedule", "list").out.splitlines()
    assert head.split() == [
        *("NAME", "RULE", "TIME", "ZONE", "STATUS", "NEXT", "RUN"),
        "LAST",
        "RUN",
    ]
    assert active.startswith("weekly  0 3 * * 6  Europe/Berlin  active  2027-01-22 09:00 (in")
    assert paused.split()[:8] == ["other", *["0", "3", "*", "*", "6"], "Europe/Berlin", "paused"]
    assert "overlapped" in paused
    documents = tendhost("schedule", "list", "--output", "json").json
    assert [document["spec"]["name"] for document in documents] == ["weekly", "other"]


def test_no_schedules_are_told_in_words(tendhost, server):
    server.answer("ListSchedules", pb.ListSchedulesResponse())
    assert tendhost("schedule", "list").out == "no schedules\n"


def test_schedule_is_shown_with_its_next_runs_and_what_became_of_the_last(tendhost, server):
    shown = schedule(
        last_run=had("OVERLAPPED", "rollout ro1 of the former run has not ended: it is paused"),
        last_rollout=rollout("PAUSED", completed=1, pending=1),
    )
    server.answer("GetSchedule", pb.GetScheduleResponse(schedule=shown))
    out = tendhost("schedule", "show", "weekly").out
    said = [" ".join(line.split()) for line in out.splitlines()]
    assert said[:4] == [
        *("name weekly", "status active", "rule 0 3 * * 6", "time zone Europe/Berlin"),
    ]
    head = said.index("NEXT RUNS")
    assert said[head + 1].startswith("Fri 2027-01-22 09:00 Europe/Berlin (in ")
    assert said[head + 2].startswith("Fri 2027-01-29 09:00 Europe/Berlin (in ")
    assert (
        "last run overlapped, due 2027-01-15 09:00 Europe/Berlin:"
        " rollout ro1 of the former run has not ended: it is paused"
    ) in said
    assert "last rollout ro1 paused: wave 1 of 1; 2 hosts: 1 pending, 1 completed" in said
    document = tendhost("schedule", "show", "weekly", "--output", "json").json
    assert list(document["last_run"]) == RUN_KEYS
    assert document["next_runs"][0] == "2027-01-22T08:00:00Z"
    assert document["last_rollout"]["status"] == "paused"


@pytest.mark.parametrize(
    ("verb", "method", "status"),
    [("pause", "PauseSchedule", "PAUSED"), ("resume", "ResumeSchedule", "ACTIVE")],
)
def test_schedule_is_paused_and_resumed(verb, method, status, tendhost, server):
    server.answer(method, getattr(pb, f"{method}Response")(schedule=schedule(status)))
    done = tendhost("schedule", verb, "weekly")
    assert (done.status, done.out.splitlines()[0]) == (0, f"schedule weekly is {status.lower()}")
    assert [request.name for request in server.requests(method)] == ["weekly"]


def test_only_what_was_typed_is_changed(tendhost, server):
    server.answer("UpdateSchedule", pb.UpdateScheduleResponse(schedule=schedule()))
    done = tendhost("schedule", "set", "weekly", "--cron", "0 3 * * 6", "--missed", "run-once")
    assert (done.status, done.out.splitlines()[0]) == (0, "schedule weekly is active")
    (request,) = server.requests("UpdateSchedule")
    assert (request.name, sorted(request.update_mask.paths)) == ("weekly", ["cron", "missed"])
    assert request.spec.cron == "0 3 * * 6"
    assert request.spec.missed == schedule_pb2.MISSED_RUNS_RUN_ONCE


def test_nothing_to_change_is_refused(tendhost, server):
    done = tendhost("schedule", "set", "weekly")
    assert (done.status, done.err) == (
        2,
        "error: nothing to change; see `tendhost schedule set --help`\n",
    )
    assert not server.calls


def test_schedule_is_deleted(tendhost, server):
    server.answer("DeleteSchedule", pb.DeleteScheduleResponse(revision=8))
    assert tendhost("schedule", "delete", "weekly").out == "deleted schedule weekly\n"
    document = tendhost("schedule", "delete", "weekly", "--output", "json").json
    assert document == {"name": "weekly", "deleted": True}


def test_schedule_that_nobody_knows_is_told(tendhost, server):
    refused = Refused(
        code=grpc.StatusCode.NOT_FOUND, reason="SCHEDULE_NOT_FOUND", message="there is none"
    )
    server.answer("GetSchedule", refused)
    done = tendhost("schedule", "show", "nothing")
    assert (done.status, done.err) == (2, "error: there is none\n")


# --- the SDK --------------------------------------------------------------------------------------


async def test_what_is_asked_comes_back_as_it_was_asked(server, client):
    spec = ScheduleSpec(
        name="weekly",
        rrule="FREQ=WEEKLY",
        time_zone="Europe/Berlin",
        starts_at=datetime(2027, 1, 1, tzinfo=UTC),
        missed=MissedRuns.RUN_ONCE,
        grace=timedelta(hours=2),
        rollout=RolloutSpec(waves=("1",), dry_run=True),
    )

    def echoed() -> pb.CreateScheduleResponse:
        (request,) = server.requests("CreateSchedule")
        return pb.CreateScheduleResponse(schedule=schedule_pb2.Schedule(spec=request.spec))

    server.answer("CreateSchedule", pb.CreateScheduleResponse(schedule=schedule()))
    await client.create_schedule(spec)
    server.answer("GetSchedule", pb.GetScheduleResponse(schedule=echoed().schedule))
    assert (await client.get_schedule("weekly")).spec == spec


async def test_only_what_is_given_is_changed(server, client):
    server.answer("UpdateSchedule", pb.UpdateScheduleResponse(schedule=schedule()))
    await client.update_schedule("weekly", grace=timedelta(minutes=1), missed=MissedRuns.SKIP)
    (request,) = server.requests("UpdateSchedule")
    assert (request.name, sorted(request.update_mask.paths)) == ("weekly", ["grace", "missed"])
    assert request.spec.grace.seconds == 60


async def test_schedule_is_told_in_values(server, client):
    answer = schedule(last_run=had("STARTED", rollout_id="ro1"), last_rollout=rollout())
    server.answer("GetSchedule", pb.GetScheduleResponse(schedule=answer))
    found = await client.get_schedule("weekly")
    assert (found.name, found.status) == ("weekly", ScheduleStatus.ACTIVE)
    assert found.last_run.outcome is RunOutcome.STARTED
    assert found.last_rollout.id == found.last_run.rollout_id == "ro1"
    assert [at.tzinfo for at in found.next_runs] == [UTC, UTC]


async def test_schedules_are_fetched_a_page_at_a_time(server, client):
    first = pb.ListSchedulesResponse(schedules=[schedule()], next_page_token="more")
    server.answer("ListSchedules", first, pb.ListSchedulesResponse(schedules=[schedule("PAUSED")]))
    found = [s.status async for s in client.schedules(page_size=1)]
    assert found == [ScheduleStatus.ACTIVE, ScheduleStatus.PAUSED]
    assert [r.page_token for r in server.requests("ListSchedules")] == ["", "more"]
