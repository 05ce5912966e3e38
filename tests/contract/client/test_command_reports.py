"""`tendhost why`, `tendhost compliance` and `tendhost rollout report`: what they print."""

from tendhost.v1 import host_service_pb2, rollout_service_pb2
from tests.contract.client.messages import AT, rollout


def explained(server) -> None:
    answer = host_service_pb2.ExplainHostResponse(
        update="not updated: 3 updates were pending", reboot="no reboot is needed"
    )
    answer.reasons.add(
        at=AT,
        kind=host_service_pb2.REASON_KIND_FAILURE,
        message="update failed in connect: no answer",
        operation_id="op1",
        revision=7,
    )
    answer.reasons.add(
        at=AT, kind=host_service_pb2.REASON_KIND_WINDOW, message="its window opens at 22:00"
    )
    server.answer("ExplainHost", answer)


def test_why_gives_both_answers_and_the_reasons_with_their_proof(tendhost, server):
    explained(server)
    lines = tendhost("why", "web1").out.splitlines()
    assert lines[:2] == [
        "web1: not updated: 3 updates were pending",
        "web1: no reboot is needed",
    ]
    assert lines[3].split()[-6:] == ["failed", "in", "connect:", "no", "answer", "op1"]
    assert lines[4].split()[:2] == ["now", "window"]
    (request,) = server.requests("ExplainHost")
    assert request.name == "web1"


def test_why_is_a_document_for_programs(tendhost, server):
    explained(server)
    document = tendhost("why", "web1", "--output", "json").json
    assert list(document) == ["update", "reboot", "reasons", "incomplete"]
    assert [reason["revision"] for reason in document["reasons"]] == [7, 0]


def test_compliance_counts_hosts_and_lists_overdue_hosts(tendhost, server):
    answer = host_service_pb2.GetComplianceResponse(
        host_count=5, up_to_date_count=3, behind_count=1, unknown_count=1, overdue_host_count=1
    )
    answer.ages.add(days=7, host_count=4)
    answer.ages.add(days=0, host_count=1)
    answer.overdue_hosts.add(host="db1", pending_security_updates=2, state=1)
    server.answer("GetCompliance", answer)
    lines = tendhost("compliance", "--tag", "db", "--overdue", "14").out.splitlines()
    assert lines[0] == "last update of 5 hosts: 4 within 7 d, 1 not within 7 d"
    assert lines[1] == "security updates: 3 of 5 hosts up to date, 1 behind, 1 unknown"
    assert lines[-1].split() == ["db1", "idle", "2", "never"]
    (request,) = server.requests("GetCompliance")
    assert (list(request.filter.all_tags), request.overdue_days) == (["db"], 14)


def reported(server) -> None:
    answer = rollout_service_pb2.GetRolloutReportResponse(
        rollout=rollout("COMPLETED", completed=1, failed=1), reboots=1, longest_host="a"
    )
    answer.duration.FromSeconds(300)
    answer.longest.FromSeconds(90)
    answer.packages.add(name="openssl", to_version="3.0.9", host_count=1)
    answer.failures.add(reason="DISK_FULL", example="a|b", host_count=1, hosts=["b"])
    answer.waves.add(number=1)
    server.answer("GetRolloutReport", answer)


def test_report_is_a_table_for_people(tendhost, server):
    reported(server)
    lines = tendhost("rollout", "report", "ro1").out.splitlines()
    assert lines[0] == (
        "ro1  completed  2 hosts: 1 completed, 1 failed; took 5m; 1 reboot;"
        " the slowest host was a, 1m30s"
    )
    assert lines[2].split() == ["openssl", "3.0.9", "1"]
    assert lines[-1].split() == ["DISK_FULL", "1", "b", "a|b"]


def test_report_is_markdown_for_a_ticket(tendhost, server):
    reported(server)
    text = tendhost("rollout", "report", "ro1", "--markdown").out
    assert text.startswith("# Rollout ro1\n\n**completed**: 2 hosts: 1 completed, 1 failed;")
    assert "| openssl | 3.0.9 | 1 |" in text
    assert "| DISK_FULL | 1 | b | a\\|b |" in text


def test_report_is_a_document_for_programs(tendhost, server):
    reported(server)
    document = tendhost("rollout", "report", "ro1", "--output", "json").json
    assert document["duration"] == 300.0
    assert document["failures"][0]["hosts"] == ["b"]
