"""The whole way, against real hosts: real sshd, apt, dpkg and reboots."""

import asyncio
from datetime import UTC, datetime, timedelta

import grpc
import pytest

from tendhost.v1 import host_pb2, operation_pb2, rollout_pb2
from tests.e2e.daemon import Daemon, daemon
from tests.fleet import Fleet, Host, HostSpec

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(300)]

SUCCEEDED = operation_pb2.OPERATION_STATUS_SUCCEEDED
FAILED = operation_pb2.OPERATION_STATUS_FAILED
KEPT_BACK = {"tb-held", "tb-conflict", "tb-phased"}


async def registered(server: Daemon, fleet: Fleet, **config) -> None:
    for host in fleet.hosts:
        await server.register(host.name, host.address, **config)


def version(host: Host, package: str) -> str:
    return host.output(f"dpkg-query -W -f '${{Version}}' {package}")


async def test_query_tells_security_held_kept_back_and_phased_apart(make_fleet, tmp_path):
    fleet = make_fleet(HostSpec(name="web1"))
    async with daemon(tmp_path / "state", key=fleet.private_key) as server:
        await registered(server, fleet)
        operation = await server.query("web1")
        assert operation.status == SUCCEEDED, operation
        host = await server.host("web1")
        assert host.status.state == host_pb2.HOST_STATE_PENDING_UPDATES
        inventory = await server.inventory("web1")
    pending = {package.name: package for package in inventory.pending_updates}
    assert pending["tb-simple"].from_version == "1.0-1"
    assert pending["tb-simple"].to_version == "2.0-1"
    assert pending["tb-secure"].security
    assert not pending["tb-simple"].security
    assert pending["tb-held"].withheld == host_pb2.WITHHELD_HELD
    assert pending["tb-conflict"].withheld == host_pb2.WITHHELD_KEPT_BACK
    assert pending["tb-phased"].withheld == host_pb2.WITHHELD_PHASED
    willing = [p for p in inventory.pending_updates if not p.withheld]
    assert host.status.pending_updates == len(willing)
    truth = fleet["web1"].output("dpkg-query -W -f '${Package} ${Version}\n'").splitlines()
    assert [f"{p.name} {p.version}" for p in inventory.packages] == sorted(truth)
    assert inventory.system.os_id == "debian"
    assert inventory.system.boot_id == fleet["web1"].output("cat /proc/sys/kernel/random/boot_id")


async def test_update_upgrades_reboots_and_verifies_and_dpkg_agrees(make_fleet, tmp_path):
    fleet = make_fleet(HostSpec(name="web1"))
    host = fleet["web1"]
    host.run("echo local=yes >>/etc/tb-conf.conf", check=True)
    async with daemon(tmp_path / "state", key=fleet.private_key) as server:
        await registered(server, fleet)
        operation = await server.update("web1")
        assert operation.status == SUCCEEDED, operation
        status = (await server.host("web1")).status
        events = await server.all_events()
        log = await server.log_of(operation.id)
    assert status.state == host_pb2.HOST_STATE_IDLE
    assert status.HasField("last_updated")
    assert status.reboot.need == host_pb2.REBOOT_NEED_NOT_NEEDED
    result = operation.update
    changed = {change.name: change.to_version for change in result.packages}
    assert result.success
    assert result.upgraded_count == len(changed)
    for name, to in changed.items():
        assert version(host, name) == to
    assert {"tb-simple", "tb-kernel", "tb-secure", "tb-newdep"} <= changed.keys()
    assert version(host, "tb-held") == "1.0-1"
    assert result.rebooted
    assert host.boot_count == 2
    assert list(result.kept_conffiles) == ["/etc/tb-conf.conf"]
    assert "local=yes" in host.output("cat /etc/tb-conf.conf")
    assert {p.name for p in result.withheld} == KEPT_BACK
    assert b"Setting up tb-simple" in log
    assert host.transactions().count("tb-simple 2.0-1") == 1
    assert [e.revision for e in events] == list(range(1, len(events) + 1))
    progress = [e.update_progress for e in events if e.HasField("update_progress")]
    assert {"unpack", "configure"} <= {p.phase for p in progress}
    states = [
        host_pb2.HostState.Name(e.state_changed.to_state).removeprefix("HOST_STATE_")
        for e in events
        if e.HasField("state_changed")
    ]
    assert states == [
        "QUERYING",
        "PENDING_UPDATES",
        "UPDATING",
        "WAITING_REBOOT",
        "REBOOTING",
        "VERIFYING",
        "IDLE",
    ]


