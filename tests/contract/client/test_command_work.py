"""`tendhost query`, `update`, … and `tendhost operation …`: what they ask, print, and exit with."""

from typing import Any

import grpc
import pytest

from tendhost.client.transport import Patience, Transport
from tendhost.v1 import host_pb2, operation_pb2
from tendhost.v1 import host_service_pb2 as pb
from tendhost.v1 import operation_service_pb2 as operations_pb
from tests.contract.client import messages
from tests.contract.client.messages import logged, operation, step, watched
from tests.contract.client.mock_server import LOST, Refused

OPERATION_KEYS = [
    "id",
    "host",
    "kind",
    "status",
    "dry_run",
    "rollout_id",
    "created_by",
    "created_at",
    "started_at",
    "ended_at",
    "steps",
    "problem",
    "update",
    "health",
    "log_size",
    "resumes_operation_id",
    "revision",
    "reboot_outcome",
    "reboot_reason",
    "progress",
    "incomplete",
]
"""Programs read them: none is ever removed or renamed."""

NOT_FOUND = Refused(
    code=grpc.StatusCode.NOT_FOUND, reason="HOST_NOT_FOUND", message="host 'b' is not registered"
)
BUSY = Refused(code=grpc.StatusCode.ABORTED, reason="HOST_BUSY", message="host 'a' is busy")


@pytest.fixture
def updating(server):
    """Has an update of web1 end as the test says."""

    def end(ended):
        server.answer("StartUpdate", pb.StartUpdateResponse(operation=operation()))
        server.answer("WaitOperation", operations_pb.WaitOperationResponse(operation=ended))
        server.stream(
            "WatchOperation",
            [watched(operation(steps=[step("CONNECT", detail="logged in")])), LOST],
            [watched(operation(steps=list(ended.steps)[:1])), watched(ended)],
        )

    return end


def test_update_tells_its_steps_and_what_was_upgraded(tendhost, updating):
    steps = [step("CONNECT", detail="logged in"), step("APPLY", detail="done"), step("VERIFY")]
    updating(operation("SUCCEEDED", steps=steps, update=messages.upgraded(rebooted=True)))
    done = tendhost("update", "web1")
    assert (done.status, done.err) == (0, "")
    assert done.out.splitlines() == [
        "web1: connect: logged in",
        "web1: apply: done",
        "web1: verify: succeeded",
        "web1: 1 package upgraded, rebooted",
        "  libc6  2.36-9  →  2.36-10",
    ]


def test_dry_run_says_what_would_be_done_and_what_is_left_alone(tendhost, updating, server):
    withheld = [
        host_pb2.PendingPackage(
            name=f"p{number}", from_version="1", to_version="2", withheld=reason
        )
        for number, reason in enumerate(
            (host_pb2.WITHHELD_HELD, host_pb2.WITHHELD_KEPT_BACK, host_pb2.WITHHELD_PHASED)
        )
    ]
    updating(operation("SUCCEEDED", dry_run=True, update=messages.upgraded(withheld=withheld)))
    done = tendhost("update", "web1", "--dry-run")
    assert done.status == 0
    assert [request.dry_run for request in server.requests("StartUpdate")] == [True]
    told = [" ".join(line.split()) for line in done.out.splitlines()]
    assert told[-5:] == [
        "web1: 1 package would be upgraded",
        "libc6 2.36-9 → 2.36-10",
        "p0 1 → 2 withheld: held by the administrator",
        "p1 1 → 2 withheld: kept back, because it would remove another package",
        "p2 1 → 2 withheld: phased, not yet released for this host",
    ]


def test_failed_update_tells_step_and_reason_and_exits_with_1(tendhost, updating):
    steps = [step("CONNECT", detail="logged in"), step("APPLY", "FAILED", "disk full")]
    problem = messages.problem("only 3 MB are free", "DISK_FULL")
    updating(operation("FAILED", steps=steps, problem=problem))
    done = tendhost("update", "web1")
    assert done.status == 1
    assert done.out.splitlines()[-1] == "web1: failed in step apply: only 3 MB are free"


