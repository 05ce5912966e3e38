"""An upgrade that is interrupted in every way there is, on real hosts: it runs once, and nothing is lost."""

import asyncio
import re
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tendhost.v1 import host_pb2, host_service_pb2, operation_pb2, operation_service_pb2
from tests.e2e.daemon import Daemon, daemon
from tests.fleet import Fleet, Host, HostSpec

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(300)]

SUCCEEDED = operation_pb2.OPERATION_STATUS_SUCCEEDED
FAILED = operation_pb2.OPERATION_STATUS_FAILED
CANCELLED = operation_pb2.OPERATION_STATUS_CANCELLED
IN_THE_MIDDLE = "until [ -e /run/tb-slow-running ]; do sleep 0.05; done"
KEEP_LOGS = (
    "mkdir -p /root/kept; (while :; do for log in /var/lib/tendhost/ops/*/*/log; do"
    ' ln "$log" "/root/kept/$(echo "$log" | tr / _)" 2>/dev/null; done; sleep 0.05; done)'
    " >/dev/null 2>&1 &"
)


@asynccontextmanager
async def serving(state: Path, fleet: Fleet, *, register: bool = True, **settings: float):
    """A server that knows the fleet."""
    configuration = state.with_suffix(".toml")
    configuration.write_text("".join(f"{name} = {value}\n" for name, value in settings.items()))
    async with daemon(
        state, key=fleet.private_key, options=["--config", str(configuration)]
    ) as server:
        if register:
            for host in fleet.hosts:
                await server.register(host.name, host.address)
        yield server


async def in_the_middle(server: Daemon, host: Host, *, seconds: float = 4) -> str:
    """The id of an update whose package transaction is under way."""
    host.run(f"echo {seconds} >/etc/tb-slow-seconds", check=True)
    begun = await server.start_update(host.name)
    await asyncio.to_thread(host.run, IN_THE_MIDDLE, timeout=60, check=True)
    return begun.id


def steps(operation: operation_pb2.Operation) -> list[str]:
    return [
        operation_pb2.StepName.Name(s.name).removeprefix("STEP_NAME_").lower()
        for s in operation.steps
    ]


def statuses(operation: operation_pb2.Operation) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, step in zip(steps(operation), operation.steps, strict=True):
        word = operation_pb2.StepStatus.Name(step.status).removeprefix("STEP_STATUS_").lower()
        found.setdefault(name, []).append(word)
    return found


def version(host: Host, package: str) -> str:
    return host.output(f"dpkg-query -W -f '${{Version}}' {package}")


def nothing_left(host: Host) -> bool:
    units = host.output("systemctl list-units --all --plain --no-legend 'tendhost*'")
    return host.run("test ! -e /var/lib/tendhost").returncode == 0 and units == ""


@pytest.mark.parametrize("how", ["reset", "drop", "down"])
async def test_link_that_is_cut_in_mid_upgrade_costs_nothing(make_fleet, tmp_path, how):
    fleet = make_fleet(HostSpec(name="web1", packages=("tb-slow", "tb-simple")))
    host = fleet["web1"]
    host.run(KEEP_LOGS, check=True)
    async with serving(tmp_path / "state", fleet) as server:
        id = await in_the_middle(server, host)
        fleet.cut_link(host, how)
        await asyncio.sleep(3)
        fleet.restore_link(host)
        operation = await server.ended(id)
        log = await server.log_of(id)
    assert operation.status == SUCCEEDED, operation
    assert sorted(host.transactions()) == ["tb-simple 2.0-1", "tb-slow 2.0-1"]
    assert log == host.run("cat /root/kept/*", check=True).stdout.encode()
    assert nothing_left(host)


@pytest.mark.parametrize("user", ["root", "ops"])
async def test_without_systemd_and_through_sudo_an_upgrade_is_as_safe(make_fleet, tmp_path, user):
    fleet = make_fleet(HostSpec(name="web1", packages=("tb-slow", "tb-simple"), init="tiny"))
    host = fleet["web1"]
    async with serving(tmp_path / "state", fleet, register=False) as server:
        await server.register("web1", host.address, user=user)
        id = await in_the_middle(server, host)
        fleet.cut_link(host, "reset")
        server.process.kill()
        await server.process.wait()
        fleet.restore_link(host)
    async with serving(tmp_path / "state", fleet, register=False) as server:
        operation = await server.ended(id)
        log = await server.log_of(id)
    assert operation.status == SUCCEEDED, operation
    assert sorted(host.transactions()) == ["tb-simple 2.0-1", "tb-slow 2.0-1"]
    assert log.count(b"Setting up tb-slow (2.0-1)") == 1
    assert host.run("test ! -e /var/lib/tendhost").returncode == 0
    assert host.run("pgrep -f /var/lib/[t]endhost").returncode == 1