async def test_dry_run_changes_nothing_and_says_what_the_update_then_does(make_fleet, tmp_path):
    fleet = make_fleet(HostSpec(name="web1", packages=("tb-simple", "tb-held", "tb-newdep")))
    host = fleet["web1"]
    before = host.output("dpkg-query -W")
    async with daemon(tmp_path / "state", key=fleet.private_key) as server:
        await registered(server, fleet)
        tried = await server.update("web1", dry_run=True)
        status = (await server.host("web1")).status
        assert host.output("dpkg-query -W") == before
        assert not status.HasField("last_updated")
        assert status.state == host_pb2.HOST_STATE_PENDING_UPDATES
        done = await server.update("web1")
    assert tried.status == done.status == SUCCEEDED
    planned = {(c.name, c.from_version, c.to_version) for c in tried.update.packages}
    assert planned == {(c.name, c.from_version, c.to_version) for c in done.update.packages}


async def test_failing_package_fails_the_host_with_its_own_words_and_retry_mends(
    make_fleet, tmp_path
):
    fleet = make_fleet(HostSpec(name="db1", packages=("tb-simple", "tb-failing"), failing_ok=False))
    host = fleet["db1"]
    async with daemon(tmp_path / "state", key=fleet.private_key) as server:
        await registered(server, fleet)
        operation = await server.update("db1")
        assert operation.status == FAILED
        assert "tb-failing" in operation.problem.message
        assert "cannot migrate database" in operation.problem.message
        failed = (await server.host("db1")).status
        assert failed.state == host_pb2.HOST_STATE_FAILED
        assert failed.failure.step == "apply"
        assert failed.failure.previous_state == host_pb2.HOST_STATE_UPDATING
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await server.update("db1")
        assert refused.value.code() == grpc.StatusCode.FAILED_PRECONDITION
        again = await server.retry("db1")
        assert again.status == FAILED
        assert (await server.host("db1")).status.failure.retry_count == 1
        host.run("touch /etc/tb-failing-ok", check=True)
        mended = await server.retry("db1")
        assert mended.status == SUCCEEDED, mended
        status = (await server.host("db1")).status
    assert status.state == host_pb2.HOST_STATE_IDLE
    assert status.retry_count == 0
    assert host.output("dpkg --audit") == ""
    assert version(host, "tb-failing") == "2.0-1"


async def test_host_that_may_not_reboot_by_itself_waits_and_reboots_when_told(make_fleet, tmp_path):
    fleet = make_fleet(HostSpec(name="web1", packages=("tb-kernel",)))
    async with daemon(tmp_path / "state", key=fleet.private_key) as server:
        await registered(server, fleet, policy=host_pb2.Policy(auto_reboot=False))
        updated = await server.update("web1")
        assert updated.status == SUCCEEDED, updated
        assert updated.update.reboot_required
        assert not updated.update.rebooted
        status = (await server.host("web1")).status
        assert status.state == host_pb2.HOST_STATE_WAITING_REBOOT
        assert "tb-kernel" in status.reboot.reason
        assert fleet["web1"].boot_count == 1
        rebooted = await server.reboot("web1")
        assert rebooted.status == SUCCEEDED, rebooted
        status = (await server.host("web1")).status
    assert status.state == host_pb2.HOST_STATE_IDLE
    assert fleet["web1"].boot_count == 2


async def test_host_that_never_returns_from_reboot_fails(make_fleet, tmp_path):
    fleet = make_fleet(HostSpec(name="web1", packages=()))
    fleet["web1"].knobs.next_boot = "never"
    configuration = tmp_path / "tendhostd.toml"
    configuration.write_text("reboot_timeout = 8.0\nconnect_timeout = 2.0\n")
    options = ["--config", str(configuration)]
    async with daemon(tmp_path / "state", key=fleet.private_key, options=options) as server:
        await registered(server, fleet)
        operation = await server.reboot("web1")
        status = (await server.host("web1")).status
    assert operation.status == FAILED
    assert operation.problem.reason == "REBOOT_NEVER_RETURNED"
    assert status.state == host_pb2.HOST_STATE_FAILED
    assert status.failure.step == "reboot"