def test_each_attempt_that_failed_is_told_while_the_next_one_is_waited_for(tendhost, server):
    def trying(attempts: int) -> Any:
        under_way = step("CONNECT", "RUNNING", "port 22 refuses connections")
        under_way.ClearField("ended_at")
        under_way.attempts = attempts
        return watched(operation(steps=[under_way]))

    ended = operation("SUCCEEDED", steps=[step("CONNECT", detail="logged in")])
    server.answer("StartUpdate", pb.StartUpdateResponse(operation=operation()))
    server.answer("WaitOperation", operations_pb.WaitOperationResponse(operation=ended))
    server.stream("WatchOperation", [trying(2), trying(2), trying(3), watched(ended)])
    done = tendhost("update", "web1")
    assert done.out.splitlines()[:3] == [
        "web1: connect: port 22 refuses connections; attempt 2 follows",
        "web1: connect: port 22 refuses connections; attempt 3 follows",
        "web1: connect: logged in",
    ]


def test_interrupted_step_is_named_where_the_problem_came_from_it(tendhost, updating):
    cut_off = "the host went down while it ran"
    steps = [step("APPLY", "INTERRUPTED", cut_off), step("PREFLIGHT", "FAILED", "no lock")]
    updating(operation("FAILED", steps=steps, problem=messages.problem(cut_off, "INTERRUPTED")))
    done = tendhost("update", "web1")
    assert done.out.splitlines()[-1] == f"web1: failed in step apply: {cut_off}"


def test_cancelled_operation_exits_with_1(tendhost, updating):
    updating(operation("CANCELLED"))
    done = tendhost("update", "web1")
    assert (done.status, done.out.splitlines()[-1]) == (1, "web1: cancelled")


def test_operation_is_one_document_for_programs(tendhost, updating):
    updating(operation("SUCCEEDED", steps=[step("CONNECT")], update=messages.upgraded()))
    done = tendhost("update", "web1", "--output", "json")
    assert list(done.json) == OPERATION_KEYS
    assert (done.json["kind"], done.json["status"]) == ("update", "succeeded")
    assert list(done.json["steps"][0]) == [
        "name",
        "status",
        "started_at",
        "ended_at",
        "attempts",
        "detail",
    ]
    assert done.json["steps"][0]["name"] == "connect"
    assert list(done.json["update"]) == [
        "success",
        "upgraded_count",
        "packages",
        "reboot_required",
        "rebooted",
        "withheld",
        "kept_conffiles",
        "saved_conffiles",
        "undone",
        "plan_differences",
        "download_bytes",
        "snapshot",
        "projects",
        "restarted_services",
        "rolled_back",
        "health",
    ]


def test_operations_of_several_hosts_are_one_array_for_programs(tendhost, server):
    ended = [operation("SUCCEEDED", id=f"op{name}", host=name) for name in "ab"]
    server.answer("StartQuery", *(pb.StartQueryResponse(operation=o) for o in ended))
    done = tendhost("query", "a", "b", "--output", "json")
    assert [document["host"] for document in done.json] == ["a", "b"]


def test_id_is_all_that_is_printed_where_nobody_waits(tendhost, server):
    server.answer("StartReboot", pb.StartRebootResponse(operation=operation()))
    done = tendhost("reboot", "web1", "--no-wait", "--queue")
    assert (done.status, done.out) == (0, "op1\n")
    assert [request.queue for request in server.requests("StartReboot")] == [True]


@pytest.mark.parametrize(
    ("outcome", "reason", "line", "status"),
    [
        ("REBOOTED", "linux-image asks for it", "web1: rebooted (linux-image asks for it)", 0),
        ("NOT_NEEDED", "", "web1: no reboot needed", 0),
        (
            "UNKNOWN",
            "dpkg is locked",
            "web1: unknown whether a reboot is needed: dpkg is locked; not rebooted",
            1,
        ),
    ],
)
def test_reboot_if_required__prints_what_became_of_it(
    tendhost, server, outcome, reason, line, status
):
    ended = operation(
        "SUCCEEDED",
        kind=operation_pb2.OPERATION_KIND_REBOOT,
        reboot_outcome=operation_pb2.RebootOutcome.Value(f"REBOOT_OUTCOME_{outcome}"),
        reboot_reason=reason,
        health=operation_pb2.HealthResult(healthy=True, message="well"),
    )
    server.answer("StartReboot", *[pb.StartRebootResponse(operation=ended)] * 2)
    server.stream("WatchOperation", *[[watched(ended)]] * 2)
    done = tendhost("reboot", "web1", "--if-required")
    assert (done.out.splitlines(), done.status) == ([line], status)
    document = tendhost("reboot", "web1", "--if-required", "--output", "json").json
    assert document["reboot_outcome"] == outcome.lower()
    assert document["reboot_reason"] == reason