@pytest.mark.parametrize("how", ["power cut", "reboot"])
async def test_host_that_goes_down_in_mid_upgrade_is_repaired_and_finished(
    make_fleet, tmp_path, how
):
    fleet = make_fleet(HostSpec(name="web1", packages=("tb-slow", "tb-simple", "tb-conf")))
    host = fleet["web1"]
    async with serving(tmp_path / "state", fleet) as server:
        id = await in_the_middle(server, host, seconds=30)
        host.run("echo 0 >/etc/tb-slow-seconds && sync", check=True)
        boots = host.boot_count
        if how == "reboot":
            host.run("systemctl reboot", check=True)
        else:
            host.power_cut()
            host.power_on()
        await asyncio.to_thread(host.wait_up, boots=boots + 1, timeout=60)
        operation = await server.ended(id)
    assert operation.status == SUCCEEDED, operation
    assert statuses(operation)["apply"][0] == "interrupted"
    assert operation.steps[3].detail.endswith("the host went down while it ran")
    assert "repaired" in operation.steps[4].detail
    assert {c.name for c in operation.update.packages} == {"tb-slow", "tb-simple", "tb-conf"}
    ran = host.transactions()
    for package in ("tb-slow", "tb-simple", "tb-conf"):
        assert version(host, package) == "2.0-1"
        # The script that was cut off in its middle ran a second time, in the repair; no other did.
        assert ran.count(f"{package} 2.0-1") == (2 if package == "tb-slow" else 1)
    assert host.output("dpkg --audit") == ""
    assert nothing_left(host)


async def test_policy_that_wants_the_repair_alone_gets_it_and_the_host_fails(make_fleet, tmp_path):
    fleet = make_fleet(HostSpec(name="web1", packages=("tb-slow",)))
    host = fleet["web1"]
    async with serving(tmp_path / "state", fleet, register=False) as server:
        policy = host_pb2.Policy(after_interruption=host_pb2.AFTER_INTERRUPTION_REPAIR)
        await server.register("web1", host.address, policy=policy)
        id = await in_the_middle(server, host, seconds=30)
        host.run("echo 0 >/etc/tb-slow-seconds && sync", check=True)
        host.power_cut()
        host.power_on()
        operation = await server.ended(id)
        status = (await server.host("web1")).status
    assert (operation.status, operation.problem.reason) == (FAILED, "INTERRUPTED")
    assert steps(operation)[3:] == ["apply", "preflight", "reboot_check"]
    assert status.state == host_pb2.HOST_STATE_FAILED
    assert host.output("dpkg --audit") == ""


@pytest.mark.parametrize("victims", ["dpkg", "apt-get dpkg", "apt-get"])
async def test_package_manager_that_is_killed_is_repaired_and_the_update_goes_on(
    make_fleet, tmp_path, victims
):
    fleet = make_fleet(HostSpec(name="web1", packages=("tb-slow", "tb-simple")))
    host = fleet["web1"]
    async with serving(tmp_path / "state", fleet) as server:
        id = await in_the_middle(server, host, seconds=3)
        pids = " ".join(f"$(pgrep -x {name})" for name in victims.split())
        host.run(f"kill -9 {pids}; echo 0 >/etc/tb-slow-seconds", check=True)
        operation = await server.ended(id)
    assert operation.status == SUCCEEDED, operation
    assert statuses(operation)["apply"][0] == "interrupted"
    assert version(host, "tb-simple") == version(host, "tb-slow") == "2.0-1"
    assert host.output("dpkg --audit") == ""


async def test_upgrade_of_somebody_else_is_waited_for_and_never_repaired_under_its_hands(
    make_fleet, tmp_path
):
    fleet = make_fleet(HostSpec(name="web1", packages=("tb-slow", "tb-simple")))
    host = fleet["web1"]
    host.run(
        "apt-get -q update; echo 30 >/etc/tb-slow-seconds;"
        " setsid apt-get -y upgrade >/root/other.log 2>&1 </dev/null &"
        f" {IN_THE_MIDDLE}",
        check=True,
    )
    async with serving(tmp_path / "state", fleet, lock_timeout=1, attempts=2) as server:
        operation = await server.update("web1")
        status = (await server.host("web1")).status
    assert operation.problem.reason == "PACKAGE_MANAGER_LOCKED", operation
    assert steps(operation) == ["connect", "preflight"]
    assert operation.steps[1].attempts == 2
    assert status.state != host_pb2.HOST_STATE_FAILED


