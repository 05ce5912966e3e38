"""Reboots of real hosts that somebody delays, that show another key first, and of users who may not see process 1."""

import asyncio

import pytest

from tendhost.v1 import host_service_pb2, operation_pb2, operation_service_pb2
from tests.e2e.daemon import Daemon, daemon
from tests.fleet import Host, HostSpec

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(300)]

SUCCEEDED = operation_pb2.OPERATION_STATUS_SUCCEEDED
FAILED = operation_pb2.OPERATION_STATUS_FAILED
DELAYED = (
    "mkdir -p /etc/systemd/logind.conf.d;"
    " printf '[Login]\\nInhibitDelayMaxSec=4\\n' >/etc/systemd/logind.conf.d/delay.conf;"
    " systemctl restart systemd-logind;"
    " systemd-run --quiet --unit=delay systemd-inhibit --what=shutdown --mode=delay"
    " --who='Unattended Upgrades Shutdown' --why='Stop ongoing upgrades' sleep 60;"
    " until systemd-inhibit --list | grep -q Unattended; do sleep 0.05; done"
)


async def started(server: Daemon, host: Host) -> str:
    request = host_service_pb2.StartRebootRequest(name=host.name)
    return (await server.hosts.StartReboot(request)).operation.id


async def test_reboots__of_others_delays_keys_and_hidden_processes(make_fleet, tmp_path):
    names = ("delayed", "blocked", "locked", "hidden")
    fleet = make_fleet(*(HostSpec(name=name) for name in names))
    delayed, blocked, locked, hidden = (fleet[name] for name in names)
    async with daemon(tmp_path / "state", key=fleet.private_key) as server:
        for host in fleet.hosts:
            user = "ops" if host is hidden else "root"
            await server.register(host.name, host.address, user=user)
        # Somebody's reboot waits for an upgrade; another one is refused with "already in progress".
        delayed.run(f"{DELAYED}; systemctl reboot", check=True)
        # A backup blocks shutdowns, which root could go around.
        blocked.run(
            "systemd-run --quiet --unit=backup systemd-inhibit --what=shutdown --mode=block --who=backup"
            " --why='a backup runs' sleep 60; until systemd-inhibit --list | grep -q backup; do sleep 0.05; done",
            check=True,
        )
        # proc(5): for anybody but root there is no process 1.
        hidden.run("mount -o remount,hidepid=2 /proc", check=True)
        assert "No such file" in fleet.ssh(hidden, "cat /proc/1/stat 2>&1 || :", user="ops").stdout
        # A disk that is unlocked in the initramfs: another host key until then.
        locked.run("cp -a /etc/ssh /root/own-keys", check=True)
        locked.knobs.down_for = 2
        ids = {host.name: await started(server, host) for host in fleet.hosts}
        await asyncio.to_thread(_show_another_key, locked)
        ended = {name: await server.ended(id) for name, id in ids.items() if name != "locked"}
        request = operation_service_pb2.GetOperationRequest(id=ids["locked"])
        waiting = (await server.operations.GetOperation(request)).operation
        assert waiting.status == operation_pb2.OPERATION_STATUS_RUNNING
        locked.run("cp -a /root/own-keys/. /etc/ssh/", check=True)
        locked.reload_sshd()
        ended["locked"] = await server.ended(ids["locked"])
        # Root under another name, without sudo: what changes the host runs as root all the same.
        blocked.run("useradd -o -u 0 -g 0 -d /root -M toor; chmod a-x /usr/bin/sudo", check=True)
        blocked.run("systemctl stop backup", check=True)
        await server.register("toor", blocked.address, user="toor", allow_duplicate=True)
        toor = await server.reboot("toor")
        assert (toor.status, blocked.boot_count) == (SUCCEEDED, 2), toor
    problem = ended["blocked"].problem
    assert problem.reason == "REBOOT_REFUSED"
    assert "a shutdown is blocked by backup (a backup runs)" in problem.message
    for host in (delayed, locked, hidden):
        assert ended[host.name].status == SUCCEEDED, ended[host.name]
        assert host.boot_count == 2
    detail = next(s.detail for s in ended["delayed"].steps if "under way" in s.detail)
    assert "Unattended Upgrades Shutdown (Stop ongoing upgrades)" in detail


def _show_another_key(host: Host) -> None:
    while host.is_on:
        pass
    host.change_host_key()
    host.wait_up(boots=2)