def test_host_that_is_refused_does_not_keep_the_others_from_their_work(tendhost, server):
    ended = operation("SUCCEEDED", host="a", update=messages.upgraded())
    server.answer("StartUpdate", NOT_FOUND, BUSY, pb.StartUpdateResponse(operation=ended))
    server.stream("WatchOperation", [watched(ended)])
    done = tendhost("update", "b", "c", "a", "a")
    assert done.status == 2
    assert done.err.splitlines() == ["error: host 'b' is not registered", "error: host 'a' is busy"]
    assert "a: 1 package upgraded" in done.out
    assert [request.name for request in server.requests("StartUpdate")] == ["b", "c", "a"]


def test_healthy_and_unhealthy_hosts_are_told_apart(tendhost, server):
    def check(*, healthy: bool) -> operation_pb2.Operation:
        found = operation_pb2.HealthResult(healthy=healthy, message="all units run")
        return operation("SUCCEEDED", kind=operation_pb2.OPERATION_KIND_CHECK, health=found)

    for healthy, status, said in ((True, 0, "web1: "), (False, 1, "web1: unhealthy: ")):
        ended = check(healthy=healthy)
        server.answer("StartCheck", pb.StartCheckResponse(operation=ended))
        server.stream("WatchOperation", [watched(ended)])
        done = tendhost("check", "web1")
        assert (done.status, done.out) == (status, f"{said}all units run\n")


def test_query_tells_what_it_found(tendhost, server):
    ended = operation(
        "SUCCEEDED",
        kind=operation_pb2.OPERATION_KIND_QUERY,
        steps=[step("LIST", detail="3 updates pending")],
    )
    server.answer("StartQuery", pb.StartQueryResponse(operation=ended))
    server.stream("WatchOperation", [watched(ended)])
    assert tendhost("query", "web1").out.splitlines()[-1] == "web1: 3 updates pending"


def test_retry_follows_what_it_began(tendhost, server):
    ended = operation("FAILED", problem=messages.problem("still broken"))
    server.answer("RetryHost", pb.RetryHostResponse(operation=ended))
    server.stream("WatchOperation", [watched(ended)])
    done = tendhost("retry", "web1")
    assert (done.status, done.out) == (1, "web1: failed: still broken\n")


def test_acknowledgement_is_told(tendhost, server):
    server.answer("AcknowledgeHost", pb.AcknowledgeHostResponse(host=messages.host()))
    assert tendhost("acknowledge", "web1").out == "web1: acknowledged the failure\n"
    assert tendhost("acknowledge", "web1", "--output", "json").json["name"] == "web1"


def test_server_that_goes_away_for_good_is_told_with_how_to_look_later(
    tendhost, server, monkeypatch
):
    monkeypatch.setattr(Transport, "patience", lambda self: Patience(0))
    server.answer("StartUpdate", pb.StartUpdateResponse(operation=operation()))
    server.stream("WatchOperation", [LOST])
    done = tendhost("update", "web1")
    assert done.status == 3
    assert "tendhost operation watch op1" in done.err
    assert done.err.splitlines()[-1].startswith(f"error: no server answers at {server.address}")


@pytest.mark.parametrize(
    "words",
    [
        ["host", "list"],
        ["host", "show", "web1"],
        ["update", "web1"],
        ["rollout", "start"],
        ["rollout", "watch", "ro1"],
        ["operation", "log", "op1"],
        ["events"],
        ["info"],
    ],
)
def test_unreachable_server_is_told_with_its_address_and_status_3(words, tendhost, server):
    server.stop()
    done = tendhost(*words)
    assert (done.status, done.out) == (3, "")
    (line,) = done.err.splitlines()
    assert line.startswith(f"error: no server answers at {server.address}: ")


