"""`tendhost rollout …` and `tendhost events`: what they ask, print, and exit with."""

from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest

from tendhost.v1 import event_pb2, host_pb2, operation_pb2, rollout_pb2, system_service_pb2
from tendhost.v1 import rollout_service_pb2 as pb
from tests.contract.client import messages
from tests.contract.client.messages import advanced, batch, hello, member, rollout, snapshot
from tests.contract.client.mock_server import Hold, MockServer, Refused

ROLLOUT_KEYS = [
    "id",
    "spec",
    "status",
    "progress",
    "wave",
    "wave_count",
    "next_wave_at",
    "created_by",
    "created_at",
    "ended_at",
    "revision",
    "halt",
    "approval_until",
    "expires_at",
    "expected_end",
    "retry_of",
    "settling_since",
    "held_up",
    "notes",
    "reboots_left_count",
    "opens_at",
    "bound_to",
    "incomplete",
]
"""Programs read them: none is ever removed or renamed."""


def test_rollout_is_started_with_what_was_typed(tendhost, server):
    server.answer("StartRollout", pb.StartRolloutResponse(rollout=rollout()))
    done = tendhost(
        *("rollout", "start", "--tag", "web", "--waves", "3", "--delay", "1h30m"),
        *("--group", "g", "--exclude", "db1", "--dry-run"),
    )
    assert done.out.splitlines() == [
        "started rollout ro1: 2 hosts in 1 wave",
        "to watch it: tendhost rollout watch ro1",
    ]
    (request,) = server.requests("StartRollout")
    expected = rollout_pb2.RolloutSpec(
        waves=("3",),
        filter=host_pb2.HostFilter(all_tags=["web"], groups=["g"], exclude_hosts=["db1"]),
        order=rollout_pb2.HOST_ORDER_NAME,
        dry_run=True,
    )
    expected.delay_between_waves.FromSeconds(5400)
    assert request.spec == expected


def test_rollout_has_the_defaults_that_are_documented(tendhost, server):
    server.answer("StartRollout", pb.StartRolloutResponse(rollout=rollout()))
    document = tendhost("rollout", "start", "--output", "json").json
    assert list(document) == ROLLOUT_KEYS
    assert document["spec"]["delay_between_waves"] == 30.0
    (request,) = server.requests("StartRollout")
    assert (request.spec.waves, request.spec.delay_between_waves.seconds) == (["2"], 30)


def test_empty_selection_is_refused(tendhost, server):
    refused = Refused(
        code=grpc.StatusCode.FAILED_PRECONDITION, reason="ROLLOUT_EMPTY", message="no host"
    )
    server.answer("StartRollout", refused)
    done = tendhost("rollout", "start", "--tag", "nope", "--follow")
    assert (done.status, done.err) == (2, "error: no host\n")


@pytest.mark.parametrize("wrong", ["30", "5 m", "soon", "-1s", ""])
def test_wrong_duration_is_refused_with_what_is_expected(wrong, tendhost, server):
    done = tendhost("rollout", "start", f"--delay={wrong}")
    assert done.status == 2
    expected = f"--delay: invalid duration {wrong!r}; use one such as 30s, 5m, 1h30m or 0"
    assert done.err == f"error: {expected}\n"
    assert not server.calls


def watching(server: MockServer, *updates: pb.WatchRolloutResponse) -> None:
    server.answer("GetRollout", pb.GetRolloutResponse(rollout=rollout()))
    server.answer("StartRollout", pb.StartRolloutResponse(rollout=rollout()))
    server.stream("WatchRollout", updates)


FAILING = (
    advanced(rollout(pending=2), member("a", "PENDING"), member("b", "PENDING")),
    advanced(rollout(in_progress=2), member("a", "IN_PROGRESS"), member("b", "IN_PROGRESS")),
    advanced(rollout(in_progress=1, completed=1), member("a", "COMPLETED")),
    advanced(rollout("COMPLETED", completed=1, failed=1), member("b", "FAILED", "disk full")),
)