async def test_rollout_in_waves_survives_a_bad_host_and_the_numbers_agree(make_fleet, tmp_path):
    fleet = make_fleet(
        HostSpec(name="web1", packages=("tb-simple", "tb-secure")),
        HostSpec(name="web2", packages=("tb-simple", "tb-failing"), failing_ok=False),
        HostSpec(name="web3", packages=("tb-simple", "tb-kernel")),
        HostSpec(name="web4", packages=("tb-simple",)),
    )
    async with daemon(tmp_path / "state", key=fleet.private_key) as server:
        await registered(server, fleet, tags=["web"])
        started = await server.rollout(waves=("2",), filter=host_pb2.HostFilter(all_tags=["web"]))
        rollout, members = await server.rollout_ended(started.id)
        states = [(await server.host(host.name)).status.state for host in fleet.hosts]
        events = await server.all_events()
    assert rollout.status == rollout_pb2.ROLLOUT_STATUS_COMPLETED
    progress = rollout.progress
    assert (progress.total_hosts, progress.completed, progress.failed) == (4, 3, 1)
    assert (progress.pending, progress.in_progress, progress.skipped) == (0, 0, 0)
    assert [members[f"web{n}"].wave for n in (1, 2, 3, 4)] == [1, 1, 2, 2]
    assert members["web2"].status == rollout_pb2.ROLLOUT_HOST_STATUS_FAILED
    assert "cannot migrate database" in members["web2"].detail
    idle, failed = host_pb2.HOST_STATE_IDLE, host_pb2.HOST_STATE_FAILED
    assert states == [idle, failed, idle, idle]
    for name in ("web1", "web3", "web4"):
        assert version(fleet[name], "tb-simple") == "2.0-1"
    assert [host.boot_count for host in fleet.hosts] == [1, 1, 2, 1]
    assert [e.revision for e in events] == list(range(1, len(events) + 1))


async def test_changed_host_key_is_refused_until_somebody_pins_the_new_one(make_fleet, tmp_path):
    fleet = make_fleet(HostSpec(name="web1", packages=()))
    async with daemon(tmp_path / "state", key=fleet.private_key) as server:
        await registered(server, fleet)
        assert (await server.query("web1")).status == SUCCEEDED
        await asyncio.to_thread(fleet["web1"].change_host_key)
        operation = await server.query("web1")
        status = (await server.host("web1")).status
        refused = await server.update("web1")
        failed = (await server.host("web1")).status
    assert operation.status == FAILED
    assert operation.problem.reason == "HOST_KEY_CHANGED"
    assert (status.state, status.error) == (host_pb2.HOST_STATE_IDLE, operation.problem.message)
    assert refused.problem.reason == "HOST_KEY_CHANGED"
    assert failed.state == host_pb2.HOST_STATE_FAILED


async def test_sudo_user_updates_and_one_whom_sudo_asks_is_told_so(make_fleet, tmp_path):
    fleet = make_fleet(HostSpec(name="web1", packages=("tb-simple", "tb-kernel")))
    address = fleet["web1"].address
    async with daemon(tmp_path / "state", key=fleet.private_key) as server:
        await server.register("asked", address, user="nosudo")
        await server.register("web1", address, user="ops", allow_duplicate=True)
        refused = await server.update("asked")
        host = await server.host("asked")
        done = await server.update("web1")
    assert refused.status == FAILED
    assert refused.problem.reason == "PRIVILEGE_MISSING"
    assert "password" in refused.problem.message
    assert host.status.state == host_pb2.HOST_STATE_IDLE
    assert done.status == SUCCEEDED, done
    assert done.update.rebooted
    assert version(fleet["web1"], "tb-simple") == "2.0-1"


