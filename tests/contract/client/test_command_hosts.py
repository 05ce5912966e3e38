"""`tendhost host …`: what it asks, what it prints, how it ends."""

import os
from pathlib import Path

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from tendhost.v1 import host_pb2
from tendhost.v1 import host_service_pb2 as pb
from tests.contract.client import messages
from tests.contract.client.mock_server import Refused

HOST_KEYS = [
    "name",
    "address",
    "port",
    "user",
    "ssh_key",
    "jump",
    "jump_only",
    "compose_paths",
    "compose_version",
    "pull_before_update",
    "compose_health_timeout",
    "compose_prune",
    "tags",
    "groups",
    "auto_reboot",
    "windows",
    "after_interruption",
    "scope",
    "restart_services",
    "snapshots",
    "rollback",
    "hooks",
    "health_checks",
    "host_key_fingerprint",
    "registered_at",
    "state",
    "pending_updates",
    "pending_security_updates",
    "last_updated",
    "queried_at",
    "reboot",
    "healthy",
    "error",
    "failure",
    "retry_count",
    "os_name",
    "revision",
    "machine_id",
    "duplicate_of",
    "etag",
    "host_key_fingerprints",
    "host_key_certified",
    "incomplete",
]
"""Programs read them: none is ever removed or renamed."""


LOGGED_IN = pb.TestHostResponse(
    reachable=True, logged_in=True, user="admin", root_access=pb.ROOT_ACCESS_SUDO
)


def test_added_host_is_told_with_its_fingerprint(tendhost, server):
    server.answer("RegisterHost", pb.RegisterHostResponse(host=messages.host()))
    server.answer("TestHost", LOGGED_IN)
    done = tendhost(
        *("host", "add", "web1", "--address", "10.0.0.5", "--user", "admin", "--port", "2222"),
        *("--tag", "web", "--tag", "canary", "--group", "production", "--ssh-key", "/k"),
        *("--jump", "bastion"),
        *("--compose-path", "/srv/app", "--no-auto-reboot", "--host-key", "SHA256:abc"),
        *("--window", "sat,sun 22:00-04:00 Europe/Vienna"),
    )
    assert (done.status, done.err) == (0, "")
    assert done.out.splitlines() == [
        "added web1; its host key is SHA256:abc",
        "the login works: admin, who becomes root with sudo -n",
    ]
    assert [request.name for request in server.requests("TestHost")] == ["web1"]
    (request,) = server.requests("RegisterHost")
    config = request.config
    assert (config.name, config.address, config.port, config.user) == (
        *("web1", "10.0.0.5", 2222, "admin"),
    )
    assert list(config.tags) == ["web", "canary"]
    assert (list(config.groups), config.ssh_key) == (["production"], "/k")
    assert config.jump == "bastion"
    assert list(config.compose_paths) == ["/srv/app"]
    assert config.policy.auto_reboot is False
    (window,) = config.policy.windows
    assert (window.start, window.end, list(window.days), window.time_zone) == (
        *("22:00", "04:00", [6, 7], "Europe/Vienna"),
    )
    assert request.expected_host_key == "SHA256:abc"


def test_host_keys__of_one_host_may_be_several(tendhost, server):
    host = messages.host()
    host.host_key_fingerprints.extend(["SHA256:abc", "SHA256:def"])
    server.answer("RegisterHost", pb.RegisterHostResponse(host=host))
    keys = ("--host-key", "SHA256:abc", "--host-key", "ssh-rsa AAAA")
    done = tendhost("host", "add", "web1", "--address", "10.0.0.5", "--no-test", *keys)
    assert done.out == "added web1; its host keys are SHA256:abc, SHA256:def\n"
    (request,) = server.requests("RegisterHost")
    assert request.expected_host_key == "SHA256:abc\nssh-rsa AAAA"
    server.answer("ReconfigureHost", pb.ReconfigureHostResponse(host=host))
    change = ("--add-host-key", "a", "--add-host-key", "b", "--remove-host-key", "c")
    done = tendhost("host", "set", "web1", *change)
    assert done.out == "changed web1; its host keys are SHA256:abc, SHA256:def\n"
    tendhost("host", "set", "web1", "--repin")
    added, repinned = server.requests("ReconfigureHost")
    assert (added.add_host_keys, list(added.remove_host_keys)) == ("a\nb", ["c"])
    assert (added.accept_new_host_key, repinned.accept_new_host_key) == (False, True)


