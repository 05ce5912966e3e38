"""Hosts behind a jump: updated and rebooted through it, also while it reboots itself, and never through a stranger."""

import asyncio

import pytest

from tendhost.v1 import host_service_pb2 as pb
from tendhost.v1 import operation_pb2
from tests.e2e.daemon import daemon
from tests.fleet import Host, HostSpec

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(300)]

SUCCEEDED = operation_pb2.OPERATION_STATUS_SUCCEEDED
IN_THE_MIDDLE = "until [ -e /run/tb-slow-running ]; do sleep 0.05; done"


def clients_of(host: Host) -> set[str]:
    """The addresses that logged in to the host's sshd."""
    said = host.output("journalctl --no-pager -o cat -t sshd | grep '^Accepted publickey' || true")
    return {line.split(" from ")[1].split()[0] for line in said.splitlines()}


async def test_host_behind_a_jump__is_updated_and_rebooted_while_the_jump_reboots(
    make_fleet, tmp_path
):
    fleet = make_fleet(
        HostSpec(name="bastion", packages=("tb-simple",)),
        HostSpec(name="web1", packages=("tb-slow", "tb-kernel")),
    )
    bastion, web1 = fleet["bastion"], fleet["web1"]
    await asyncio.to_thread(web1.run, "echo 600 >/etc/tb-slow-seconds", check=True)
    before = clients_of(web1)
    async with daemon(tmp_path / "state", key=fleet.private_key) as server:
        await server.register("bastion", bastion.address, user="ops")
        await server.register("web1", web1.address, jump="bastion")
        update = await server.start_update("web1")
        await asyncio.to_thread(web1.run, IN_THE_MIDDLE, check=True, timeout=120)
        rebooted = await server.reboot("bastion")
        assert (rebooted.status, bastion.boot_count) == (SUCCEEDED, 2), rebooted
        # The end of tb-slow's script: the upgrade has run on without anybody.
        await asyncio.to_thread(web1.run, "pkill -x sleep", check=True)
        ended = await server.ended(update.id)
        assert ended.status == SUCCEEDED, ended
        assert ended.update.rebooted
        assert web1.boot_count == 2
        assert web1.transactions().count("tb-slow 2.0-1") == 1
        assert clients_of(web1) - before == {bastion.address}

        # A bastion that nobody patches: a user without a shell, whose key forwards to web1 and runs nothing.
        await server.reconfigure("bastion", user="hop", jump_only=True)
        files = await server.hosts.GetLoginFiles(pb.GetLoginFilesRequest(name="bastion"))
        await asyncio.to_thread(
            bastion.run,
            "useradd -m -s /usr/sbin/nologin hop && install -d -o hop -m 700 ~hop/.ssh &&"
            " cat >~hop/.ssh/authorized_keys && chown hop ~hop/.ssh/authorized_keys",
            input=files.authorized_keys,
            check=True,
        )
        for name in ("bastion", "web1"):
            found = await server.hosts.TestHost(pb.TestHostRequest(name=name))
            assert found.logged_in, found
            assert not found.HasField("problem"), found
        queried = await server.query("web1")
        assert queried.status == SUCCEEDED, queried

        # Somebody else answers at its address, behind the jump; then in place of the jump itself.
        own = web1.host_key
        await asyncio.to_thread(web1.change_host_key)
        refused = (await server.query("web1")).problem
        assert refused.reason == "HOST_KEY_CHANGED"
        assert web1.host_key != own
        await asyncio.to_thread(bastion.change_host_key)
        found = await server.hosts.TestHost(pb.TestHostRequest(name="web1"))
        assert (found.problem.reason, found.problem.facts["jump"]) == ("JUMP_FAILED", "bastion")
        assert "tendhost host set bastion --accept-new-host-key" in found.problem.message
        assert not found.reachable
