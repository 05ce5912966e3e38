"""Hooks and health checks against real hosts: they run as they should, once, and are told of."""

import asyncio
import hashlib

import pytest

from tendhost.v1 import health_pb2, hook_pb2, host_pb2, operation_pb2
from tests.e2e.daemon import daemon, until_jobs_are_removed
from tests.fleet import HostSpec

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(300)]

SUCCEEDED = operation_pb2.OPERATION_STATUS_SUCCEEDED
FAILED = operation_pb2.OPERATION_STATUS_FAILED
PACKAGES = ("tb-simple",)


def hooks(pre: str = "", post: str = "", **how) -> host_pb2.Policy:
    """A policy with these scripts as hooks."""
    given = {name: script for name, script in {"pre": pre, "post": post}.items() if script}
    made = {name: hook_pb2.Hook(script=script, **how) for name, script in given.items()}
    return host_pb2.Policy(hooks=hook_pb2.Hooks(**made))


def steps_of(operation: operation_pb2.Operation) -> list[str]:
    return [operation_pb2.StepName.Name(s.name).removeprefix("STEP_NAME_") for s in operation.steps]


async def test_hooks_run_around_the_update_as_root_and_know_what_it_is_about(make_fleet, tmp_path):
    fleet = make_fleet(HostSpec(name="web1", packages=PACKAGES))
    host = fleet["web1"]
    tell = "id -u; dpkg-query -W tb-simple; env | grep ^TENDHOST_ | sort"
    policy = hooks(f"({tell}) >/root/before; echo hello", f"({tell}) >/root/after; echo bye >&2")
    async with daemon(tmp_path / "state", key=fleet.private_key) as server:
        await server.register("web1", host.address, policy=policy, user="ops")
        operation = await server.update("web1")
        log = await server.log_of(operation.id)
        await until_jobs_are_removed(host)
    assert operation.status == SUCCEEDED, operation
    assert steps_of(operation) == [
        *("CONNECT", "PREFLIGHT", "LIST", "PRE_HOOK", "APPLY", "REBOOT_CHECK", "VERIFY"),
        "POST_HOOK",
    ]
    environment = [
        "TENDHOST_HOST=web1",
        f"TENDHOST_OPERATION={operation.id}",
        "TENDHOST_PACKAGES=tb-simple",
        "TENDHOST_ROLLOUT=",
    ]

    def told(path: str) -> list[str]:
        lines = host.output(f"cat {path}").splitlines()
        return [line for line in lines if not line.startswith("TENDHOST_JOB=")]

    assert told("/root/before") == ["0", "tb-simple\t1.0-1", *environment]
    outcome = "TENDHOST_OUTCOME=succeeded"
    assert told("/root/after") == ["0", "tb-simple\t2.0-1", *sorted([*environment, outcome])]
    assert log.startswith(b"hello\n")
    assert log.endswith(b"bye\n")


async def test_a_pre_hook_that_fails_leaves_the_host_as_it_was(make_fleet, tmp_path):
    fleet = make_fleet(HostSpec(name="web1", packages=PACKAGES))
    host = fleet["web1"]
    policy = hooks("echo not now >&2; exit 3", "touch /root/after")
    async with daemon(tmp_path / "state", key=fleet.private_key) as server:
        await server.register("web1", host.address, policy=policy)
        operation = await server.update("web1")
        status = (await server.host("web1")).status
    assert steps_of(operation)[-1] == "PRE_HOOK"
    problem = operation.problem
    assert problem.reason == "PRE_HOOK_FAILED"
    assert problem.facts["exit_status"] == "3"
    assert problem.message == "web1: the hook before the change ended with exit status 3: not now"
    assert status.state == host_pb2.HOST_STATE_PENDING_UPDATES
    assert host.transactions() == []
    assert host.output("ls /root/after 2>&1 || true").endswith("No such file or directory")


async def test_a_hook_that_hangs_is_killed_with_all_that_it_has_started(make_fleet, tmp_path):
    fleet = make_fleet(HostSpec(name="web1", packages=PACKAGES))
    host = fleet["web1"]
    script = """#!/bin/bash
        echo begun
        setsid sh -c 'trap "" TERM; sleep 3701 & sleep 3702' &
        sleep 3703
    """
    policy = hooks(script)
    policy.hooks.pre.timeout.FromSeconds(2)
    async with daemon(tmp_path / "state", key=fleet.private_key) as server:
        await server.register("web1", host.address, policy=policy)
        operation = await server.update("web1")
    assert operation.problem.reason == "PRE_HOOK_FAILED"
    assert operation.problem.message == (
        "web1: the hook before the change did not end within 2 s and was killed: begun"
    )
    assert operation.problem.facts["exit_status"] == ""
    assert host.output("pgrep -c '^sleep$' || true") == "0"