def test_watched_rollout_tells_each_host_and_exits_with_1_where_one_failed(tendhost, server):
    watching(server, *FAILING)
    done = tendhost("rollout", "watch", "ro1")
    assert done.status == 1
    assert done.out.splitlines() == [
        "wave 1: a in progress",
        "wave 1: b in progress",
        "wave 1: a completed",
        "wave 1: b failed: disk full",
        "completed: wave 1 of 1; 2 hosts: 1 completed, 1 failed",
    ]


def test_followed_rollout_is_begun_and_watched(tendhost, server):
    watching(server, advanced(rollout("COMPLETED", completed=2), member("a", "COMPLETED")))
    done = tendhost("rollout", "start", "--follow")
    assert done.status == 0
    assert done.out.splitlines()[0] == "started rollout ro1: 2 hosts in 1 wave"
    assert done.out.splitlines()[-1] == "completed: wave 1 of 1; 2 hosts: 2 completed"


def test_cancelled_rollout_is_no_success(tendhost, server):
    watching(server, advanced(rollout("CANCELLED", completed=1, skipped=1)))
    assert tendhost("rollout", "watch", "ro1").status == 1


def test_watched_rollout_is_a_document_a_line_for_programs(tendhost, server):
    watching(server, *FAILING)
    done = tendhost("rollout", "watch", "ro1", "--output", "json")
    assert done.status == 1
    assert len(done.lines) == 4
    assert [list(line) for line in done.lines] == [["rollout", "hosts", "waves"]] * 4
    assert list(done.lines[0]["rollout"]) == ROLLOUT_KEYS
    (failed,) = done.lines[-1]["hosts"]
    assert failed == {
        "host": "b",
        "wave": 1,
        "status": "failed",
        "operation_id": "",
        "detail": "disk full",
        "waiting_for": None,
        "opens_at": None,
        "reboot_left": False,
        "incomplete": "",
    }


def test_rollout_is_shown_with_its_hosts(tendhost, server):
    response = pb.GetRolloutResponse(
        rollout=rollout("COMPLETED", completed=1, failed=1),
        hosts=[member("a", "COMPLETED"), member("b", "FAILED", "disk full")],
    )
    server.answer("GetRollout", response)
    lines = tendhost("rollout", "show", "ro1").out.splitlines()
    assert lines[0] == "ro1  completed  wave 1 of 1; 2 hosts: 1 completed, 1 failed"
    assert lines[-1].split() == ["b", "1", "failed", "disk", "full"]
    document = tendhost("rollout", "show", "ro1", "--output", "json").json
    assert list(document) == [*ROLLOUT_KEYS, "hosts"]
    assert [host["host"] for host in document["hosts"]] == ["a", "b"]


def test_rollout__that_is_bound_to_hosts_is_shown_with_them(tendhost, server):
    bound = rollout("COMPLETED", completed=2)
    bound.bound_to.groups.extend(["web", "db"])
    bound.bound_to.all_tags.append("prod")
    server.answer("GetRollout", pb.GetRolloutResponse(rollout=bound))
    words = (
        "bound to hosts of group web or db; tag prod, as they are labelled when their turn comes"
    )
    assert words in tendhost("rollout", "show", "ro1").out.splitlines()
    document = tendhost("rollout", "show", "ro1", "--output", "json").json
    assert document["bound_to"]["groups"] == ["web", "db"]


def test_rollouts_are_listed_up_to_the_limit(tendhost, server):
    server.answer(
        "ListRollouts", pb.ListRolloutsResponse(rollouts=[rollout()] * 3, next_page_token="t")
    )
    header, *rows = tendhost("rollout", "list", "--limit", "2").out.splitlines()
    assert header.split()[:3] == ["ID", "STATUS", "WAVE"]
    assert [row.split()[:4] for row in rows] == [["ro1", "running", "1/1", "2"]] * 2


@pytest.mark.parametrize(
    ("word", "method", "status"),
    [
        ("pause", "PauseRollout", "PAUSED"),
        ("resume", "ResumeRollout", "RUNNING"),
        ("cancel", "CancelRollout", "CANCELLED"),
        ("retry", "RetryRollout", "RUNNING"),
    ],
)
def test_steered_rollout_is_told_as_it_stands_then(word, method, status, tendhost, server):
    server.answer(method, getattr(pb, f"{method}Response")(rollout=rollout(status)))
    assert tendhost("rollout", word, "ro1").out == f"rollout ro1 is {status.lower()}\n"