def test_host_key__may_be_the_file_of_a_public_key_and_never_of_a_private_one(
    tendhost, server, tmp_path
):
    public, private = tmp_path / "key.pub", tmp_path / "key"
    public.write_text("ssh-rsa AAAA root@web1\n")
    private.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\ns3cret\n")
    server.answer("RegisterHost", pb.RegisterHostResponse(host=messages.host()))
    add = ("host", "add", "web1", "--address", "10.0.0.5", "--no-test")
    assert tendhost(*add, "--host-key", str(public), "--host-key", "SHA256:abc").status == 0
    (request,) = server.requests("RegisterHost")
    assert request.expected_host_key == "ssh-rsa AAAA root@web1\n\nSHA256:abc"
    server.answer("ReconfigureHost", pb.ReconfigureHostResponse(host=messages.host()))
    assert tendhost("host", "set", "web1", "--add-host-key", str(public)).status == 0
    (request,) = server.requests("ReconfigureHost")
    assert request.add_host_keys == "ssh-rsa AAAA root@web1\n"
    done = tendhost(*add, "--host-key", str(private))
    assert (done.status, len(server.requests("RegisterHost"))) == (2, 1)
    assert f"--host-key: {private} is a private key; expected the public key" in done.err
    assert "s3cret" not in done.err
    assert tendhost(*add, "--host-key", "ssh-rsa " + "A" * 5000).status == 0  # longer than a path


@pytest.mark.parametrize("text", ["", " ", "\n", "FILE"])
@pytest.mark.parametrize("option", ["--host-key", "--add-host-key", "--remove-host-key"])
def test_host_key__that_is_empty_is_not_the_same_as_none(tendhost, server, tmp_path, text, option):
    empty = tmp_path / "key.pub"
    empty.write_text("\n")  # of a command that failed; without a key, any key would be pinned
    add = ("host", "add", "web1", "--address", "10.0.0.5")
    words = add if option == "--host-key" else ("host", "set", "web1")
    done = tendhost(*words, option, str(empty) if text == "FILE" else text)
    assert done.status == 2
    assert done.err.startswith(f"error: {option}: ")
    assert "is empty; expected a fingerprint or a public key" in done.err
    assert not any(server.calls.values())


def test_known_hosts_file__is_sent_as_it_is(tendhost, server, tmp_path):
    file = tmp_path / "known_hosts"
    file.write_text("|1|salt|hash ssh-rsa AAAA\n")
    server.answer("RegisterHost", pb.RegisterHostResponse(host=messages.host()))
    named = ("--known-hosts", str(file))
    done = tendhost("host", "add", "web1", "--address", "10.0.0.5", "--no-test", *named)
    assert done.status == 0
    server.answer("ReconfigureHost", pb.ReconfigureHostResponse(host=messages.host()))
    assert tendhost("host", "set", "web1", "--repin", *named).status == 0
    for request in (*server.requests("RegisterHost"), *server.requests("ReconfigureHost")):
        assert request.known_hosts == file.read_text()
    for bad, why in (("", "is empty"), ("x" * (1024 * 1024 + 1), "has more than 1048576 bytes")):
        file.write_text(bad)
        done = tendhost("host", "add", "web1", "--address", "10.0.0.5", *named)
        assert done.status == 2
        assert why in done.err
    file.unlink()
    assert tendhost("host", "add", "web1", "--address", "10.0.0.5", *named).status == 2


