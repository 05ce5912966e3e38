"""What an update changes, against real apt and dpkg: narrowed down, held to a plan, fetched first, taken back."""

import pytest

from tendhost.v1 import host_pb2, operation_pb2
from tests.e2e.daemon import Daemon, daemon, until_jobs_are_removed
from tests.fleet import Fleet, Host, HostSpec

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(300)]

SUCCEEDED = operation_pb2.OPERATION_STATUS_SUCCEEDED
FAILED = operation_pb2.OPERATION_STATUS_FAILED
PACKAGES = ("tb-simple", "tb-secure", "tb-conf", "tb-newdep", "tb-conflict", "tb-held")
Scope = host_pb2.ScopeOverride


def versions(host: Host) -> dict[str, str]:
    rows = host.output("dpkg-query -W -f '${Package} ${Version}\n' 'tb-*'").splitlines()
    return dict(row.split(" ") for row in rows if not row.endswith(" "))


def changed(operation: operation_pb2.Operation) -> dict[str, str]:
    return {change.name: change.to_version for change in operation.update.packages}


async def registered(server: Daemon, fleet: Fleet, **config) -> None:
    for host in fleet.hosts:
        await server.register(host.name, host.address, **config)


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        (Scope(security_only=True), {"tb-secure"}),
        (Scope(include=["tb-s*"]), {"tb-simple", "tb-secure"}),
        (Scope(include=["tb-s*"], exclude=["*-secure"]), {"tb-simple"}),
        (Scope(exclude=["tb-newdep", "tb-extra"]), {"tb-simple", "tb-secure", "tb-conf"}),
    ],
    ids=["security", "include", "include and exclude", "exclude"],
)
async def test_only_what_is_wanted_is_changed_and_the_dry_run_says_so(
    make_fleet, tmp_path, scope, expected
):
    fleet = make_fleet(HostSpec(name="web1", packages=PACKAGES))
    host = fleet["web1"]
    before = versions(host)
    async with daemon(tmp_path / "state", key=fleet.private_key) as server:
        await registered(server, fleet)
        tried = await server.update("web1", dry_run=True, scope=scope)
        assert tried.status == SUCCEEDED, tried
        done = await server.update("web1", plan_operation_id=tried.id, exact=True)
        assert done.status == SUCCEEDED, done
        status = (await server.host("web1")).status
    after = versions(host)
    assert {name for name in after if after[name] != before.get(name)} == expected
    assert set(changed(tried)) == set(changed(done)) == expected
    assert list(done.update.plan_differences) == []
    why = {p.name: p.withheld for p in done.update.withheld}
    assert why["tb-held"] == host_pb2.WITHHELD_HELD
    if "tb-conf" not in expected:
        assert why["tb-conf"] == host_pb2.WITHHELD_EXCLUDED
    # The rest still waits.
    assert status.state == host_pb2.HOST_STATE_PENDING_UPDATES


async def test_policy_says_what_is_updated_and_what_counts_as_pending(make_fleet, tmp_path):
    fleet = make_fleet(HostSpec(name="web1", packages=("tb-simple", "tb-secure")))
    policy = host_pb2.Policy(scope=host_pb2.UpdateScope(security_only=True))
    async with daemon(tmp_path / "state", key=fleet.private_key) as server:
        await registered(server, fleet, policy=policy)
        done = await server.update("web1")
        assert done.status == SUCCEEDED, done
        status = (await server.host("web1")).status
    assert set(changed(done)) == {"tb-secure"}
    assert (status.state, status.pending_updates) == (host_pb2.HOST_STATE_IDLE, 0)


async def test_removals_and_unneeded_packages_go_only_where_that_is_asked_for(make_fleet, tmp_path):
    fleet = make_fleet(HostSpec(name="web1", packages=("tb-conflict", "tb-newdep")))
    host = fleet["web1"]
    host.run("apt-mark auto tb-olddep tb-legacy", check=True)
    async with daemon(tmp_path / "state", key=fleet.private_key) as server:
        await registered(server, fleet)
        done = await server.update("web1", scope=Scope(allow_removals=True, autoremove=True))
        assert done.status == SUCCEEDED, done
    after = versions(host)
    assert after["tb-conflict"] == "2.0-1"
    assert "tb-legacy" not in after
    assert "tb-olddep" not in after
    assert changed(done)["tb-legacy"] == ""