def test_halted_rollout_resumes_with_the_budget_that_was_typed(tendhost, server):
    server.answer("ResumeRollout", pb.ResumeRolloutResponse(rollout=rollout()))
    tendhost("rollout", "resume", "ro1", "--max-failures", "3")
    (request,) = server.requests("ResumeRollout")
    assert (request.id, request.max_failures) == ("ro1", "3")


def test_wave_is_approved_and_host_skipped_by_what_was_typed(tendhost, server):
    server.answer("ApproveWave", pb.ApproveWaveResponse(rollout=rollout()))
    server.answer("SkipRolloutHost", pb.SkipRolloutHostResponse(rollout=rollout()))
    assert tendhost("rollout", "approve", "ro1", "2").status == 0
    assert tendhost("rollout", "skip", "ro1", "web9").status == 0
    (approved,), (skipped,) = server.requests("ApproveWave"), server.requests("SkipRolloutHost")
    assert (approved.id, approved.wave) == ("ro1", 2)
    assert (skipped.id, skipped.host) == ("ro1", "web9")


def test_watch_of_a_rollout_that_halts_says_how_to_go_on_and_exits_with_1(tendhost, server):
    halted = rollout("HALTED", failed=1, pending=1)
    halted.halt.message = "1 failed, more than max_failures = 0: a"
    watching(server, advanced(halted, member("a", "FAILED", "disk full")))
    done = tendhost("rollout", "watch", "ro1")
    assert done.status == 1
    lines = done.out.splitlines()
    assert lines[-4] == "halted: 1 failed, more than max_failures = 0: a"
    assert lines[-3].split()[:4] == ["tendhost", "rollout", "retry", "ro1"]


def test_everything_that_a_rollout_may_be_asked_is_asked_as_it_was_typed(tendhost, server):
    server.answer("StartRollout", pb.StartRolloutResponse(rollout=rollout()))
    tendhost(
        *("rollout", "start", "--waves", "1, 20%,rest", "--stage", "role:web:1,50%"),
        *("--stage", "role:db", "--dependency", "db before app", "--order", "random"),
        *("--seed", "7", "--max-failures", "10%", "--max-unavailable", "1 per zone"),
        *("--max-unavailable", "10%", "--approve-waves", "--approval-timeout", "2h"),
        *("--expires", "14d", "--outside-windows", "CVE-2026-1", "--host", "web*"),
        *("--any-tag", "x", "--state", "idle", "--security", "--settle", "1h", "--approver", "kim"),
    )
    (request,) = server.requests("StartRollout")
    spec = request.spec
    assert list(spec.waves) == ["1", "20%", "rest"]
    stages = [(stage.tag, list(stage.waves)) for stage in spec.stages]
    assert stages == [("role:web", ["1", "50%"]), ("role:db", [])]
    assert [(pair.before, pair.after) for pair in spec.dependencies] == [("db", "app")]
    assert (spec.order, spec.seed) == (rollout_pb2.HOST_ORDER_RANDOM, 7)
    budgets = [(budget.limit, budget.per_tag) for budget in spec.max_unavailable]
    assert (spec.max_failures, budgets) == ("10%", [("1", "zone"), ("10%", "")])
    assert (spec.approve_waves, spec.approval_timeout.seconds) == (True, 7200)
    assert (list(spec.approvers), spec.settle.seconds) == (["kim"], 3600)
    assert spec.expires_after.seconds == 14 * 86_400
    assert spec.window_override_reason == "CVE-2026-1"
    assert (list(spec.filter.names), list(spec.filter.any_tags)) == (["web*"], ["x"])
    assert list(spec.filter.states) == [host_pb2.HOST_STATE_IDLE]
    assert spec.scope.security_only


