"""What `tendhost host sudoers` prints is enough for all work on a real host, and what it leaves out is not there."""

import asyncio
from shlex import quote

import pytest

from tendhost.server.domain.hosts.host import HostConfig
from tendhost.server.domain.hosts.login_files import login_files
from tendhost.v1 import host_pb2, operation_pb2
from tendhost.v1 import host_service_pb2 as pb
from tests.e2e.daemon import Daemon, daemon, until_jobs_are_removed
from tests.fleet import Fleet, Host, HostSpec

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(300)]

SUCCEEDED = operation_pb2.OPERATION_STATUS_SUCCEEDED
UPDATED = operation_pb2.PROJECT_OUTCOME_UPDATED
STACK = "/opt/stacks/app"
NAMES = ("ALL", "ADMINS", "CORP\\first.last", "first.last@corp.example", "svc$", "müller")
BREAKS_WITH_THE_NEXT_VERSION = (
    "printf '[Service]\\nType=oneshot\\nExecStart=/bin/grep -q 1.0-1 /usr/share/tb-simple/version\\n'"
    " >/etc/systemd/system/app.service; systemctl daemon-reload;"
    " echo 'DPkg::Post-Invoke { \"systemctl restart app.service || true\"; };' >/etc/apt/apt.conf.d/99app"
)


async def files_of(server: Daemon, name: str) -> pb.GetLoginFilesResponse:
    return await server.hosts.GetLoginFiles(pb.GetLoginFilesRequest(name=name))


def install(host: Host, files: pb.GetLoginFilesResponse) -> None:
    """The user and the two files, and no other rule or key."""
    user = files.user
    host.run(
        f"rm -f /etc/sudoers.d/* && useradd -m -s /bin/sh {user} && install -d -m 700 -o {user} ~{user}/.ssh",
        check=True,
    )
    keys = f"~{user}/.ssh/authorized_keys"
    host.run(
        f"cat >{keys} && chown {user} {keys} && chmod 600 {keys}",
        input=files.authorized_keys,
        check=True,
    )
    host.run(
        "umask 337 && cat >/etc/sudoers.d/tendhost && visudo -cf /etc/sudoers.d/tendhost",
        input=files.sudoers,
        check=True,
    )
    host.run("rm /root/.ssh/authorized_keys /home/ops/.ssh/authorized_keys", check=True)


async def only_what_is_needed(fleet: Fleet, host: Host) -> None:
    """Nothing that the files do not name: no terminal, no forwarding, no other command and no other user."""
    for command, refused in (
        ("sudo -n /usr/bin/id", "a password is required"),
        ("sudo -n -u ops sh -c id", "a password is required"),
        ("sudo -n -E sh -c id; sudo -n FOO=1 sh -c id", "not allowed to set"),
    ):
        done = await asyncio.to_thread(fleet.ssh, host, command, user="tend")
        assert refused in done.stderr, (command, done)
    done = await asyncio.to_thread(fleet.ssh, host, "tty", user="tend")
    assert "not a tty" in done.stdout


async def test_host__is_wholly_operated_with_the_files_that_are_printed(make_fleet, tmp_path):
    fleet = make_fleet(
        HostSpec(name="k1", compose="v2", packages=("tb-simple", "tb-kernel", "tb-secure"))
    )
    host = fleet["k1"]
    config = tmp_path / "tendhostd.toml"
    config.write_text("verify_timeout = 30\n")  # a host that was rebooted takes seconds to start
    fleet.registry.push("app0", text="one")
    image = f"{fleet.registry.address}/app0:1"
    host.write_stack(STACK, f"services:\n  web:\n    image: {image}\n    init: true\n")
    await asyncio.to_thread(host.compose_up, STACK)
    options = ("--config", str(config))
    async with daemon(tmp_path / "state", key=fleet.private_key, options=options) as server:
        await server.register(
            host.name, host.address, user="tend", compose_paths=[STACK], policy=host_pb2.Policy()
        )
        await asyncio.to_thread(install, host, await files_of(server, "k1"))
        await only_what_is_needed(fleet, host)
        queried = await server.query("k1")
        assert queried.status == SUCCEEDED, queried
        inventory = await server.inventory("k1")
        assert not inventory.missing
        fleet.registry.push("app0", text="two")
        updated = await server.update("k1", scope=host_pb2.ScopeOverride(exclude=["tb-simple"]))
        assert updated.status == SUCCEEDED, updated
        assert {change.name for change in updated.update.packages} == {"tb-secure", "tb-kernel"}
        assert [project.outcome for project in updated.update.projects] == [UPDATED]
        assert (updated.update.rebooted, host.boot_count) == (True, 2)
        rebooted = await server.reboot("k1")
        assert (rebooted.status, host.boot_count) == (SUCCEEDED, 3), rebooted
        await asyncio.to_thread(host.run, BREAKS_WITH_THE_NEXT_VERSION, check=True)
        await server.reconfigure("k1", policy=host_pb2.Policy(rollback=host_pb2.ROLLBACK_UNHEALTHY))
        rolled_back = await server.update("k1")
        assert rolled_back.problem.reason == "UNHEALTHY", rolled_back
        assert rolled_back.update.rolled_back
        assert host.output("dpkg-query -W -f '${Version}' tb-simple") == "1.0-1"
        await until_jobs_are_removed(host)
        by_root = host.output("journalctl --no-pager -o cat -t sshd | grep 'Accepted publickey'")
        assert {line.split(" for ")[1].split()[0] for line in by_root.splitlines()} == {"tend"}
    await asyncio.to_thread(names_of_directories_are_understood, host)


def names_of_directories_are_understood(host: Host) -> None:
    """The name of each user in a rule is that of this user for sudo, and of nobody else."""
    lines = "".join(f"{name}:x:{3000 + n}:100::/:/bin/sh\n" for n, name in enumerate(NAMES))
    host.run("cat >>/etc/passwd", input=lines, check=True)
    for name in NAMES:
        files = login_files(HostConfig(name="k1", address="192.0.2.1", user=name), (), ())
        host.run("cat >/etc/sudoers.d/tendhost", input=files.sudoers, check=True)
        host.run("visudo -cf /etc/sudoers.d/tendhost", check=True)
        allowed = [
            other
            for other in (*NAMES, "ops")
            if host.run(f"sudo -n -l -U {quote(other)} /bin/sh").returncode == 0
        ]
        assert allowed == [name]