async def test_what_is_excluded_is_not_changed_for_the_sake_of_others(make_fleet, tmp_path):
    fleet = make_fleet(HostSpec(name="web1", packages=("tb-newdep", "tb-simple")))
    host = fleet["web1"]
    before = versions(host)
    async with daemon(tmp_path / "state", key=fleet.private_key) as server:
        await registered(server, fleet)
        done = await server.update("web1", scope=Scope(exclude=["tb-extra"]))
        state = (await server.host("web1")).status.state
    assert done.status == FAILED
    assert done.problem.reason == "PLAN_CONFLICT"
    assert "tb-extra" in done.problem.message
    assert versions(host) == before
    assert state == host_pb2.HOST_STATE_PENDING_UPDATES


async def test_a_plan_that_does_not_hold_any_more_is_told_of_and_refused_where_exact(
    make_fleet, tmp_path
):
    fleet = make_fleet(HostSpec(name="web1", packages=("tb-simple", "tb-slow")))
    host = fleet["web1"]
    async with daemon(tmp_path / "state", key=fleet.private_key) as server:
        await registered(server, fleet)
        tried = await server.update("web1", dry_run=True)
        fleet.publish("v3")
        refused = await server.update("web1", plan_operation_id=tried.id, exact=True)
        assert refused.problem.reason == "PLAN_CHANGED"
        assert "tb-simple 3.0-1 instead of 2.0-1" in refused.problem.message
        assert versions(host)["tb-simple"] == "1.0-1"
        done = await server.update("web1", plan_operation_id=tried.id)
        assert done.status == SUCCEEDED, done
    assert "tb-simple 3.0-1 instead of 2.0-1" in list(done.update.plan_differences)
    assert versions(host)["tb-simple"] == "3.0-1"


async def test_exact_without_a_plan_is_what_was_pending_when_it_was_last_asked(
    make_fleet, tmp_path
):
    fleet = make_fleet(HostSpec(name="web1", packages=("tb-simple",)))
    async with daemon(tmp_path / "state", key=fleet.private_key) as server:
        await registered(server, fleet)
        await server.query("web1")
        fleet.publish("v3")
        refused = await server.update("web1", exact=True)
        assert refused.problem.reason == "PLAN_CHANGED"
        # By now it was asked again.
        done = await server.update("web1", exact=True)
        assert done.status == SUCCEEDED, done
    assert versions(fleet["web1"])["tb-simple"] == "3.0-1"


async def test_what_was_fetched_is_applied_later_without_the_archive(make_fleet, tmp_path):
    fleet = make_fleet(HostSpec(name="web1", packages=("tb-simple", "tb-conf")))
    host = fleet["web1"]
    async with daemon(tmp_path / "state", key=fleet.private_key) as server:
        await registered(server, fleet)
        fetched = await server.update("web1", download_only=True)
        assert fetched.status == SUCCEEDED, fetched
        assert [operation_pb2.StepName.Name(s.name) for s in fetched.steps][-1].endswith("DOWNLOAD")
        status = (await server.host("web1")).status
        assert versions(host)["tb-simple"] == "1.0-1"
        assert status.state == host_pb2.HOST_STATE_PENDING_UPDATES
        assert not status.HasField("last_updated")
        debs = host.output("ls /var/cache/apt/archives").split()
        assert "tb-simple_2.0-1_all.deb" in debs


