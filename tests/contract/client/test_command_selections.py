"""`tendhost selection`, and `--selection` where hosts are selected."""

import pytest

from tendhost.v1 import host_pb2, host_service_pb2, rollout_service_pb2
from tendhost.v1 import selection_service_pb2 as pb
from tests.contract.client.messages import host, rollout, selection

SELECTION_KEYS = [
    "name",
    "filter",
    "changed_by",
    "changed_at",
    "revision",
    "etag",
    "warnings",
    "incomplete",
]
"""Programs read them: none is ever removed or renamed."""


def test_selection_is_created_as_it_was_typed(tendhost, server):
    server.answer("CreateSelection", pb.CreateSelectionResponse(selection=selection()))
    done = tendhost("selection", "create", "canaries", "--tag", "canary", "--exclude", "db1")
    assert done.out == "selection canaries: hosts with canary\n"
    (request,) = server.requests("CreateSelection")
    assert request.name == "canaries"
    assert request.filter == host_pb2.HostFilter(all_tags=["canary"], exclude_hosts=["db1"])


@pytest.mark.parametrize(
    ("warning", "line"),
    [
        ("all_tags[0]: 'x' is on no host", "warning: --tag: 'x' is on no host"),
        ("names[2]: 'x*' matches no host", "warning: names[2]: 'x*' matches no host"),
        ("no host is in the group: 'a: b'", "warning: no host is in the group: 'a: b'"),
    ],
)
def test_warning__names_the_option_that_was_typed(tendhost, server, warning, line):
    answer = selection()
    answer.warnings.append(warning)
    server.answer("CreateSelection", pb.CreateSelectionResponse(selection=answer))
    done = tendhost("selection", "create", "canaries", "--tag", "x")
    assert done.err == f"{line}\n"


@pytest.mark.parametrize(
    ("options", "asked", "fields"),
    [
        (("--tag", "web", "--tag", "eu"), {"all_tags": ["web", "eu"]}, ["all_tags"]),
        (("--exclude", ""), {}, ["exclude_hosts"]),
        (("--state", "failed"), {"states": [host_pb2.HOST_STATE_FAILED]}, ["states"]),
        (("--state", "", "--host", "web*"), {"names": ["web*"]}, ["names", "states"]),
        (("--no-reboot-needed",), {"reboot_needed": False}, ["reboot_needed"]),
        (("--reboot-any",), {}, ["reboot_needed"]),
    ],
)
def test_selection_set__sends_only_what_was_typed(tendhost, server, options, asked, fields):
    server.answer("UpdateSelection", pb.UpdateSelectionResponse(selection=selection()))
    done = tendhost("selection", "set", "canaries", *options)
    assert done.out == "selection canaries: hosts with canary\n"
    (request,) = server.requests("UpdateSelection")
    assert (request.name, request.filter) == ("canaries", host_pb2.HostFilter(**asked))
    assert list(request.update_mask.paths) == fields


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "nothing to change"),
        (("--state", "asleep"), "--state: invalid state 'asleep'; use idle,"),
        (("--reboot-any", "--reboot-needed"), "--reboot-any: it cannot be combined"),
    ],
)
def test_selection_set__what_cannot_be_meant_is_refused(tendhost, server, options, message):
    done = tendhost("selection", "set", "canaries", *options)
    assert message in done.err
    assert not server.requests("UpdateSelection")


@pytest.mark.parametrize(
    "command",
    [
        ("selection", "create", "canaries"),
        ("selection", "set", "canaries"),
        ("host", "list"),
        ("rollout", "plan"),
        ("rollout", "start"),
        ("schedule", "create", "nightly", "--cron", "0 3 * * *"),
    ],
)
@pytest.mark.parametrize("state", ["asleep", "unrecognized", "failed,idle"])
def test_state__that_no_host_can_have_is_refused_before_anything_is_sent(
    tendhost, server, command, state
):
    done = tendhost(*command, "--state", state)
    assert f"--state: invalid state {state!r}; use idle," in done.err
    assert "unrecognized," not in done.err
    assert done.status == 2
    assert not server.calls


def test_selections_are_listed_with_the_hosts_they_stand_for(tendhost, server):
    every = [
        selection("a", names=["web*"], groups=["g", "h"], reboot_needed=False),
        selection("b", states=[host_pb2.HOST_STATE_FAILED], name_prefix="x"),
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
    assert tendhost("selection", "delete", "canaries").out == "deleted selection canaries\n"
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