def test_import_of_known_hosts__tells_of_each_host_that_the_file_names(tendhost, server, tmp_path):
    file = tmp_path / "known_hosts"
    file.write_text("web1 ssh-rsa AAAA\n")
    hosts = [messages.host(name) for name in ("web1", "web2", "web3")]
    server.answer("ListHosts", pb.ListHostsResponse(hosts=hosts))
    more = messages.host("web1")
    more.host_key_fingerprints.extend(["SHA256:abc", "SHA256:def"])
    server.answer(
        "ReconfigureHost",
        pb.ReconfigureHostResponse(host=more),
        Refused(
            code=grpc.StatusCode.FAILED_PRECONDITION,
            reason="HOST_KEY_MISMATCH",
            message="web2 shows another key\x1b[2J",
        ),
        Refused(
            code=grpc.StatusCode.INVALID_ARGUMENT,
            reason="INVALID_ARGUMENT",
            message="none",
            violations=[("known_hosts", "none of its 1 lines names web3")],
        ),
    )
    done = tendhost("host", "import-known-hosts", str(file))
    assert done.status == 1
    assert done.out == (
        "web1: its host keys are SHA256:abc, SHA256:def\n"
        "web2: web2 shows another key\N{REPLACEMENT CHARACTER}[2J\n"
    )
    assert all(it.known_hosts == file.read_text() for it in server.requests("ReconfigureHost"))


def test_import_of_known_hosts__that_name_no_host_is_a_warning(tendhost, server, tmp_path):
    file = tmp_path / "known_hosts"
    file.write_text("web9 ssh-rsa AAAA\n")
    server.answer("ListHosts", pb.ListHostsResponse())
    done = tendhost("host", "import-known-hosts", str(file), "--output", "json")
    assert (done.status, done.json) == (1, {})
    assert "names none of the 0 registered hosts" in done.err


def test_host_is_added_with_the_defaults_that_are_documented(tendhost, server):
    server.answer("RegisterHost", pb.RegisterHostResponse(host=messages.host()))
    server.answer("TestHost", LOGGED_IN)
    tendhost("host", "add", "web1", "--address", "10.0.0.5")
    (request,) = server.requests("RegisterHost")
    assert (request.config.port, request.config.user) == (22, "root")
    assert not request.config.policy.HasField("auto_reboot")
    assert not request.config.policy.windows


def test_added_host__that_nobody_can_log_in_to_is_added_with_a_warning(tendhost, server):
    server.answer("RegisterHost", pb.RegisterHostResponse(host=messages.host()))
    problem = host_pb2.Problem(reason="KEY_UNUSABLE", message="web1: no key\x1b[2J")
    server.answer("TestHost", pb.TestHostResponse(reachable=True, problem=problem))
    words = ("host", "add", "web1", "--address", "10.0.0.5")
    done = tendhost(*words)
    assert (done.status, done.out) == (1, "added web1; its host key is SHA256:abc\n")
    assert done.err == (
        "warning: web1: no key\N{REPLACEMENT CHARACTER}[2J; test the login again: tendhost host test web1\n"
    )
    done = tendhost(*words, "--output", "json")
    assert (done.status, done.json["name"]) == (1, "web1")
    assert done.json["test"]["problem"]["reason"] == "KEY_UNUSABLE"


def test_added_host__is_not_logged_in_to_with_no_test(tendhost, server):
    server.answer("RegisterHost", pb.RegisterHostResponse(host=messages.host()))
    words = ("host", "add", "web1", "--address", "10.0.0.5", "--no-test")
    done = tendhost(*words)
    assert (done.status, done.err) == (0, "")
    assert done.out == "added web1; its host key is SHA256:abc\n"
    assert tendhost(*words, "--output", "json").json["test"] is None
    assert server.requests("TestHost") == []


def test_every_invalid_field_is_told_on_a_line_of_its_own(tendhost, server):
    server.answer(
        "RegisterHost",
        Refused(
            code=grpc.StatusCode.INVALID_ARGUMENT,
            reason="INVALID_ARGUMENT",
            message="not to be seen",
            violations=[
                ("config.address", "'10.0.0.5:22': must be a host name or an IP address"),
                ("config.tags[0]", "'a b': must be 1 to 63 characters"),
            ],
        ),
    )
    done = tendhost("host", "add", "web1", "--address", "10.0.0.5:22", "--tag", "a b")
    assert (done.status, done.out) == (2, "")
    assert done.err.splitlines() == [
        "error: --address: '10.0.0.5:22': must be a host name or an IP address",
        "error: --tag: 'a b': must be 1 to 63 characters",
    ]


