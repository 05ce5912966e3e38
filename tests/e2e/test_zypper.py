"""The whole way on real hosts with zypper: real rpm databases, repositories, patches, reboots and interruptions."""

import asyncio

import pytest

from tendhost.v1 import host_pb2, operation_pb2
from tests.e2e.daemon import daemon
from tests.fleet import Host, HostSpec

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(300)]

SUCCEEDED = operation_pb2.OPERATION_STATUS_SUCCEEDED
FAILED = operation_pb2.OPERATION_STATUS_FAILED


def versions(host: Host) -> dict[str, str]:
    rows = host.output("rpm -qa --qf '%{NAME} %{VERSION}-%{RELEASE}\n' | sort").splitlines()
    return dict(row.split(" ") for row in rows if row.startswith("tb-"))


async def test_query_and_update_with_patches_locks_and_a_reboot(make_fleet, tmp_path):
    fleet = make_fleet(HostSpec(name="z1", family="zypper"))
    host = fleet["z1"]
    async with daemon(tmp_path / "state", key=fleet.private_key) as server:
        await server.register(host.name, host.address)
        looked = await server.query("z1")
        assert looked.status == SUCCEEDED, looked
        inventory = await server.inventory("z1")
        tried = await server.update("z1", dry_run=True)
        done = await server.update("z1")
        assert done.status == SUCCEEDED, done
        status = (await server.host("z1")).status
    pending = {package.name: package for package in inventory.pending_updates}
    assert inventory.system.package_manager == "zypper"
    assert pending["tb-secure"].security
    assert list(pending["tb-secure"].advisories[0].cves) == ["CVE-2024-20001", "CVE-2024-20002"]
    assert pending["tb-held"].withheld == host_pb2.WITHHELD_HELD
    changed = {change.name for change in done.update.packages}
    assert {"tb-simple", "tb-secure", "tb-extra", "kernel-core"} <= changed
    assert {c.name for c in tried.update.packages} == changed
    assert versions(host)["tb-held"] == "1.0-1"
    assert versions(host)["tb-simple"] == "2.0-1"
    assert done.update.rebooted
    assert host.boot_count == 2
    assert status.state == host_pb2.HOST_STATE_IDLE


async def test_only_security_updates_are_taken_where_only_those_are_wanted(make_fleet, tmp_path):
    fleet = make_fleet(HostSpec(name="z1", family="zypper", packages=("tb-simple", "tb-secure")))
    host = fleet["z1"]
    async with daemon(tmp_path / "state", key=fleet.private_key) as server:
        await server.register(host.name, host.address)
        done = await server.update("z1", scope=host_pb2.ScopeOverride(security_only=True))
        assert done.status == SUCCEEDED, done
    assert versions(host) == {"tb-secure": "1.0-2", "tb-simple": "1.0-1"}


async def test_a_script_that_fails_is_a_failure(make_fleet, tmp_path):
    fleet = make_fleet(HostSpec(name="z1", family="zypper", packages=("tb-badpost",)))
    host = fleet["z1"]
    async with daemon(tmp_path / "state", key=fleet.private_key) as server:
        await server.register(host.name, host.address)
        done = await server.update("z1")
    assert done.status == FAILED
    assert "tb-badpost" in done.problem.message


async def test_a_killed_zypper_is_repaired_and_the_update_goes_on(make_fleet, tmp_path):
    fleet = make_fleet(HostSpec(name="z1", family="zypper", packages=("tb-simple", "tb-slow")))
    host = fleet["z1"]
    host.run("echo 60 >/etc/tb-slow-seconds", check=True)
    async with daemon(tmp_path / "state", key=fleet.private_key) as server:
        await server.register(host.name, host.address)
        begun = await server.start_update("z1")
        async with asyncio.timeout(60):
            while host.run("test -e /run/tb-slow-running").returncode:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        host.run(
            "echo 0 >/etc/tb-slow-seconds; pkill -9 -x zypper; pkill -9 -x rpm; pkill -x sleep"
        )
        done = await server.ended(begun.id)
        assert done.status == SUCCEEDED, done
    assert operation_pb2.STEP_STATUS_INTERRUPTED in [step.status for step in done.steps]
    assert versions(host) == {"tb-simple": "2.0-1", "tb-slow": "2.0-1"}