async def test_unreachable_archive_fails_the_query_and_strands_nobody(make_fleet, tmp_path):
    fleet = make_fleet(HostSpec(name="web1", packages=("tb-simple",)))
    async with daemon(tmp_path / "state", key=fleet.private_key) as server:
        await registered(server, fleet)
        await asyncio.to_thread(fleet["web1"].publish, "absent")
        operation = await server.query("web1")
        host = await server.host("web1")
        await asyncio.to_thread(fleet["web1"].publish, "v2")
        again = await server.update("web1")
    assert operation.status == FAILED
    assert operation.problem.reason == "REFRESH_FAILED"
    assert not host.status.HasField("failure")
    assert host.status.error == operation.problem.message
    assert again.status == SUCCEEDED, again


async def test_killed_server_costs_an_upgrade_nothing(make_fleet, tmp_path):
    fleet = make_fleet(HostSpec(name="web1", packages=("tb-slow",)))
    host = fleet["web1"]
    host.run("echo 5 >/etc/tb-slow-seconds", check=True)
    async with daemon(tmp_path / "state", key=fleet.private_key) as server:
        await registered(server, fleet)
        begun = await server.start_update("web1")
        waiting = "until [ -e /run/tb-slow-running ]; do sleep 0.1; done"
        await asyncio.to_thread(host.run, waiting, timeout=60)
        server.process.kill()
        await server.process.wait()
    async with daemon(tmp_path / "state", key=fleet.private_key) as server:
        operation = await server.ended(begun.id)
        status = (await server.host("web1")).status
        log = await server.log_of(begun.id)
    assert operation.status == SUCCEEDED, operation
    assert [change.name for change in operation.update.packages] == ["tb-slow"]
    assert status.state == host_pb2.HOST_STATE_IDLE
    assert log.count(b"Setting up tb-slow (2.0-1)") == 1
    assert host.transactions().count("tb-slow 2.0-1") == 1
    assert host.run("test ! -e /var/lib/tendhost").returncode == 0


HOLD_LOCK = (
    'perl -e \'use Fcntl; open(F, ">>", $ARGV[0]) or die;'
    ' my $l = pack("s s x4 l! l! i x4", F_WRLCK, 0, 0, 0, 0);'
    " fcntl(F, F_SETLK, $l) or die; sleep $ARGV[1]' /var/lib/dpkg/lock-frontend {seconds}"
    " >/dev/null 2>&1 & sleep 0.3"
)
"""apt takes fcntl(2) locks, which flock(1) does not."""


async def test_lock_of_another_package_manager_is_waited_for(make_fleet, tmp_path):
    fleet = make_fleet(HostSpec(name="web1", packages=("tb-simple",)))
    async with daemon(tmp_path / "state", key=fleet.private_key) as server:
        await registered(server, fleet)
        fleet["web1"].run(HOLD_LOCK.format(seconds=4), check=True)
        operation = await server.update("web1")
    assert operation.status == SUCCEEDED, operation
    assert version(fleet["web1"], "tb-simple") == "2.0-1"


async def test_lock_that_is_never_let_go_of_names_its_holder_and_is_not_the_hosts_fault(
    make_fleet, tmp_path
):
    fleet = make_fleet(HostSpec(name="web1", packages=("tb-simple",)))
    configuration = tmp_path / "tendhostd.toml"
    configuration.write_text("lock_timeout = 2\n")
    options = ["--config", str(configuration)]
    async with daemon(tmp_path / "state", key=fleet.private_key, options=options) as server:
        await registered(server, fleet)
        fleet["web1"].run(HOLD_LOCK.format(seconds=60), check=True)
        operation = await server.update("web1")
        status = (await server.host("web1")).status
    assert operation.status == FAILED
    assert operation.problem.reason == "PACKAGE_MANAGER_LOCKED"
    assert "perl" in operation.problem.message
    assert status.state == host_pb2.HOST_STATE_IDLE
    assert version(fleet["web1"], "tb-simple") == "1.0-1"


