"""`tendhost selection`, and `--selection` where hosts are selected."""

import pytest

from tendhost.v1 import host_pb2, host_service_pb2, rollout_service_pb2
from tendhost.v1 import selection_service_pb2 as pb
from tests.contract.client.messages import host, rollout, selection

SELECTION_KEYS = [
    "name",
    "filter",
    "saved_at",
    "saved_by",
    "revision",
    "etag",
    "warnings",
    "incomplete",
]
"""Programs read them: none is ever removed or renamed."""


def test_selection_is_saved_as_it_was_typed(tendhost, server):
    server.answer("SaveSelection", pb.SaveSelectionResponse(selection=selection()))
    done = tendhost("selection", "save", "canaries", "--tag", "canary", "--exclude", "db1")
    assert done.out == "selection canaries: hosts with canary\n"
    (request,) = server.requests("SaveSelection")
    assert request.name == "canaries"
    assert request.filter == host_pb2.HostFilter(all_tags=["canary"], exclude_hosts=["db1"])


def test_selections_are_listed_with_the_hosts_they_stand_for(tendhost, server):
    every = [
        selection("a", names=["web*"], groups=["g", "h"], reboot_needed=False),
        selection("b", states=[host_pb2.HOST_STATE_FAILED], search="x"),
        pb.Selection(name="c"),
    ]
    server.answer("ListSelections", pb.ListSelectionsResponse(selections=every))
    out = tendhost("selection", "list").out
    assert "hosts named web*, in g or h, that need no reboot" in out
    assert "hosts that are failed, whose names begin with x" in out
    assert "every host" in out
    document = tendhost("selection", "list", "--output", "json").json
    assert [list(found) for found in document] == [SELECTION_KEYS] * 3


def test_no_selections_are_said_to_be_none(tendhost, server):
    server.answer("ListSelections", pb.ListSelectionsResponse())
    assert tendhost("selection", "list").out == "no saved selections\n"


def test_selection_is_shown_with_its_hosts(tendhost, server):
    server.answer("GetSelection", pb.GetSelectionResponse(selection=selection()))
    server.answer("ListHosts", host_service_pb2.ListHostsResponse(hosts=[host("web1")]))
    lines = tendhost("selection", "show", "canaries").out.splitlines()
    assert lines[0] == "selection canaries: hosts with canary"
    assert any(line.startswith("web1") for line in lines)
    assert server.requests("ListHosts")[0].filter == host_pb2.HostFilter(selection="canaries")
    document = tendhost("selection", "show", "canaries", "--output", "json").json
    assert list(document) == [*SELECTION_KEYS, "hosts"]
    assert document["hosts"] == ["web1"]


def test_selection_is_deleted(tendhost, server):
    server.answer("DeleteSelection", pb.DeleteSelectionResponse(revision=9))
    assert tendhost("selection", "delete", "canaries").out == "selection canaries is deleted\n"
    document = tendhost("selection", "delete", "canaries", "--output", "json").json
    assert document == {"name": "canaries", "deleted": True}


@pytest.mark.parametrize(
    ("method", "response", "command"),
    [
        ("ListHosts", host_service_pb2.ListHostsResponse(), ("host", "list")),
        ("ListPendingUpdates", host_service_pb2.ListPendingUpdatesResponse(), ("updates",)),
        ("GetCompliance", host_service_pb2.GetComplianceResponse(), ("compliance",)),
    ],
)
def test_saved_selection_narrows_what_is_shown(tendhost, server, method, response, command):
    server.answer(method, response)
    tendhost(*command, "--selection", "canaries")
    (request,) = server.requests(method)
    assert request.filter.selection == "canaries"


def test_rollout_is_started_over_a_saved_selection(tendhost, server):
    response = rollout_service_pb2.StartRolloutResponse(rollout=rollout())
    server.answer("StartRollout", response)
    tendhost("rollout", "start", "--selection", "canaries", "--exclude", "b")
    (request,) = server.requests("StartRollout")
    assert request.spec.filter == host_pb2.HostFilter(selection="canaries", exclude_hosts=["b"])