@pytest.mark.parametrize(
    ("option", "wrong", "expected"),
    [
        ("--order", "age", "invalid order 'age'; use name, random, last-update"),
        (
            "--dependency",
            "db",
            "invalid dependency 'db'; use two tags as in 'db before app' or 'db before app, if ok'",
        ),
        ("--expires", "soon", "invalid duration 'soon'"),
    ],
)
def test_what_cannot_be_understood_of_a_rollout_is_refused(
    option, wrong, expected, tendhost, server
):
    done = tendhost("rollout", "start", option, wrong)
    assert done.status == 2
    assert f"{option}: {expected}" in done.err
    assert not server.calls


def planned(server: MockServer) -> None:
    plan = rollout_pb2.RolloutPlan(
        id="pl1", wave_count=2, host_count=2, excluded_count=1, not_selected_count=3
    )
    plan.expected_duration.FromSeconds(400)
    hosts = [
        rollout_pb2.PlannedHost(host="a", wave=1),
        rollout_pb2.PlannedHost(host="b", wave=2, detail="its window opens at 22:00"),
        rollout_pb2.PlannedHost(
            host="c", exclusion=rollout_pb2.EXCLUSION_FAILED, detail="it has failed"
        ),
    ]
    first = pb.PlanRolloutResponse(plan=plan, hosts=hosts[:1], next_page_token="t")
    server.answer("PlanRollout", first, pb.PlanRolloutResponse(plan=plan, hosts=hosts))


def test_plan_says_who_is_updated_when_and_who_is_left_out_and_why(tendhost, server):
    planned(server)
    lines = tendhost("rollout", "plan", "--tag", "web").out.splitlines()
    assert lines[0] == "plan pl1: 2 hosts in 2 waves, about 6m40s"
    assert lines[1] == "not selected: 3 hosts"
    assert lines[4].split(maxsplit=2) == ["2", "b", "its window opens at 22:00"]
    assert lines[6].split(maxsplit=1) == ["c", "it has failed"]
    assert lines[-1] == "to start it: tendhost rollout start --plan pl1"


def test_plan_is_a_document_for_programs(tendhost, server):
    planned(server)
    document = tendhost("rollout", "plan", "--output", "json").json
    assert document["id"] == "pl1"
    assert [host["wave"] for host in document["hosts"]] == [1, 2, 0]


def test_plan_is_begun_by_its_id_alone(tendhost, server):
    server.answer("StartRollout", pb.StartRolloutResponse(rollout=rollout()))
    assert tendhost("rollout", "start", "--plan", "pl1").status == 0
    (request,) = server.requests("StartRollout")
    assert (request.plan_id, request.HasField("spec")) == ("pl1", False)
    refused = tendhost("rollout", "start", "--plan", "pl1", "--tag", "web")
    assert (refused.status, len(server.requests("StartRollout"))) == (2, 1)


@pytest.mark.parametrize(
    ("cause", "failed", "ways"),
    [
        ("FAILURES", 1, ["retry", "resume", "cancel"]),
        ("WAVE_HOOK", 0, ["resume", "cancel"]),
        ("UNHEALTHY", 1, ["retry", "resume", "cancel"]),
    ],
)
def test_halted_rollout_says_how_to_go_on(tendhost, server, cause, failed, ways):
    found = rollout("HALTED", completed=2 - failed, failed=failed)
    found.halt.cause = rollout_pb2.HaltCause.Value(f"HALT_CAUSE_{cause}")
    found.halt.message = "because"
    server.answer("GetRollout", pb.GetRolloutResponse(rollout=found))
    lines = tendhost("rollout", "show", "ro1").out.splitlines()
    assert lines[1] == "halted: because"
    told = [line.split()[2] for line in lines if line.startswith("  tendhost rollout")]
    assert told == ways
    assert any("--max-failures" in line for line in lines) is (cause == "FAILURES")


# --- events and info ------------------------------------------------------------------------------


def known(server: MockServer, revision: int, *, oldest: int = 1) -> None:
    info = system_service_pb2.GetServerInfoResponse(
        version="0.1.0", log_id="log1", revision=revision, oldest_revision=oldest, host_count=1
    )
    server.answer("GetServerInfo", info)