async def test_an_update_that_leaves_the_host_unhealthy_is_taken_back(make_fleet, tmp_path):
    fleet = make_fleet(HostSpec(name="web1", packages=("tb-simple", "tb-newdep")))
    host = fleet["web1"]
    before = versions(host)
    # A service that does not live with the new version: what a bad update looks like.
    unit = "[Service]\\nType=oneshot\\nExecStart=/bin/grep -q 1.0-1 /usr/share/tb-simple/version\\n"
    hook = 'DPkg::Post-Invoke { "systemctl restart app.service || true"; };'
    host.run(
        f"printf '{unit}' >/etc/systemd/system/app.service; systemctl daemon-reload;"
        f" echo '{hook}' >/etc/apt/apt.conf.d/99app",
        check=True,
    )
    policy = host_pb2.Policy(rollback=host_pb2.ROLLBACK_UNHEALTHY)
    config = tmp_path / "tendhostd.toml"
    config.write_text("verify_timeout = 2\n")
    async with daemon(
        tmp_path / "state", key=fleet.private_key, options=("--config", str(config))
    ) as server:
        await registered(server, fleet, policy=policy)
        done = await server.update("web1")
        log = await server.log_of(done.id)
        state = (await server.host("web1")).status.state
        await until_jobs_are_removed(host)
    assert done.status == FAILED
    assert done.problem.reason == "UNHEALTHY"
    steps = [operation_pb2.StepName.Name(step.name) for step in done.steps]
    assert steps[-2:] == ["STEP_NAME_VERIFY", "STEP_NAME_ROLLBACK"]
    assert done.steps[-1].status == operation_pb2.STEP_STATUS_SUCCEEDED, done.steps[-1]
    assert done.update.rolled_back
    assert versions(host) == before, log
    assert state == host_pb2.HOST_STATE_FAILED


async def test_a_snapshot_that_is_required_and_cannot_be_made_stops_the_update(
    make_fleet, tmp_path
):
    fleet = make_fleet(HostSpec(name="web1", packages=("tb-simple",)))
    host = fleet["web1"]
    async with daemon(tmp_path / "state", key=fleet.private_key) as server:
        await registered(
            server, fleet, policy=host_pb2.Policy(snapshots=host_pb2.SNAPSHOTS_REQUIRED)
        )
        refused = await server.update("web1")
        state = (await server.host("web1")).status.state
        assert refused.problem.reason == "SNAPSHOT_FAILED"
        assert versions(host)["tb-simple"] == "1.0-1"
        assert state == host_pb2.HOST_STATE_PENDING_UPDATES
        await server.reconfigure(
            "web1", policy=host_pb2.Policy(snapshots=host_pb2.SNAPSHOTS_IF_POSSIBLE)
        )
        done = await server.update("web1")
        assert done.status == SUCCEEDED, done


LIBRARY = "/usr/lib/x86_64-linux-gnu/libcrypto.so.3"
REPLACED = f"cp {LIBRARY} /tmp/new && mv /tmp/new $(readlink -f {LIBRARY})"
"""What an upgrade of a library does: sshd runs the old one on."""


@pytest.mark.parametrize("wish", ["never", "restart", "reboot"])
async def test_services_that_run_what_was_replaced_are_treated_as_the_policy_says(
    make_fleet, tmp_path, wish
):
    fleet = make_fleet(HostSpec(name="web1", packages=("tb-simple",)))
    host = fleet["web1"]
    number = host_pb2.RestartServices.Value(f"RESTART_SERVICES_{wish.upper()}")
    async with daemon(tmp_path / "state", key=fleet.private_key) as server:
        await registered(server, fleet, policy=host_pb2.Policy(restart_services=number))
        host.run(REPLACED, check=True)
        started = host.output("systemctl show -P ActiveEnterTimestampMonotonic ssh")
        await server.query("web1")
        assert "ssh.service" in (await server.inventory("web1")).outdated_services
        status = (await server.host("web1")).status
        needed = (
            host_pb2.REBOOT_NEED_NEEDED if wish == "reboot" else host_pb2.REBOOT_NEED_NOT_NEEDED
        )
        assert status.reboot.need == needed
        done = await server.update("web1")
        assert done.status == SUCCEEDED, done
    restarted = host.output("systemctl show -P ActiveEnterTimestampMonotonic ssh") != started
    assert restarted == (wish != "never")
    assert ("ssh.service" in done.update.restarted_services) == (wish == "restart")
    assert done.update.rebooted == (wish == "reboot")
    assert host.boot_count == (2 if wish == "reboot" else 1)
