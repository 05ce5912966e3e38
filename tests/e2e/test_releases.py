"""The main paths on hosts of each release of Debian."""

import pytest

from tendhost.v1 import host_pb2, operation_pb2
from tests.e2e.daemon import daemon
from tests.e2e.test_interruptions import version
from tests.fleet import Host, HostSpec
from tests.fleet.families import Release

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(300)]

SUCCEEDED = operation_pb2.OPERATION_STATUS_SUCCEEDED
FAILED = operation_pb2.OPERATION_STATUS_FAILED
SYSTEMS = {"bookworm": "Debian GNU/Linux 12", "trixie": "Debian GNU/Linux 13"}


def run_by_post_install(host: Host, *lines: str) -> None:
    """Have the post-install script of tb-failing run these lines before it fails."""
    text = "\n".join(("#!/bin/sh", *lines, ""))
    host.run("cat >/etc/tb-failing-runs; chmod +x /etc/tb-failing-runs", input=text, check=True)


@pytest.mark.parametrize("release", ["bookworm", "trixie"])
async def test_failing_post_install__is_told_once_and_a_retry_repairs_and_reboots(
    make_fleet, tmp_path, release: Release
):
    packages = ("tb-simple", "tb-secure", "tb-failing", "tb-kernel")
    fleet = make_fleet(HostSpec(name="r1", release=release, packages=packages, failing_ok=False))
    host = fleet["r1"]
    run_by_post_install(
        host,
        "apt-get install -y tb-simple",
        "dpkg --configure tb-simple",
        "echo 'nginx: open() failed (13: Permission denied)'",
        "echo 'E: Failed to fetch http://deb.example.org/x.deb  Hash Sum mismatch'",
    )
    async with daemon(tmp_path / "state", key=fleet.private_key) as server:
        await server.register("r1", host.address)
        assert (await server.query("r1")).status == SUCCEEDED
        inventory = await server.inventory("r1")
        failed = await server.update("r1")
        log = (await server.log_of(failed.id)).decode()
        host.run("touch /etc/tb-failing-ok", check=True)
        mended = await server.retry("r1")
        status = (await server.host("r1")).status
    assert inventory.system.os_name.startswith(SYSTEMS[release])
    assert [p.name for p in inventory.pending_updates if p.security] == ["tb-secure"]
    assert failed.status == FAILED
    assert failed.problem.reason == "PACKAGE_FAILED"
    assert "Could not get lock" in log
    assert "lock was locked by" in log
    assert failed.problem.message == (
        "tb-failing: post-install script failed (exit 1): tb-failing: cannot migrate database"
    )
    assert [
        step.attempts for step in failed.steps if step.name == operation_pb2.STEP_NAME_APPLY
    ] == [1]
    assert mended.status == SUCCEEDED, mended
    assert mended.update.rebooted
    assert (status.state, host.boot_count) == (host_pb2.HOST_STATE_IDLE, 2)
    assert host.transactions().count("tb-failing 2.0-1") == 2
    assert {version(host, name)[:3] for name in ("tb-simple", "tb-failing", "tb-kernel")} == {"2.0"}
    assert host.output("dpkg --audit") == ""