def test_info_says_what_server_it_is(tendhost, server):
    known(server, 9)
    lines = tendhost("info").out.splitlines()
    assert lines == [
        f"tendhostd 0.1.0 at {server.address}: 1 host",
        "event log log1, revisions 1 to 9",
    ]
    document = tendhost("info", "--output", "json").json
    assert list(document) == [
        *("version", "log_id", "revision", "oldest_revision", "host_count", "notifications"),
        *("audit_sinks", "pruning_problem", "store_problem", "open_access", "event_loop_lag"),
        "certificates",
    ]


def test_info_says_why_history_is_not_pruned(tendhost, server):
    words = "history is not pruned: the clock says 2036-02-07 06:28 UTC"
    info = system_service_pb2.GetServerInfoResponse(log_id="log1", pruning_problem=words)
    server.answer("GetServerInfo", info)
    assert words in tendhost("info").out.splitlines()


def test_info_says_how_late_the_event_loop_is(tendhost, server):
    info = system_service_pb2.GetServerInfoResponse(version="0.1.0", log_id="log1")
    info.event_loop_lag.max.FromMilliseconds(230)
    info.event_loop_lag.p99.FromMilliseconds(3)
    server.answer("GetServerInfo", info)
    words = "event loop delay in the last minute: at most 230 ms, 99 % within 3 ms"
    assert tendhost("info").out.splitlines()[2] == words
    lag = tendhost("info", "--output", "json").json["event_loop_lag"]
    assert lag == {"max": 0.23, "p99": 0.003}


def test_info_says_how_notifications_go(tendhost, server):
    ops = system_service_pb2.NotificationTarget(name="ops", delivered=3)
    mail = system_service_pb2.NotificationTarget(
        name="mail", undelivered=1, waiting=2, problem="URL 1 answered with status 500"
    )
    mail.problem_at.GetCurrentTime()
    info = system_service_pb2.GetServerInfoResponse(
        version="0.1.0", log_id="log1", notifications=[ops, mail]
    )
    server.answer("GetServerInfo", info)
    lines = tendhost("info").out.splitlines()
    assert lines[2] == "notifications to ops: 3 messages delivered"
    assert lines[3].startswith(
        "notifications to mail: 0 messages delivered, 1 undelivered, 2 waiting;"
        " URL 1 answered with status 500 ("
    )


def test_version_asks_no_server(tendhost, server):
    server.stop()
    done = tendhost("version")
    assert (done.status, done.out.split()[0]) == (0, "tendhost")


def test_latest_events_are_shown_and_that_is_all(tendhost, server):
    known(server, 60)
    server.stream("WatchEvents", [hello(60), batch(*range(11, 61)), Hold()])
    lines = tendhost("events").out.splitlines()
    assert len(lines) == 50
    assert lines[0].split()[0] == "11"
    assert lines[0].split()[2:] == ["web1", "host", "registered"]
    (request,) = server.requests("WatchEvents")
    assert (request.resume_after, request.log_id) == (10, "log1")


def test_events_are_not_asked_for_from_before_the_oldest(tendhost, server):
    known(server, 60, oldest=40)
    server.stream("WatchEvents", [hello(60), batch(*range(40, 61)), Hold()])
    assert len(tendhost("events").out.splitlines()) == 21
    assert [r.resume_after for r in server.requests("WatchEvents")] == [39]


def test_fleet_without_news_prints_nothing(tendhost, server):
    known(server, 9)
    done = tendhost("events", "--since", "9")
    assert (done.status, done.out) == (0, "")
    assert not server.requests("WatchEvents")


def test_revision_that_is_yet_to_come_is_refused(tendhost, server):
    known(server, 9)
    done = tendhost("events", "--since", "10")
    assert (done.status, done.err) == (
        *(2, "error: --since: 10 is greater than the current revision, 9\n"),
    )


def test_selection_of_events_is_passed_on(tendhost, server):
    known(server, 3)
    server.stream("WatchEvents", [hello(3), messages.bookmark(3), Hold()])
    tendhost("events", "--since", "0", "--host", "web*", "--tag", "a", "--group", "g")
    (request,) = server.requests("WatchEvents")
    assert request.filter == host_pb2.HostFilter(names=["web*"], all_tags=["a"], groups=["g"])