@pytest.mark.parametrize(
    ("sabotage", "reason", "words"),
    [
        (
            "mount -t tmpfs -o size=4k full /var/cache/apt/archives"
            " && head -c 4096 /dev/zero >/var/cache/apt/archives/full",
            "DISK_FULL",
            "has 0 KiB free",
        ),
        ("echo 'deb nonsense' >/etc/apt/sources.list.d/bad.list", "PACKAGE_FAILED", "bad.list"),
        (
            "mv /usr/bin/apt-get /usr/bin/apt-gone",
            "PACKAGE_MANAGER_MISSING",
            "no supported package manager",
        ),
    ],
    ids=["full disk", "broken sources list", "no apt"],
)
async def test_host_that_cannot_be_updated_says_why_and_nothing_is_changed(
    make_fleet, tmp_path, sabotage, reason, words
):
    fleet = make_fleet(HostSpec(name="web1", packages=("tb-simple",)))
    fleet["web1"].run(sabotage, check=True)
    async with daemon(tmp_path / "state", key=fleet.private_key) as server:
        await registered(server, fleet)
        operation = await server.update("web1")
        host = await server.host("web1")
    assert operation.status == FAILED, operation
    assert operation.problem.reason == reason, operation
    assert words in operation.problem.message
    assert not host.status.HasField("failure")
    assert version(fleet["web1"], "tb-simple") == "1.0-1"


async def test_interrupted_dpkg_is_repaired_once_and_the_update_goes_on(make_fleet, tmp_path):
    fleet = make_fleet(HostSpec(name="web1", packages=("tb-simple", "tb-slow")))
    host = fleet["web1"]
    host.run("apt-get -q update && echo 60 >/etc/tb-slow-seconds", check=True)
    host.run(
        "apt-get -y install tb-slow >/dev/null 2>&1 &"
        " until [ -e /run/tb-slow-running ]; do sleep 0.1; done;"
        " kill -9 $(pgrep -x apt-get) $(pgrep -x dpkg) $(pgrep -x tb-slow.postins);"
        " echo 0 >/etc/tb-slow-seconds",
        check=True,
    )
    assert host.output("dpkg --audit") != ""
    async with daemon(tmp_path / "state", key=fleet.private_key) as server:
        await registered(server, fleet)
        operation = await server.update("web1")
    assert operation.status == SUCCEEDED, operation
    preflight = next(s for s in operation.steps if s.name == operation_pb2.STEP_NAME_PREFLIGHT)
    assert "repaired" in preflight.detail
    assert host.output("dpkg --audit") == ""
    assert version(host, "tb-simple") == version(host, "tb-slow") == "2.0-1"


async def test_check_tells_of_failed_units_and_an_update_only_minds_new_ones(make_fleet, tmp_path):
    fleet = make_fleet(HostSpec(name="web1", packages=("tb-simple",)))
    unit = "[Service]\\nExecStart=/bin/false\\n"
    fleet["web1"].run(
        f"printf '{unit}' >/etc/systemd/system/bad.service;"
        " systemctl daemon-reload; systemctl start bad; true"
    )
    async with daemon(tmp_path / "state", key=fleet.private_key) as server:
        await registered(server, fleet)
        checked = await server.check("web1")
        updated = await server.update("web1")
        status = (await server.host("web1")).status
    assert checked.status == SUCCEEDED
    assert not checked.health.healthy
    assert "bad.service" in checked.health.message
    assert updated.status == SUCCEEDED, updated
    assert status.state == host_pb2.HOST_STATE_IDLE


async def test_window_that_is_closed_allows_to_look_and_nothing_else(make_fleet, tmp_path):
    fleet = make_fleet(HostSpec(name="web1", packages=("tb-simple",)))
    past = datetime.now(UTC) - timedelta(hours=3)
    window = host_pb2.MaintenanceWindow(
        start=f"{past:%H:%M}", end=f"{past + timedelta(hours=1):%H:%M}"
    )
    policy = host_pb2.Policy(windows=[window])
    async with daemon(tmp_path / "state", key=fleet.private_key) as server:
        await registered(server, fleet, policy=policy)
        update = await server.update("web1")
        reboot = await server.reboot("web1")
        tried = await server.update("web1", dry_run=True)
    assert update.problem.reason == reboot.problem.reason == "WINDOW_CLOSED"
    assert tried.status == SUCCEEDED
    assert fleet["web1"].boot_count == 1
    assert version(fleet["web1"], "tb-simple") == "1.0-1"