def test_refusal_is_one_readable_line_and_status_2(tendhost, server):
    server.answer(
        "GetHost",
        Refused(
            code=grpc.StatusCode.NOT_FOUND,
            reason="HOST_NOT_FOUND",
            message="host 'web9' is not registered",
        ),
    )
    done = tendhost("host", "show", "web9")
    assert (done.status, done.out) == (2, "")
    assert done.err == "error: host 'web9' is not registered\n"


def test_a_test__shows_a_line_for_each_fact_and_ends_with_0(tendhost, server):
    server.answer(
        "TestHost",
        pb.TestHostResponse(
            reachable=True,
            host_key_fingerprint="SHA256:abc",
            host_key_pinned=True,
            logged_in=True,
            user="ops",
            root_access=pb.ROOT_ACCESS_SUDO,
            duration=Duration(nanos=420_000_000),
        ),
    )
    done = tendhost("host", "test", "web1")
    assert (done.status, done.err) == (0, "")
    assert done.out.splitlines() == [
        "reachable  yes",
        "host key   SHA256:abc, which is the pinned key",
        "login      yes, as ops",
        "root       with sudo -n",
        "duration   0.42 s",
    ]
    done = tendhost("host", "test", "web1", "--output", "json")
    assert done.status == 0
    assert done.json == {
        "name": "web1",
        "reachable": True,
        "host_key_fingerprint": "SHA256:abc",
        "host_key_pinned": True,
        "logged_in": True,
        "user": "ops",
        "root_access": "sudo",
        "duration": 0.42,
        "problem": None,
    }
    assert [request.name for request in server.requests("TestHost")] == ["web1", "web1"]


def test_a_test__with_a_problem_shows_it_and_ends_with_1(tendhost, server):
    problem = host_pb2.Problem(reason="HOST_KEY_CHANGED", message="web1: \x1b[2Jchanged")
    server.answer(
        "TestHost",
        pb.TestHostResponse(reachable=True, host_key_fingerprint="SHA256:new", problem=problem),
    )
    done = tendhost("host", "test", "web1")
    assert done.status == 1
    assert done.out.splitlines() == [
        "reachable  yes",
        "host key   SHA256:new, which is not the pinned key",
        "login      no",
        "root       unknown",
        "duration   0.00 s",
        "problem    web1: \N{REPLACEMENT CHARACTER}[2Jchanged",
    ]
    done = tendhost("host", "test", "web1", "--output", "json")
    assert done.status == 1
    assert done.json["problem"]["reason"] == "HOST_KEY_CHANGED"


def test_fleet_is_a_table(tendhost, server):
    server.answer(
        "ListHosts",
        pb.ListHostsResponse(
            hosts=[
                messages.host("db1"),
                messages.host(
                    "web1",
                    state=host_pb2.HOST_STATE_PENDING_UPDATES,
                    pending_updates=12,
                    pending_security_updates=3,
                    queried_at=messages.AT,
                    reboot=host_pb2.Reboot(need=host_pb2.REBOOT_NEED_NEEDED),
                    error="boom",
                ),
            ]
        ),
    )
    done = tendhost("host", "list")
    header, first, second = done.out.splitlines()
    assert header.split() == [
        *("NAME", "STATE", "PENDING", "SECURITY", "REBOOT", "UPDATED", "TAGS", "PROBLEM"),
    ]
    assert first.split() == ["db1", "idle", "?", "?", "?", "never", "web"]
    assert second.split() == [
        "web1",
        "pending_updates",
        "12",
        "3",
        "needed",
        "never",
        "web",
        "boom",
    ]
    assert not any(line.endswith(" ") for line in done.out.splitlines())