def test_pruned_events_are_made_up_for_by_the_fleet_as_it_is(tendhost, server):
    known(server, 60, oldest=40)
    compacted = Refused(code=grpc.StatusCode.OUT_OF_RANGE, reason="CURSOR_COMPACTED")
    taken = [hello(60), *snapshot(60, "a", "b"), Hold()]
    server.stream("WatchEvents", [compacted], taken, [compacted], taken)
    assert tendhost("events", "--since", "3").out.split() == [
        *("60", "snapshot", "of", "the", "fleet:", "2", "hosts"),
    ]
    (document,) = tendhost("events", "--since", "3", "--output", "json").lines
    assert list(document) == ["revision", "kind", "hosts"]
    assert [host["name"] for host in document["hosts"]] == ["a", "b"]


BODIES: dict[str, tuple[dict[str, Any], str, dict[str, Any]]] = {
    "state_changed": (
        {
            "state_changed": event_pb2.StateChanged(
                from_state=host_pb2.HOST_STATE_PENDING_UPDATES,
                to_state=host_pb2.HOST_STATE_UPDATING,
                cause="update",
            )
        },
        "pending_updates → updating  (update)",
        {"from_state": "pending_updates", "to_state": "updating", "cause": "update"},
    ),
    "update_progress": (
        {"update_progress": event_pb2.UpdateProgress(package="a", percent=42.4, phase="unpack")},
        "unpack a 42 %",
        {"package": "a", "percent": pytest.approx(42.4), "phase": "unpack"},
    ),
    "operation_changed": (
        {
            "operation_changed": event_pb2.OperationChanged(
                kind=operation_pb2.OPERATION_KIND_UPDATE,
                status=operation_pb2.OPERATION_STATUS_RUNNING,
                step=operation_pb2.STEP_NAME_REBOOT_CHECK,
            )
        },
        "update running reboot_check",
        {"kind": "update", "status": "running", "step": "reboot_check", "message": ""},
    ),
    "schedule_changed": (
        {
            "schedule_changed": event_pb2.ScheduleChanged(
                schedule="weekly",
                change=event_pb2.SCHEDULE_CHANGE_SKIPPED,
                next_at=messages.AT,
                message="no server ran",
            )
        },
        "weekly skipped, no server ran",
        {
            "schedule": "weekly",
            "change": "skipped",
            "next_at": "2027-01-15T08:00:00Z",
            "message": "no server ran",
            "by": "",
            "changes": [],
        },
    ),
    "policy_changed": (
        {"policy_changed": event_pb2.PolicyChanged(by="alex", deleted=True)},
        "fleet deleted by alex",
        {"group": "", "by": "alex", "deleted": True, "changes": []},
    ),
    "duplicates_changed": (
        {
            "duplicates_changed": event_pb2.DuplicatesChanged(
                duplicate_of=[
                    host_pb2.Duplicate(host="web2", same_host_key=True, same_machine_id=True)
                ]
            )
        },
        "web2 (same host key, machine-id)",
        {
            "duplicate_of": [
                {
                    "host": "web2",
                    "same_host_key": True,
                    "same_address": False,
                    "same_machine_id": True,
                }
            ]
        },
    ),
    "host_disconnected": (
        {"host_disconnected": event_pb2.HostDisconnected(reason="the end")},
        "the end",
        {"reason": "the end"},
    ),
    "host_acknowledged": (
        {"host_acknowledged": event_pb2.HostAcknowledged(by="eve")},
        "by eve",
        {"by": "eve"},
    ),
    "host_reconfigured": (
        {
            "host_reconfigured": event_pb2.HostReconfigured(
                fields=["tags", "policy.hooks.pre"],
                by="eve",
                changes=[
                    event_pb2.FieldChange(path="tags", old="", new="a"),
                    event_pb2.FieldChange(path="policy.hooks.pre"),
                ],
                former_labels=event_pb2.FormerLabels(groups=["web"]),
            )
        },
        "tags: none → a; policy.hooks.pre by eve",
        {
            "fields": ["tags", "policy.hooks.pre"],
            "by": "eve",
            "changes": [
                {"path": "tags", "old": "", "new": "a"},
                {"path": "policy.hooks.pre", "old": None, "new": None},
            ],
            "former_labels": {"groups": ["web"], "tags": []},
        },
    ),
}