async def test_host_that_is_gone_for_good_is_given_up_and_a_retry_goes_back_to_the_same_upgrade(
    make_fleet, tmp_path
):
    fleet = make_fleet(HostSpec(name="web1", packages=("tb-slow",)))
    host = fleet["web1"]
    async with serving(tmp_path / "state", fleet, gone_timeout=3, connect_timeout=1) as server:
        id = await in_the_middle(server, host, seconds=2)
        fleet.cut_link(host, "reset")
        operation = await server.ended(id)
        status = (await server.host("web1")).status
        assert (operation.status, operation.problem.reason) == (FAILED, "HOST_GONE")
        assert status.state == host_pb2.HOST_STATE_FAILED
        fleet.restore_link(host)
        retried = await server.retry("web1")
        log = await server.log_of(retried.id)
        status = (await server.host("web1")).status
    assert retried.status == SUCCEEDED, retried
    assert retried.resumes_operation_id == id
    assert steps(retried) == ["connect", "apply", "reboot_check", "verify"]
    assert [c.name for c in retried.update.packages] == ["tb-slow"]
    assert b"Setting up tb-slow (2.0-1)" in log
    assert status.state == host_pb2.HOST_STATE_IDLE
    assert host.transactions() == ["tb-slow 2.0-1"]
    assert nothing_left(host)


async def test_cancelled_in_mid_upgrade_it_waits_for_the_transaction_and_does_not_reboot(
    make_fleet, tmp_path
):
    fleet = make_fleet(HostSpec(name="web1", packages=("tb-slow", "tb-kernel")))
    host = fleet["web1"]
    async with serving(tmp_path / "state", fleet) as server:
        id = await in_the_middle(server, host, seconds=2)
        request = operation_service_pb2.CancelOperationRequest(id=id)
        answer = await server.operations.CancelOperation(request)
        assert "never interrupted" in answer.message
        operation = await server.ended(id)
        status = (await server.host("web1")).status
    assert operation.status == CANCELLED
    assert status.state == host_pb2.HOST_STATE_WAITING_REBOOT
    assert host.boot_count == 1
    assert sorted(host.transactions()) == ["tb-kernel 2.0-1", "tb-slow 2.0-1"]


def orders_do(what: str) -> str:
    """Have every order to reboot do this instead."""
    programs = ("systemctl", "shutdown", "reboot")
    paths = " ".join(f"/usr/local/sbin/{program}" for program in programs)
    return (
        f"rm -f {paths}; printf '#!/bin/sh\\n{what}\\n' | tee {paths} >/dev/null; chmod +x {paths}"
    )


@pytest.mark.parametrize(
    ("sabotage", "knob", "reason", "words"),
    [
        (orders_do("exit 0"), None, "REBOOT_NEVER_BEGAN", "its connection has not dropped"),
        (
            orders_do("echo no >&2; exit 1"),
            None,
            "REBOOT_REFUSED",
            "refused to reboot (exit 1): no",
        ),
        # The session, with the link, dies under the order; nothing else does.
        (
            orders_do(
                "p=$$; until grep -q ^sshd /proc/$p/comm; do p=$(cut -d\\  -f4 /proc/$p/stat); done;"
                " kill -9 $p"
            ),
            None,
            "REBOOT_SAME_BOOT_ID",
            "its boot id is the same",
        ),
        ("", "never", "REBOOT_NEVER_RETURNED", "did not come back within"),
        ("", "no-sshd", "REBOOT_NEVER_RETURNED", "did not come back within"),
    ],
    ids=["ignored", "refused", "same boot id", "never", "no sshd"],
)
async def test_each_way_in_which_a_reboot_goes_wrong_is_told_apart(
    make_fleet, tmp_path, sabotage, knob, reason, words
):
    fleet = make_fleet(HostSpec(name="web1", init="tiny"))
    host = fleet["web1"]
    if sabotage:
        host.run(sabotage, check=True)
    if knob:
        host.knobs.next_boot = knob
    async with serving(tmp_path / "state", fleet, reboot_timeout=8, connect_timeout=1) as server:
        operation = await server.reboot("web1")
    assert (operation.status, operation.problem.reason) == (FAILED, reason), operation
    assert words in operation.problem.message


async def test_unhealthy_after_its_reboot_a_host_fails_in_verify(make_fleet, tmp_path):
    fleet = make_fleet(HostSpec(name="web1", packages=("tb-kernel",)))
    host = fleet["web1"]
    unit = "[Service]\\nExecStart=/bin/false\\n[Install]\\nWantedBy=multi-user.target\\n"
    host.run(
        f"printf '{unit}' >/etc/systemd/system/bad.service; systemctl -q enable bad", check=True
    )
    async with serving(tmp_path / "state", fleet, verify_timeout=3) as server:
        operation = await server.update("web1")
        assert (operation.status, operation.problem.reason) == (FAILED, "UNHEALTHY"), operation
        assert "bad.service" in operation.problem.message
        host.run("systemctl -q disable bad; systemctl reset-failed bad", check=True)
        retried = await server.retry("web1")
    assert retried.status == SUCCEEDED, retried
    assert steps(retried) == ["connect", "verify"]
    assert host.boot_count == 2