@pytest.mark.parametrize("size", [10, 64 * 1024])
async def test_a_script_comes_to_the_host_byte_for_byte(make_fleet, tmp_path, size):
    fleet = make_fleet(HostSpec(name="web1", packages=PACKAGES))
    host = fleet["web1"]
    head = "#!/usr/bin/env -S sha256sum\n"
    script = head + ("'\"\\$`é\n" * size)[: max(0, size - len(head) - 9000)]
    async with daemon(tmp_path / "state", key=fleet.private_key) as server:
        await server.register("web1", host.address, policy=hooks(script))
        operation = await server.update("web1")
        log = await server.log_of(operation.id)
    assert operation.status == SUCCEEDED, operation
    assert log.decode().split()[0] == hashlib.sha256(script.encode()).hexdigest()


async def test_a_failed_upgrade_and_a_failing_post_hook_are_both_told(make_fleet, tmp_path):
    spec = HostSpec(name="web1", packages=("tb-simple", "tb-failing"), failing_ok=False)
    fleet = make_fleet(spec)
    host = fleet["web1"]
    policy = hooks(post='echo "$TENDHOST_OUTCOME $TENDHOST_PACKAGES" >>/root/after; exit 4')
    async with daemon(tmp_path / "state", key=fleet.private_key) as server:
        await server.register("web1", host.address, policy=policy)
        operation = await server.update("web1")
        assert steps_of(operation)[-3:] == ["APPLY", "REBOOT_CHECK", "POST_HOOK"]
        assert operation.problem.reason != "POST_HOOK_FAILED"
        assert "ended with exit status 4" in operation.steps[-1].detail
    # What was begun is told as far as it came.
    assert host.output("cat /root/after").split()[0] == "failed"


async def test_a_retry_after_a_failed_post_hook_verifies_and_runs_it_again(make_fleet, tmp_path):
    fleet = make_fleet(HostSpec(name="web1", packages=PACKAGES))
    host = fleet["web1"]
    policy = hooks(
        post='echo "$TENDHOST_OUTCOME $TENDHOST_PACKAGES" >>/root/after; test -e /root/ok'
    )
    async with daemon(tmp_path / "state", key=fleet.private_key) as server:
        await server.register("web1", host.address, policy=policy)
        operation = await server.update("web1")
        assert operation.problem.reason == "POST_HOOK_FAILED"
        status = (await server.host("web1")).status
        assert (status.state, status.failure.step) == (host_pb2.HOST_STATE_FAILED, "post_hook")
        host.run("touch /root/ok", check=True)
        again = await server.retry("web1")
    assert again.status == SUCCEEDED, again
    assert steps_of(again) == ["CONNECT", "VERIFY", "POST_HOOK"]
    assert host.output("cat /root/after").splitlines() == ["succeeded tb-simple"] * 2


async def test_a_post_hook_that_fails_takes_the_update_back_where_the_policy_wants_that(
    make_fleet, tmp_path
):
    fleet = make_fleet(HostSpec(name="web1", packages=PACKAGES))
    host = fleet["web1"]
    policy = hooks(post="false")
    policy.rollback = host_pb2.ROLLBACK_UNHEALTHY
    async with daemon(tmp_path / "state", key=fleet.private_key) as server:
        await server.register("web1", host.address, policy=policy)
        operation = await server.update("web1")
    assert steps_of(operation)[-3:] == ["VERIFY", "POST_HOOK", "ROLLBACK"]
    assert operation.problem.reason == "POST_HOOK_FAILED"
    assert operation.update.rolled_back
    assert host.output("dpkg-query -W -f '${Version}' tb-simple") == "1.0-1"