@pytest.mark.parametrize("kind", BODIES)
def test_event_is_told_in_words_and_as_a_document(kind, tendhost, server):
    body, words, details = BODIES[kind]
    known(server, 1)
    happened = messages.batch(1)
    happened.events[0].CopyFrom(messages.event(1, **body))
    server.stream("WatchEvents", [hello(1), happened, Hold()])
    (line,) = tendhost("events", "--since", "0").out.splitlines()
    assert f"web1             {kind.replace('_', ' ')}" in line
    assert line.endswith(words)
    (document,) = tendhost("events", "--since", "0", "--output", "json").lines
    assert list(document) == [
        *("revision", "at", "host", "operation_id", "rollout_id", "kind", "details"),
        "incomplete",
    ]
    assert (document["kind"], document["details"]) == (kind, details)


def test_rollout_and_completed_update_are_told_in_numbers(tendhost, server):
    known(server, 2)
    happened = messages.batch(1, 2)
    advance = event_pb2.RolloutChanged(
        status=rollout_pb2.ROLLOUT_STATUS_RUNNING,
        progress=rollout().progress,
        wave=1,
        wave_count=3,
    )
    happened.events[0].CopyFrom(
        messages.event(1, host="", rollout_id="ro1", rollout_changed=advance)
    )
    completed = event_pb2.UpdateCompleted(result=messages.upgraded())
    happened.events[1].CopyFrom(messages.event(2, update_completed=completed))
    server.stream("WatchEvents", [hello(2), happened, Hold()])
    first, second = tendhost("events", "--since", "0").out.splitlines()
    assert first.endswith("ro1 running: wave 1 of 3, 0 of 2 hosts ended, 0 failed")
    assert second.endswith("update completed   1 package changed")


def test_reboots_left__are_shown_and_counted(tendhost, server):
    shown = rollout("COMPLETED", completed=2)
    shown.reboots_left_count = 1
    left = member("a", "COMPLETED", "its reboot was left: its window opens Sat")
    left.reboot_left = True
    server.answer("GetRollout", pb.GetRolloutResponse(rollout=shown, hosts=[left]))
    lines = tendhost("rollout", "show", "ro1").out.splitlines()
    assert (
        lines[0] == "ro1  completed  wave 1 of 1; 2 hosts: 2 completed; 1 host still needs a reboot"
    )
    assert lines[-1].split()[:3] == ["a", "1", "completed"]
    assert "its reboot was left: its window opens Sat" in lines[-1]


def test_reboots_left__are_part_of_a_report(tendhost, server):
    shown = rollout("COMPLETED", completed=2)
    shown.reboots_left_count = 2
    cause = pb.ReportCause(reason="its window opens Sat", host_count=2, hosts=["a", "b"])
    report = pb.GetRolloutReportResponse(rollout=shown, reboots_left=[cause])
    for option in ((), ("--markdown",)):
        server.answer("GetRolloutReport", report)
        out = tendhost("rollout", "report", "ro1", *option).out
        assert "0 reboots; 2 hosts still need a reboot" in out
        assert "its window opens Sat" in out
        assert "a, b" in out


def test_rollout__is_started_and_resumed_with_its_reboots(tendhost, server):
    server.answer("StartRollout", pb.StartRolloutResponse(rollout=rollout()))
    assert tendhost("rollout", "start", "--require-rebooted").status == 0
    assert server.requests("StartRollout")[0].spec.require_rebooted
    halted = rollout("HALTED", completed=1)
    halted.halt.cause = rollout_pb2.HALT_CAUSE_REBOOT_LEFT
    halted.halt.message = "wave 1 is not rebooted: a"
    server.answer("GetRollout", pb.GetRolloutResponse(rollout=halted))
    assert "add --ignore-reboots-left" in tendhost("rollout", "show", "ro1").out
    server.answer("ResumeRollout", pb.ResumeRolloutResponse(rollout=rollout()))
    assert tendhost("rollout", "resume", "ro1", "--ignore-reboots-left").status == 0
    assert server.requests("ResumeRollout")[0].ignore_reboots_left