def test_selection_is_passed_on(tendhost, server):
    server.answer("ListHosts", pb.ListHostsResponse())
    done = tendhost(
        *("host", "list", "--name", "web*", "--tag", "a", "--any-tag", "b", "--group", "g"),
        *("--state", "failed", "--state", "idle", "--exclude", "web3", "--no-reboot-needed"),
        *("--search", "w"),
    )
    assert done.out == "no hosts\n"
    (request,) = server.requests("ListHosts")
    assert request.filter == host_pb2.HostFilter(
        names=["web*"],
        all_tags=["a"],
        any_tags=["b"],
        groups=["g"],
        states=[host_pb2.HOST_STATE_FAILED, host_pb2.HOST_STATE_IDLE],
        exclude_hosts=["web3"],
        reboot_needed=False,
        name_prefix="w",
    )


def test_state_that_there_is_not_is_refused_with_those_that_there_are(tendhost, server):
    done = tendhost("host", "list", "--state", "sleepy")
    assert done.status == 2
    assert "--state: invalid state 'sleepy'; use idle, querying, pending_updates" in done.err
    assert "unrecognized" not in done.err
    assert not server.requests("ListHosts")


def test_hosts_are_an_array_for_programs(tendhost, server):
    server.answer("ListHosts", pb.ListHostsResponse(hosts=[messages.host("a"), messages.host("b")]))
    first, second = tendhost("host", "list", "--output", "json").json
    assert list(first) == list(second) == HOST_KEYS
    assert first["state"] == "idle"
    assert first["registered_at"] == "2027-01-15T08:00:00Z"
    assert first["reboot"] == {"need": "unknown", "reason": "", "since": None}
    assert tendhost("host", "list", "--output=json").json[1]["name"] == "b"


def test_fleet_without_hosts_is_an_empty_array_for_programs(tendhost, server):
    server.answer("ListHosts", pb.ListHostsResponse())
    assert tendhost("--output", "json", "host", "list").json == []


def test_failed_host_is_shown_with_what_to_do_about_it(tendhost, server):
    failure = host_pb2.Failure(
        previous_state=host_pb2.HOST_STATE_UPDATING,
        step="apply",
        problem=messages.problem("dpkg was interrupted"),
        failed_at=messages.AT,
        retry_count=2,
        acknowledged_by="eve",
    )
    host = messages.host(state=host_pb2.HOST_STATE_FAILED, failure=failure, error="dpkg broke")
    server.answer("GetHost", pb.GetHostResponse(host=host))
    out = tendhost("host", "show", "web1").out
    assert "root@10.0.0.5:22" in out
    assert "failed in step apply" in out
    assert "retried 2 times: dpkg was interrupted" in out
    assert "acknowledged by eve; fix the cause, then run: tendhost retry web1" in out
    failed = tendhost("host", "show", "web1", "--output", "json").json
    assert failed["failure"]["problem"]["reason"] == "PACKAGE_FAILED"


def test_host_show__names_the_hosts_that_may_be_the_same_machine(tendhost, server):
    other = host_pb2.Duplicate(host="web2", same_host_key=True, same_machine_id=True)
    host = messages.host(machine_id="0123", duplicate_of=[other])
    server.answer("GetHost", pb.GetHostResponse(host=host))
    lines = [" ".join(line.split()) for line in tendhost("host", "show", "web1").out.splitlines()]
    assert "duplicate of web2 (same host key, machine-id)" in lines
    shown = tendhost("host", "show", "web1", "--output", "json").json
    assert shown["machine_id"] == "0123"
    assert shown["duplicate_of"] == [
        {
            "host": "web2",
            "same_host_key": True,
            "same_address": False,
            "same_machine_id": True,
        }
    ]


def test_what_a_host_says_is_neither_markup_nor_a_command_for_the_terminal(tendhost, server):
    said = "[red]x[/red] [/] \x1b[2J\x07 über\nnext"
    server.answer("ListHosts", pb.ListHostsResponse(hosts=[messages.host("a", error=said)]))
    out = tendhost("host", "list").out
    assert "\x1b" not in out
    assert "\x07" not in out
    assert "[red]x[/red] [/] �[2J� über next" in out