async def test_a_killed_server_and_a_cut_link_do_not_run_a_hook_twice(make_fleet, tmp_path):
    fleet = make_fleet(HostSpec(name="web1", packages=PACKAGES))
    host = fleet["web1"]
    script = "echo ran >>/root/ran; until [ -e /root/go ]; do sleep 0.1; done; echo over"
    async with daemon(tmp_path / "state", key=fleet.private_key) as server:
        await server.register("web1", host.address, policy=hooks(script))
        begun = await server.start_update("web1")
        await asyncio.to_thread(host.output, "until [ -e /root/ran ]; do sleep 0.1; done")
        server.process.kill()
        await server.process.wait()
    async with daemon(tmp_path / "state", key=fleet.private_key) as server:
        host.run("ss -K sport = :22; touch /root/go", check=True)
        operation = await server.ended(begun.id)
        log = await server.log_of(operation.id)
    assert operation.status == SUCCEEDED, operation
    assert host.output("cat /root/ran") == "ran"
    assert log.startswith(b"over\n")


async def test_checks_of_every_kind_are_made_and_told_one_by_one(make_fleet, tmp_path):
    fleet = make_fleet(HostSpec(name="web1", packages=PACKAGES))
    host = fleet["web1"]
    page = "HTTP/1.0 200 OK\\r\\n\\r\\nall is well"
    host.run(
        f"cat >/root/serve.py <<'end'\nimport http.server\nend\nprintf '{page}' >/root/page",
        check=True,
    )
    checks = health_pb2.HealthChecks(
        checks=[
            health_pb2.HealthCheck(tcp=health_pb2.TcpProbe(port=22)),
            health_pb2.HealthCheck(units=health_pb2.UnitsProbe(units=["ssh.service"])),
            health_pb2.HealthCheck(command='test "$(id -u)" = 0 && cat </dev/stdin'),
            health_pb2.HealthCheck(
                http=health_pb2.HttpProbe(url="http://{address}:22/health"), attempts=1
            ),
            health_pb2.HealthCheck(command="echo alas >&2; exit 7", attempts=1),
            health_pb2.HealthCheck(command="sleep 60", attempts=1),
            health_pb2.HealthCheck(tcp=health_pb2.TcpProbe(port=5), attempts=1),
            health_pb2.HealthCheck(units=health_pb2.UnitsProbe(units=["no.service"]), attempts=1),
        ]
    )
    checks.checks[5].timeout.FromSeconds(1)
    policy = host_pb2.Policy(health_checks=checks)
    async with daemon(tmp_path / "state", key=fleet.private_key) as server:
        await server.register("web1", host.address, policy=policy)
        operation = await server.check("web1")
    found = {result.name: (result.healthy, result.message) for result in operation.health.checks}
    assert not operation.health.healthy
    assert found["systemd"] == (True, "healthy")
    assert found["tcp 22"] == (True, "port 22 takes connections")
    assert found["units ssh.service"] == (True, "active")
    assert found['command test "$(id -u)" = 0 && cat </dev/stdin'] == (True, "exit status 0")
    assert found["command echo alas >&2; exit 7"] == (False, "exit status 7: alas")
    assert found["command sleep 60"] == (False, "no end within 1 s")
    assert found["tcp 5"] == (False, "port 5 refuses connections")
    assert found["units no.service"] == (False, "no.service is inactive")
    healthy, words = found["http http://{address}:22/health"]
    assert not healthy
    assert words.startswith("no HTTP answer: SSH-2.0-")
    assert "tcp 5: port 5 refuses connections" in operation.health.message


async def test_an_update_after_which_a_check_fails_has_failed_and_says_which(make_fleet, tmp_path):
    fleet = make_fleet(HostSpec(name="web1", packages=PACKAGES))
    host = fleet["web1"]
    # Well before the update, and after it no more.
    check = health_pb2.HealthCheck(command="dpkg-query -W tb-simple | grep 1.0-1", attempts=2)
    check.interval.FromSeconds(1)
    policy = host_pb2.Policy(health_checks=health_pb2.HealthChecks(checks=[check]))
    async with daemon(tmp_path / "state", key=fleet.private_key) as server:
        await server.register("web1", host.address, policy=policy)
        assert (await server.check("web1")).health.healthy
        operation = await server.update("web1")
    assert operation.problem.reason == "UNHEALTHY"
    assert operation.problem.message == (
        "web1: unhealthy: command dpkg-query -W tb-simple | grep 1.0-1: exit status 1"
    )
    result = operation.update.health.checks[1]
    assert (result.attempts, result.failures) == (2, 2)