def test_notes__are_shown_with_plans_and_rollouts(tendhost, server):
    noted = rollout()
    noted.notes.append("stage web has no wave")
    server.answer("StartRollout", pb.StartRolloutResponse(rollout=noted))
    assert "note: stage web has no wave" in tendhost("rollout", "start").out
    server.answer("GetRollout", pb.GetRolloutResponse(rollout=noted))
    assert "note: stage web has no wave" in tendhost("rollout", "show", "ro1").out


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("db before app", ("db", "app", False)),
        ("db before app, if ok", ("db", "app", True)),
        ("db before app if ok", ("db", "app", True)),
        ("role=db  before  tier:app,if ok ", ("role=db", "tier:app", True)),
    ],
)
def test_dependency__asks_for_success_if_it_says_so(tendhost, server, typed, expected):
    server.answer("StartRollout", pb.StartRolloutResponse(rollout=rollout()))
    assert tendhost("rollout", "start", "--dependency", typed).status == 0
    (sent,) = server.requests("StartRollout")[0].spec.dependencies
    assert (sent.before, sent.after, sent.only_if_succeeded) == expected


def shown_by(tendhost, server, found) -> list[str]:
    server.answer("GetRollout", pb.GetRolloutResponse(rollout=found))
    printed: str = tendhost("rollout", "show", "ro1").out
    return printed.splitlines()[1:]


IN_OVER_AN_HOUR = datetime.now(UTC) + timedelta(hours=1, minutes=50)


def test_paused_rollout__says_how_to_resume_it_and_not_when_it_goes_on(tendhost, server):
    paused = rollout("PAUSED", completed=1, pending=1)
    paused.next_wave_at.FromDatetime(IN_OVER_AN_HOUR - timedelta(hours=2))
    paused.settling_since.FromDatetime(IN_OVER_AN_HOUR)
    paused.held_up = "1 of 2 hosts are down"
    assert shown_by(tendhost, server, paused)[0] == (
        "paused; to continue: tendhost rollout resume ro1"
    )


@pytest.mark.parametrize("status", ["RUNNING", "PAUSED", "HALTED", "AWAITING_APPROVAL"])
def test_expiry__is_shown_while_hosts_are_left(tendhost, server, status):
    found = rollout(status, completed=1, pending=1)
    found.expires_at.FromDatetime(IN_OVER_AN_HOUR)
    (line,) = [text for text in shown_by(tendhost, server, found) if "expires" in text]
    assert line.startswith(f"expires {IN_OVER_AN_HOUR:%Y-%m-%d %H:%M} UTC (in 1h")
    assert line.endswith(": hosts that have not started by then are skipped")
    for over in (rollout("COMPLETED", completed=2), rollout("RUNNING", completed=1, in_progress=1)):
        over.expires_at.FromDatetime(IN_OVER_AN_HOUR)
        assert not [text for text in shown_by(tendhost, server, over) if "expires" in text]


def test_waiting_rollout__says_when_its_first_host_may_start(tendhost, server):
    waits = rollout("RUNNING", completed=1, waiting=1)
    waits.opens_at.FromDatetime(IN_OVER_AN_HOUR)
    opens = f"{IN_OVER_AN_HOUR:%Y-%m-%d %H:%M} UTC (in 1h"
    words = f"wave 1 waits for the windows of its 1 waiting host: the first may be changed {opens}"
    assert shown_by(tendhost, server, waits)[0].startswith(words)
    waits.expires_at.FromDatetime(IN_OVER_AN_HOUR - timedelta(minutes=30))
    assert "after the rollout has expired" in shown_by(tendhost, server, waits)[0]
    waits.ClearField("opens_at")
    assert shown_by(tendhost, server, waits)[0] == (
        "wave 1: 1 waiting host; the end cannot be estimated before they start"
    )


@pytest.mark.parametrize("status", ["CANCELLED", "EXPIRED"])
def test_rollout_that_winds_up__ends_with_its_running_operations(tendhost, server, status):
    ending = rollout(status, in_progress=2)
    ending.ClearField("ended_at")
    ending.next_wave_at.FromDatetime(IN_OVER_AN_HOUR)
    assert shown_by(tendhost, server, ending)[0] == "ends with its 2 running operations"