def test_policy_of_a_host_is_given_with_it(tendhost, server):
    server.answer("RegisterHost", pb.RegisterHostResponse(host=messages.host()))
    server.answer("TestHost", LOGGED_IN)
    done = tendhost(
        *(
            "host",
            "add",
            "web1",
            "--address",
            "10.0.0.5",
            "--security",
            "--exclude-package",
            "linux-*",
        ),
        *("--restart-services", "restart", "--snapshots", "if-possible", "--rollback", "unhealthy"),
        *("--compose-version", "v1", "--no-pull", "--compose-health-timeout", "90s"),
        "--compose-prune",
    )
    assert (done.status, done.err) == (0, "")
    (request,) = server.requests("RegisterHost")
    config, policy = request.config, request.config.policy
    assert policy.scope == host_pb2.UpdateScope(security_only=True, exclude=["linux-*"])
    assert policy.restart_services == host_pb2.RESTART_SERVICES_RESTART
    assert policy.snapshots == host_pb2.SNAPSHOTS_IF_POSSIBLE
    assert policy.rollback == host_pb2.ROLLBACK_UNHEALTHY
    assert config.compose_version == host_pb2.COMPOSE_VERSION_V1
    assert (config.pull_before_update, config.compose_prune) == (False, True)
    assert config.compose_health_timeout.seconds == 90


def test_what_is_not_typed_of_what_updates_change_stays_as_it_is(tendhost, server):
    known = messages.host()
    known.config.policy.scope.exclude.append("postgresql*")
    server.answer("GetHost", pb.GetHostResponse(host=known))
    server.answer("ReconfigureHost", pb.ReconfigureHostResponse(host=messages.host()))
    tendhost("host", "set", "web1", "--security")
    (request,) = server.requests("ReconfigureHost")
    assert list(request.update_mask.paths) == ["policy.scope"]
    expected = host_pb2.UpdateScope(security_only=True, exclude=["postgresql*"])
    assert request.config.policy.scope == expected


def test_only_what_is_named_is_set(tendhost, server):
    server.answer("ReconfigureHost", pb.ReconfigureHostResponse(host=messages.host()))
    done = tendhost("host", "set", "web1", "--tag", "", "--no-auto-reboot", "--window", "")
    assert done.out == "changed web1\n"
    (request,) = server.requests("ReconfigureHost")
    assert sorted(request.update_mask.paths) == [
        *("policy.auto_reboot", "policy.windows", "tags"),
    ]
    assert list(request.config.tags) == []


def test_new_pin_is_told(tendhost, server):
    server.answer("ReconfigureHost", pb.ReconfigureHostResponse(host=messages.host()))
    done = tendhost("host", "set", "web1", "--accept-new-host-key")
    assert done.out == "changed web1; its host key is SHA256:abc\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["host", "set", "web1"], "nothing to change"),
        (
            ["host", "set", "web1", "--tag", "a", "--host-key", "SHA256:x"],
            "--host-key requires --accept-new-host-key",
        ),
        (["host", "set", "web1", "--window", "someday"], "--window: invalid window 'someday'"),
        (["host", "add", "web1"], "--address"),
        (["host", "add", "web1", "--address", "a", "--port", "70000"], "--port"),
        (["host", "frobnicate"], "frobnicate"),
        (["host", "list", "--output", "xml"], "xml"),
    ],
)
def test_bad_command_line_is_refused_before_anything_is_asked(words, said, tendhost, server):
    done = tendhost(*words)
    assert (done.status, done.out) == (2, "")
    assert said in done.err
    assert not server.calls


def test_removed_host_is_told(tendhost, server):
    server.answer("UnregisterHost", pb.UnregisterHostResponse())
    assert tendhost("host", "remove", "web1").out == "removed web1\n"
    document = tendhost("host", "remove", "web1", "--output", "json").json
    assert document == {"name": "web1", "removed": True}


