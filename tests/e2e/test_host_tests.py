"""Tests of the login on a real host: what sshd, sudo and the shell of a user make of it."""

import asyncio
import json
import sys
from pathlib import Path

import pytest

from tendhost.server.domain.hosts.host_keys import fingerprint
from tendhost.v1 import host_pb2
from tendhost.v1 import host_service_pb2 as pb
from tests.e2e.daemon import Daemon, daemon
from tests.fleet import Host, HostSpec

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(300)]


async def answer_of(server: Daemon, name: str) -> pb.TestHostResponse:
    """The answer, after a look at how much is stored before and after it."""
    before = await server.all_events()
    found = await server.hosts.TestHost(pb.TestHostRequest(name=name))
    assert await server.all_events() == before
    return found


async def command(server: Daemon, *arguments: str) -> tuple[int, str]:
    """Exit status and output of the `tendhost` command."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tendhost.client.cli", "--server", server.address, *arguments),
        stdout=asyncio.subprocess.PIPE,
    )
    printed, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, printed.decode()


def state_of(host: Host) -> str:
    """What a change of the host would leave its mark on."""
    return host.output("dpkg-query -W; ls -A /var/lib/tendhost /root /home/ops /tmp 2>&1 || true")


async def test_a_test__says_what_works_for_each_user_of_a_real_host(make_fleet, tmp_path):
    fleet = make_fleet(HostSpec(name="web1", packages=("tb-simple",)))
    host = fleet["web1"]
    host.run("useradd -m -s /usr/sbin/nologin mute", check=True)
    host.run("cp -r /home/ops/.ssh /home/mute/ && chown -R mute: /home/mute/.ssh", check=True)
    before = state_of(host)
    async with daemon(tmp_path / "state", key=fleet.private_key) as server:
        found = {}
        for user in ("root", "ops", "nosudo", "mute", "stranger"):
            await server.register(user, host.address, user=user, allow_duplicate=True)
            found[user] = await answer_of(server, user)
        for answer in found.values():
            assert answer.reachable
            assert answer.host_key_pinned
            assert answer.host_key_fingerprint == fingerprint(host.host_key)
        assert (found["root"].user, found["root"].root_access) == ("root", pb.ROOT_ACCESS_ROOT)
        assert (found["ops"].user, found["ops"].root_access) == ("ops", pb.ROOT_ACCESS_SUDO)
        for user in ("root", "ops"):
            assert not found[user].HasField("problem"), found[user]
            assert found[user].duration.ToTimedelta().total_seconds() > 0
        assert found["nosudo"].root_access == pb.ROOT_ACCESS_NONE
        assert "password" in found["nosudo"].problem.message
        assert found["mute"].logged_in
        assert "This account is currently not available" in found["mute"].problem.message
        assert not found["stranger"].logged_in
        reasons = {user: answer.problem.reason for user, answer in found.items()}
        assert reasons == {
            "root": "",
            "ops": "",
            "nosudo": "PRIVILEGE_MISSING",
            "mute": "SHELL_UNUSABLE",
            "stranger": "AUTHENTICATION_REFUSED",
        }
        status, printed = await command(server, "host", "test", "ops", "--output", "json")
        assert (status, json.loads(printed)["root_access"]) == (0, "sudo")
        status, printed = await command(server, "host", "test", "nosudo")
        assert status == 1
        assert "problem" in printed
    assert state_of(host) == before


async def test_a_test__works_on_a_failed_host_and_shows_its_new_key(make_fleet, tmp_path):
    fleet = make_fleet(HostSpec(name="web1", packages=("tb-simple",)))
    host = fleet["web1"]
    pinned = fingerprint(host.host_key)
    async with daemon(tmp_path / "state", key=fleet.private_key) as server:
        await server.register("web1", host.address)
        await asyncio.to_thread(host.change_host_key)
        await server.update("web1")
        assert (await server.host("web1")).status.state == host_pb2.HOST_STATE_FAILED
        found = await answer_of(server, "web1")
        stored = await server.host("web1")
    assert (found.reachable, found.host_key_pinned, found.logged_in) == (True, False, False)
    assert found.host_key_fingerprint == fingerprint(host.host_key) != pinned
    assert found.problem.reason == "HOST_KEY_CHANGED"
    assert stored.status.state == host_pb2.HOST_STATE_FAILED
    assert stored.host_key_fingerprint == pinned


async def test_first_hour__of_a_host_that_is_added_with_a_wrong_key_and_by_its_rsa_key(
    make_fleet, tmp_path
):
    fleet = make_fleet(HostSpec(name="web1", packages=("tb-simple",)))
    host = fleet["web1"]
    host.run("ssh-keygen -q -t rsa -N '' -f /etc/ssh/ssh_host_rsa_key", check=True)
    host.reload_sshd()
    known = host.output("ssh-keygen -lf /etc/ssh/ssh_host_rsa_key.pub")
    key = tmp_path / "key"
    key.touch(mode=0o600)
    key.write_bytes(fleet.private_key.read_bytes())
    add = ("host", "add", "web1", "--address", host.address, "--host-key", known)
    async with daemon(tmp_path / "state") as server:
        for unusable in (tmp_path / "nosuch", Path(f"{fleet.private_key}.pub")):
            assert await command(server, *add, "--ssh-key", str(unusable)) == (2, "")
        assert not (await server.hosts.ListHosts(pb.ListHostsRequest())).hosts
        doomed = tmp_path / "doomed"
        doomed.touch(mode=0o600)
        doomed.write_bytes(fleet.private_key.read_bytes())
        status, _ = await command(server, *add, "--ssh-key", str(doomed))
        assert status == 0
        doomed.unlink()
        for _ in range(2):
            query = await server.query("web1")
            assert query.problem.reason == "KEY_UNUSABLE"
            assert "tendhost host set web1 --ssh-key PATH" in query.problem.message
            stored = (await server.host("web1")).status
            assert (stored.state, stored.error) == (
                host_pb2.HOST_STATE_IDLE,
                query.problem.message,
            )
        await server.update("web1")
        assert (await server.host("web1")).status.state == host_pb2.HOST_STATE_FAILED
        status, _ = await command(server, "host", "set", "web1", "--ssh-key", str(key))
        assert status == 0
        status, printed = await command(server, "query", "web1")
        assert status == 0, printed
        stored = (await server.host("web1")).status
        assert (stored.state, stored.error) == (host_pb2.HOST_STATE_PENDING_UPDATES, "")