def test_server_that_cannot_work_is_not_a_refusal(tendhost, server):
    server.answer(
        "StartUpdate",
        Refused(code=grpc.StatusCode.UNAVAILABLE, reason="STORE_UNAVAILABLE", message="disk full"),
    )
    done = tendhost("update", "web1")
    assert (done.status, done.err) == (3, "error: disk full\n")


# --- operation … ----------------------------------------------------------------------------------


def test_operations_are_listed_up_to_the_limit(tendhost, server):
    listed = [operation(id=f"op{number}") for number in range(3)]
    server.answer(
        "ListOperations",
        operations_pb.ListOperationsResponse(operations=listed, next_page_token="t"),
    )
    done = tendhost("operation", "list", "--host", "web1", "--status", "running", "--limit", "2")
    header, *rows = done.out.splitlines()
    assert header.split() == ["ID", "HOST", "KIND", "STATUS", "CREATED", "DURATION", "PROBLEM"]
    assert [row.split()[:4] for row in rows] == [
        ["op0", "web1", "update", "running"],
        ["op1", "web1", "update", "running"],
    ]
    (request,) = server.requests("ListOperations")
    assert (request.host, list(request.statuses), request.page_size) == (
        *("web1", [operation_pb2.OPERATION_STATUS_RUNNING], 2),
    )


def test_operation_is_shown_with_its_steps(tendhost, server):
    steps = [step("CONNECT", detail="logged in"), step("APPLY", "FAILED", "no")]
    shown = operation(
        "FAILED", steps=steps, problem=messages.problem("no"), created_by="eve", rollout_id="ro1"
    )
    server.answer("GetOperation", operations_pb.GetOperationResponse(operation=shown))
    lines = tendhost("operation", "show", "op1").out.splitlines()
    assert lines[0] == "op1  web1  update  failed"
    assert lines[1].endswith(" by eve, rollout ro1")
    assert lines[2].split() == ["connect", "succeeded", "1m30s", "logged", "in"]
    assert lines[-1] == "web1: failed in step apply: no"
    document = tendhost("operation", "show", "op1", "--output", "json").json
    assert document["problem"] == {"reason": "PACKAGE_FAILED", "message": "no", "facts": {}}


def test_operation_can_be_watched_by_anybody(tendhost, server):
    server.answer("GetOperation", operations_pb.GetOperationResponse(operation=operation()))
    ended = operation("SUCCEEDED", steps=[step("APPLY", detail="ok")], update=messages.upgraded())
    server.stream("WatchOperation", [watched(operation()), watched(ended)])
    done = tendhost("operation", "watch", "op1")
    assert done.status == 0
    assert done.out.splitlines()[:2] == ["web1: apply: ok", "web1: 1 package upgraded"]


def test_log_is_printed_as_the_host_printed_it(tendhost, server):
    shown = operation("SUCCEEDED", log_size=14)
    server.answer("GetOperation", operations_pb.GetOperationResponse(operation=shown))
    text = "Überlang…\n".encode()
    server.stream("WatchOperation", [logged(0, text[:1]), logged(1, text[1:]), watched(shown)])
    assert tendhost("operation", "log", "op1").out == "Überlang…\n"
    assert tendhost("operation", "log", "op1", "--follow").out == "Überlang…\n"
    parts = tendhost("operation", "log", "op1", "--output", "json").lines
    # A letter that was cut in two is put together again.
    assert "".join(part["text"] for part in parts) == "Überlang…\n"


def test_cancelling_says_when_it_takes_effect(tendhost, server):
    server.answer("GetOperation", operations_pb.GetOperationResponse(operation=operation()))
    answer = operations_pb.CancelOperationResponse(operation=operation(), message="after apply")
    server.answer("CancelOperation", answer)
    assert tendhost("operation", "cancel", "op1").out == "after apply\n"
    document = tendhost("operation", "cancel", "op1", "--output", "json").json
    assert (document["message"], document["operation"]["id"]) == ("after apply", "op1")