async def test_server_that_is_killed_around_the_order_reboots_the_host_once(make_fleet, tmp_path):
    fleet = make_fleet(HostSpec(name="web1", init="tiny"))
    host = fleet["web1"]
    host.knobs.down_for = 3
    async with serving(tmp_path / "state", fleet) as server:
        request = host_service_pb2.StartRebootRequest(name="web1")
        id = (await server.hosts.StartReboot(request)).operation.id
        await asyncio.to_thread(_until_off, host)
        server.process.kill()
        await server.process.wait()
    async with serving(tmp_path / "state", fleet, register=False) as server:
        operation = await server.ended(id)
    assert operation.status == SUCCEEDED, operation
    assert host.boot_count == 2


def _until_off(host: Host) -> None:
    while host.is_on:
        pass


async def test_what_passes_by_itself_is_tried_again_and_seen(make_fleet, tmp_path):
    fleet = make_fleet(HostSpec(name="web1", packages=("tb-simple",)))
    host = fleet["web1"]
    host.publish("absent")
    async with serving(tmp_path / "state", fleet) as server:
        begun = await server.start_update("web1")
        retried = await _first_event(server, "step_retried")
        host.publish("v2")
        operation = await server.ended(begun.id)
    assert operation.status == SUCCEEDED, operation
    assert retried.step_retried.step == operation_pb2.STEP_NAME_LIST
    assert retried.step_retried.problem.reason == "REFRESH_FAILED"
    assert 1 <= retried.step_retried.pause.seconds <= 2
    assert operation.steps[2].attempts >= 2
    assert host.transactions() == ["tb-simple 2.0-1"]


async def test_what_does_not_pass_by_itself_is_never_tried_again(make_fleet, tmp_path):
    fleet = make_fleet(HostSpec(name="web1", packages=("tb-simple",)))
    host = fleet["web1"]
    async with serving(tmp_path / "state", fleet) as server:
        host.run("mv /etc/apt/keyrings/fleet.asc /root", check=True)
        untrusted = await server.query("web1")
        host.change_host_key()
        unknown = await server.query("web1")
    assert untrusted.problem.reason == "ARCHIVE_UNTRUSTED"
    assert "NO_PUBKEY" in untrusted.problem.message
    assert [step.attempts for step in untrusted.steps] == [1, 1]
    assert unknown.problem.reason == "HOST_KEY_CHANGED"
    assert [step.attempts for step in unknown.steps] == [1]


async def test_operation_that_is_overdue_changes_nothing_more(make_fleet, tmp_path):
    fleet = make_fleet(HostSpec(name="web1", packages=("tb-slow", "tb-kernel")))
    host = fleet["web1"]
    # Long enough for a busy machine to get as far as the upgrade, and to have that take longer.
    host.run("echo 16 >/etc/tb-slow-seconds", check=True)
    async with serving(tmp_path / "state", fleet, operation_timeout=15) as server:
        operation = await server.update("web1")
    assert (operation.status, operation.problem.reason) == (FAILED, "DEADLINE_EXCEEDED"), operation
    assert steps(operation)[-1] == "verify"  # it was changed, so it is verified
    assert host.boot_count == 1
    assert sorted(host.transactions()) == ["tb-kernel 2.0-1", "tb-slow 2.0-1"]


async def test_upgrade_that_takes_too_long_is_ended_and_said_so(make_fleet, tmp_path):
    fleet = make_fleet(HostSpec(name="web1", packages=("tb-slow",)))
    host = fleet["web1"]
    async with serving(tmp_path / "state", fleet, apply_timeout=2, lock_timeout=1) as server:
        id = await in_the_middle(server, host, seconds=60)
        operation = await server.ended(id)
        assert (operation.status, operation.problem.reason) == (FAILED, "TIMEOUT"), operation
        assert re.search(r"apply-1 did not end within 3 s", operation.problem.message)
        host.run("echo 0 >/etc/tb-slow-seconds", check=True)
        retried = await server.retry("web1")
    assert retried.status == SUCCEEDED, retried
    assert version(host, "tb-slow") == "2.0-1"
    assert host.output("dpkg --audit") == ""


async def _first_event(server: Daemon, kind: str):
    while True:
        for event in await server.all_events():
            if event.HasField(kind):
                return event
        await asyncio.sleep(0.1)