def test_packages_are_shown_with_why_some_are_left_alone(tendhost, server):
    pending = host_pb2.PendingPackage(
        name="nginx", to_version="2", security=True, withheld=host_pb2.WITHHELD_KEPT_BACK
    )
    inventory = host_pb2.Inventory(
        host="web1",
        system=host_pb2.SystemFacts(os_name="Debian 12", kernel="6.1", architecture="x86_64"),
        pending_updates=[pending],
        packages=[host_pb2.InstalledPackage(name="libc6", version="2.36")],
        collected_at=messages.AT,
    )
    server.answer("GetInventory", pb.GetInventoryResponse(inventory=inventory))
    out = tendhost("host", "packages", "web1").out
    assert out.startswith("Debian 12, kernel 6.1, x86_64; queried ")
    rows = [line.split() for line in out.splitlines()]
    assert ["nginx", "(new)", "2", "security", "kept", "back"] in rows
    assert ["libc6", "2.36"] in rows


def test_tags_and_groups_are_counted(tendhost, server):
    count = pb.NameCount
    server.answer("ListTags", pb.ListTagsResponse(tags=[count(name="web", host_count=3)]))
    server.answer("ListGroups", pb.ListGroupsResponse(groups=[count(name="prod", host_count=2)]))
    assert [line.split() for line in tendhost("host", "tags").out.splitlines()] == [
        ["TAGS", "HOSTS"],
        ["web", "3"],
    ]
    assert tendhost("host", "groups", "--output", "json").json == {"prod": 2}


def test_hooks_are_read_from_files_and_checks_from_words(tendhost, server, tmp_path):
    server.answer("ReconfigureHost", pb.ReconfigureHostResponse(host=messages.host()))
    script = tmp_path / "drain.sh"
    script.write_text("#!/bin/sh\ndrain\n")
    done = tendhost(
        *("host", "set", "web1", "--pre-hook", str(script), "--post-hook", ""),
        *("--hook-timeout", "90s", "--hook-exit-code", "0", "--hook-exit-code", "3"),
        *("--check", "tcp:5432", "--check", "https://web1.example.org/health?deep=1"),
        *("--check", "unit:nginx.service", "--check", "command:test -e /run/ok"),
        *("--settle", "30s"),
    )
    assert (done.status, done.err) == (0, "")
    (request,) = server.requests("ReconfigureHost")
    policy = request.config.policy
    assert policy.hooks.pre.script == "#!/bin/sh\ndrain\n"
    assert policy.hooks.pre.timeout.seconds == 90
    assert policy.hooks.pre.allowed_exit_codes == [0, 3]
    assert not policy.hooks.HasField("post")
    tcp, http, units, command = policy.health_checks.checks
    assert tcp.tcp.port == 5432
    assert http.http.url == "https://web1.example.org/health?deep=1"
    assert units.units.units == ["nginx.service"]
    assert command.command == "test -e /run/ok"
    assert policy.health_checks.settle.seconds == 30
    assert sorted(request.update_mask.paths) == [
        "policy.health_checks.checks",
        "policy.health_checks.settle",
        "policy.hooks.post",
        "policy.hooks.pre",
    ]


def test_secret_hooks__are_set_and_shown_without_their_scripts(tendhost, server, tmp_path):
    host = messages.host()
    host.config.policy.hooks.pre.secret = True
    server.answer("ReconfigureHost", pb.ReconfigureHostResponse(host=host))
    server.answer("GetHost", pb.GetHostResponse(host=host))
    script = tmp_path / "drain.sh"
    script.write_text("drain\n")
    done = tendhost("host", "set", "web1", "--pre-hook", str(script), "--secret-hooks")
    assert (done.status, done.err) == (0, "")
    (request,) = server.requests("ReconfigureHost")
    assert request.config.policy.hooks.pre.secret
    assert request.config.policy.hooks.pre.script == "drain\n"
    assert "before (secret, at most" in tendhost("host", "show", "web1").out


