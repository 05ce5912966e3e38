"""What the server could not tell whole: whoever reads the command's tables is told, as programs are."""

from typing import Any

import pytest

from tendhost.client.cli.commands.events import _line, document
from tendhost.client.convert.events import event
from tendhost.v1 import event_pb2, host_pb2, policy_pb2
from tendhost.v1 import host_service_pb2 as hosts
from tendhost.v1 import operation_service_pb2 as operations
from tendhost.v1 import policy_service_pb2 as policies
from tendhost.v1 import rollout_service_pb2 as rollouts
from tendhost.v1 import schedule_service_pb2 as schedules
from tendhost.v1 import selection_service_pb2 as selections
from tests.contract.client.messages import (
    host,
    member,
    operation,
    rollout,
    schedule,
    selection,
)

WHY = "some values are out of range and are shown cut"


def partly(message: Any) -> Any:
    message.incomplete = WHY
    return message


ANSWERS: tuple[tuple[str, str, str, Any], ...] = (
    ("host list", "web1", "ListHosts", hosts.ListHostsResponse(hosts=[partly(host())])),
    ("host show web1", "web1", "GetHost", hosts.GetHostResponse(host=partly(host()))),
    (
        *("host packages web1", "web1", "GetInventory"),
        hosts.GetInventoryResponse(inventory=partly(host_pb2.Inventory(host="web1"))),
    ),
    (
        *("host inventory web1", "web1", "GetInventory"),
        hosts.GetInventoryResponse(inventory=partly(host_pb2.Inventory(host="web1"))),
    ),
    (
        *("updates", "openssl", "ListPendingUpdates"),
        hosts.ListPendingUpdatesResponse(
            entries=[partly(hosts.PendingEntry(name="openssl", host_count=1))]
        ),
    ),
    ("why web1", "web1", "ExplainHost", partly(hosts.ExplainHostResponse(update="idle"))),
    (
        *("operation list", "op1", "ListOperations"),
        operations.ListOperationsResponse(operations=[partly(operation())]),
    ),
    (
        *("operation show op1", "op1", "GetOperation"),
        operations.GetOperationResponse(operation=partly(operation())),
    ),
    (
        *("operation show op1", "op1", "GetOperation"),
        operations.GetOperationResponse(operation=partly(operation("SUCCEEDED"))),
    ),
    (
        *("rollout list", "ro1", "ListRollouts"),
        rollouts.ListRolloutsResponse(rollouts=[partly(rollout())]),
    ),
    (
        *("rollout report ro1", "ro1", "GetRolloutReport"),
        partly(rollouts.GetRolloutReportResponse(rollout=rollout("COMPLETED"))),
    ),
    (
        *("schedule list", "weekly", "ListSchedules"),
        schedules.ListSchedulesResponse(schedules=[partly(schedule())]),
    ),
    (
        *("schedule show weekly", "weekly", "GetSchedule"),
        schedules.GetScheduleResponse(schedule=partly(schedule())),
    ),
    (
        *("selection list", "canaries", "ListSelections"),
        selections.ListSelectionsResponse(selections=[partly(selection())]),
    ),
    (
        *("selection show canaries", "canaries", "GetSelection"),
        selections.GetSelectionResponse(selection=partly(selection())),
    ),
    (
        *("policy show", "fleet", "GetPolicy"),
        policies.GetPolicyResponse(policy=partly(policy_pb2.GroupPolicy())),
    ),
    (
        *("policy list", "group db", "ListPolicies"),
        policies.ListPoliciesResponse(policies=[partly(policy_pb2.GroupPolicy(group="db"))]),
    ),
    (
        *("policy effective web1", "web1", "GetEffectivePolicy"),
        policies.GetEffectivePolicyResponse(policy=partly(policy_pb2.EffectivePolicy(host="web1"))),
    ),
)


@pytest.mark.parametrize(("typed", "name", "method", "answer"), ANSWERS)
def test_table__says_of_what_it_does_not_show_everything(
    tendhost, server, typed: str, name: str, method: str, answer: Any
):
    if method == "GetSelection":
        server.answer("ListHosts", hosts.ListHostsResponse())
    server.answer(method, answer)
    lines = tendhost(*typed.split()).out.splitlines()
    assert [line for line in lines if line.startswith("incomplete")] == [
        f"incomplete: {name}: {WHY}"
    ]


def test_rollout__shows_which_of_its_hosts_are_not_whole_and_what_holds_it_up(tendhost, server):
    found = rollout()
    found.held_up = "1 of all 2 hosts are down, and at most 1 may be: db1 has failed"
    server.answer(
        "GetRollout",
        rollouts.GetRolloutResponse(rollout=found, hosts=[partly(member("web1", "WAITING"))]),
    )
    lines = tendhost("rollout", "show", "ro1").out.splitlines()
    assert f"held up: {found.held_up}" in lines
    assert f"incomplete: web1: {WHY}" in lines


def test_event__says_that_it_is_not_whole_in_words_and_in_the_document():
    body = event_pb2.UpdateProgress(percent=3)
    told = event(partly(event_pb2.Event(revision=4, host="web1", update_progress=body)))
    assert _line(told).endswith(f"(incomplete: {WHY})")
    assert document(told)["incomplete"] == WHY
