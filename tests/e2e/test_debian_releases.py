"""The main paths on hosts of each release of Debian: query, failure and repair, reboot, refresh, rollback."""

import asyncio

import pytest

from tendhost.v1 import host_pb2, operation_pb2
from tests.e2e.daemon import Daemon, daemon
from tests.e2e.test_interruptions import in_the_middle, statuses, version
from tests.fleet import Fleet, Host, HostSpec
from tests.fleet.families import Release

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(300)]

SUCCEEDED = operation_pb2.OPERATION_STATUS_SUCCEEDED
FAILED = operation_pb2.OPERATION_STATUS_FAILED
SYSTEMS = {"bookworm": "Debian GNU/Linux 12", "trixie": "Debian GNU/Linux 13"}
HOOK = "/etc/apt/apt.conf.d/90hook"
LIST = 1
"""The place of the step that refreshes, among those of a query."""


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


async def test_dpkg_that_dies_is_repaired__and_an_unhealthy_update_rolled_back(
    make_fleet, tmp_path
):
    """Of bookworm other files have the like."""
    release: Release = "trixie"
    fleet = make_fleet(
        HostSpec(name="r1", release=release, packages=("tb-slow", "tb-simple")),
        HostSpec(name="r2", release=release, packages=("tb-simple",)),
    )
    configuration = tmp_path / "tendhostd.toml"
    configuration.write_text("verify_timeout = 2\n")
    async with daemon(
        tmp_path / "state", key=fleet.private_key, options=("--config", str(configuration))
    ) as server:
        await asyncio.gather(_dies(server, fleet), _distrusts_and_rolls_back(server, fleet))


async def _dies(server: Daemon, fleet: Fleet) -> None:
    host = fleet["r1"]
    await server.register("r1", host.address)
    id = await in_the_middle(server, host, seconds=3)
    host.run("kill -SEGV $(pgrep -x dpkg); echo 0 >/etc/tb-slow-seconds", check=True)
    operation = await server.ended(id)
    assert operation.status == SUCCEEDED, operation
    assert statuses(operation)["apply"][0] == "interrupted"
    assert host.transactions().count("tb-slow 2.0-1") == 2
    assert version(host, "tb-slow") == version(host, "tb-simple") == "2.0-1"
    assert host.output("dpkg --audit") == ""


async def _distrusts_and_rolls_back(server: Daemon, fleet: Fleet) -> None:
    host = fleet["r2"]
    policy = host_pb2.Policy(rollback=host_pb2.ROLLBACK_UNHEALTHY)
    await server.register("r2", host.address, policy=policy)
    host.publish("untrusted")
    untrusted = await server.query("r2")
    host.publish("v2")
    host.run(f"echo 'APT::Update::Post-Invoke-Success {{ \"false\"; }};' >{HOOK}", check=True)
    hooked = await server.query("r2")
    host.run(f"rm {HOOK}", check=True)
    assert (untrusted.problem.reason, untrusted.steps[LIST].attempts) == ("ARCHIVE_UNTRUSTED", 1)
    assert (hooked.problem.reason, hooked.steps[LIST].attempts) == ("REFRESH_FAILED", 1)
    assert hooked.problem.message == (
        "the package lists were downloaded, but apt's hook APT::Update::Post-Invoke-Success failed: false"
    )
    pending = (await server.inventory("r2")).pending_updates
    assert [(update.name, update.to_version) for update in pending] == [("tb-simple", "2.0-1")]
    host.run(
        "printf '[Service]\\nExecStart=/bin/grep -q 1.0-1 /usr/share/tb-simple/version\\nType=oneshot\\n'"
        " >/etc/systemd/system/app.service;"
        " printf '[Path]\\nPathChanged=/usr/share/tb-simple\\nUnit=app.service\\n'"
        " >/etc/systemd/system/app.path; systemctl daemon-reload; systemctl start app.path",
        check=True,
    )
    done = await server.update("r2")
    assert done.problem.reason == "UNHEALTHY", done
    assert done.update.rolled_back, done.steps[-1]
    assert version(host, "tb-simple") == "1.0-1"