def test_an_empty_check_alone_takes_all_of_them_away(tendhost, server):
    server.answer("ReconfigureHost", pb.ReconfigureHostResponse(host=messages.host()))
    assert tendhost("host", "set", "web1", "--check", "").status == 0
    (request,) = server.requests("ReconfigureHost")
    assert list(request.update_mask.paths) == ["policy.health_checks.checks"]
    assert not request.config.policy.health_checks.checks


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--pre-hook", "/nowhere/hook"), "--pre-hook: /nowhere/hook cannot be read: No such file"),
        (
            ("--hook-timeout", "5m"),
            "--hook-timeout, --hook-exit-code and --secret-hooks require --pre-hook or --post-hook",
        ),
        (("--check", "tcp:ssh"), "--check: invalid health check 'tcp:ssh'; use tcp:PORT"),
        (("--check", "command: "), "invalid health check"),
        (("--check", "ftp://x/"), "invalid health check"),
        (("--settle", "soon"), "--settle: invalid duration 'soon'"),
    ],
)
def test_hooks_and_checks_that_cannot_be_meant_are_refused(tendhost, server, options, words):
    done = tendhost("host", "set", "web1", *options)
    assert done.status == 2
    assert words in done.err
    assert not server.requests("ReconfigureHost")


FILES = pb.GetLoginFilesResponse(
    user="tend",
    public_keys=["ssh-ed25519 AAAA"],
    authorized_keys="restrict ssh-ed25519 AAAA tendhost\n",
    sudoers="# Root.\ntend ALL=(root) NOPASSWD: /bin/sh\n",
)


def test_host_sudoers__prints_files_that_can_be_copied(tendhost, server):
    server.answer("GetLoginFiles", FILES)
    done = tendhost("host", "sudoers", "web1")
    assert (done.status, done.err) == (0, "")
    assert done.out.splitlines() == [
        "# On web1, ~tend/.ssh/authorized_keys:",
        "restrict ssh-ed25519 AAAA tendhost",
        "",
        "# On web1, /etc/sudoers.d/tendhost:",
        "# Root.",
        "tend ALL=(root) NOPASSWD: /bin/sh",
    ]
    assert [request.name for request in server.requests("GetLoginFiles")] == ["web1"]


def test_host_sudoers__of_root_has_no_sudoers_file(tendhost, server):
    server.answer("GetLoginFiles", pb.GetLoginFilesResponse(user="root", authorized_keys="a\n"))
    done = tendhost("host", "sudoers", "web1")
    assert done.out.splitlines()[-1] == "# root needs no sudoers file."
    done = tendhost("host", "sudoers", "web1", "--output", "json")
    assert done.json == {
        "user": "root",
        "public_keys": [],
        "authorized_keys": "a\n",
        "sudoers": "",
    }


FILE_OPTIONS = (
    ("host", "add", "web1", "--address", "10.0.0.5", "--known-hosts"),
    ("host", "add", "web1", "--address", "10.0.0.5", "--host-key"),
    ("host", "add", "web1", "--address", "10.0.0.5", "--pre-hook"),
    ("host", "set", "web1", "--add-host-key"),
    ("host", "set", "web1", "--post-hook"),
    ("host", "set", "web1", "--known-hosts"),
    (
        "host",
        "import-known-hosts",
    ),
)


@pytest.mark.parametrize("words", FILE_OPTIONS, ids=" ".join)
@pytest.mark.parametrize("kind", ["pipe", "device", "huge"])
def test_file__that_is_none_is_refused_and_nothing_waits(
    tendhost, server, tmp_path: Path, words: tuple[str, ...], kind: str
):
    given = tmp_path / "given"
    if kind == "pipe":
        os.mkfifo(given)
    elif kind == "device":
        given.symlink_to("/dev/zero")
    else:
        with given.open("wb") as file:
            file.truncate(1 << 40)
    done = tendhost(*words, str(given))
    assert (done.status, done.out) == (2, "")
    assert f"{given} cannot be read: it " in done.err
    assert not server.requests("RegisterHost")
    assert not server.requests("ReconfigureHost")
