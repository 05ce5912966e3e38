"""A server that keeps its own machine, which here is a host of the fleet: `tendhostd` runs inside it."""

import asyncio
import os
import shlex
import sys
import sysconfig
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest

from tendhost.v1 import (
    event_service_pb2_grpc,
    host_pb2,
    host_service_pb2,
    host_service_pb2_grpc,
    operation_pb2,
    operation_service_pb2_grpc,
    rollout_pb2,
    rollout_service_pb2_grpc,
)
from tests.e2e.daemon import Daemon
from tests.fleet import Host, HostSpec

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(300)]

SUCCEEDED = operation_pb2.OPERATION_STATUS_SUCCEEDED
SOCKET = "/run/tendhost.sock"
LOCAL = "local"


# --- a server within a host -----------------------------------------------------------------------


def init_of(host: Host) -> int:
    """The process of the runner that is process 1 of the host."""
    namespace = host.output("readlink /proc/1/ns/pid")
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str((process / "ns/pid").readlink()) == namespace and _is_first(process):
                return int(process.name)
        except OSError:  # it has ended
            continue
    raise AssertionError(f"{host} has no process 1")


def _is_first(process: Path) -> bool:
    """Whether it is process 1 in its own namespace; see proc(5), /proc/pid/status, NSpid."""
    lines = (process / "status").read_text().splitlines()
    return next(line for line in lines if line.startswith("NSpid:")).split()[-1] == "1"


def server_through(root: int, user: str) -> list[str]:
    """The words that run the server, as this user, with this Python from the runner's disk.

    A host has no Python of the right kind. But a descriptor of the runner's root folder, which a
    process keeps when it goes into the host's namespaces, leads back to the runner's files; the
    loader is told where the libraries are, for the host's own may be of another age.
    """
    runner = f"/proc/self/fd/{root}"
    mapped = Path("/proc/self/maps").read_text().split()
    loader = next(word for word in mapped if "/ld-linux" in word or "/ld-musl" in word)
    multiarch = sysconfig.get_config_var("MULTIARCH") or ""
    folders = (sysconfig.get_config_var("LIBDIR"), Path(loader).parent, f"/usr/lib/{multiarch}")
    libraries = ":".join(f"{runner}{Path(folder).resolve()}" for folder in folders)
    paths = [f"{runner}{path}" for path in sys.path if Path(path).is_dir()]
    program = f"{runner}{Path(sys.executable).resolve()}"
    python = [runner + loader, "--library-path", libraries, program, "-I", "-B"]
    return [*python, "-c", SERVE.format(paths=paths, user=user)]


SERVE = """
import importlib, os, pkgutil, pwd, sys
sys.path[:0] = {paths!r}
import tendhost.server
for module in pkgutil.walk_packages(tendhost.server.__path__, "tendhost.server."):
    importlib.import_module(module.name)
# By now everything is loaded that only the runner's root may be able to read.
account = pwd.getpwnam({user!r})
os.initgroups(account.pw_name, account.pw_gid)
os.setgid(account.pw_gid)
os.setuid(account.pw_uid)
os.environ["HOME"] = account.pw_dir
sys.exit(tendhost.server.main.main())
"""


@asynccontextmanager
async def daemon_in(
    host: Host, state: str, log: Path, *, user: str = "root"
) -> AsyncIterator[Daemon]:
    """A server whose own machine is the host; it is gone where the host goes down."""
    root = os.open("/", os.O_PATH | os.O_DIRECTORY)
    words = [*server_through(root, user), "--listen", f"unix:{SOCKET}", "--state-dir", state]
    init = init_of(host)
    try:
        with log.open("ab") as stderr:
            process = await asyncio.create_subprocess_exec(
                *("nsenter", f"--target={init}", "--all", "--", "/bin/sh", "-c"),
                # A child of the host's own init: nsenter(1) would stop for good where its child is
                # stopped, as systemd does to all when it goes down, and never reap it.
                f"{shlex.join(words)} & echo $!",
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=stderr,
                pass_fds=[root],
            )
    finally:
        os.close(root)
    assert process.stdout is not None
    pid = int(await process.stdout.readline())
    ready = await process.stdout.readline()
    assert ready, f"tendhostd did not start; {log} says why"
    over = asyncio.ensure_future(process.stdout.read())
    try:
        address = f"unix:/proc/{init}/root{SOCKET}"
        async with grpc.aio.insecure_channel(address) as channel:
            yield Daemon(
                process=process,
                address=address,
                log=log,
                hosts=host_service_pb2_grpc.HostServiceStub(channel),
                operations=operation_service_pb2_grpc.OperationServiceStub(channel),
                rollouts=rollout_service_pb2_grpc.RolloutServiceStub(channel),
                events=event_service_pb2_grpc.EventServiceStub(channel),
            )
    finally:
        if not over.done():
            host.run(f"kill {pid}")
        async with asyncio.timeout(20):
            await over


# --- what it does to its own machine --------------------------------------------------------------


def version(host: Host, package: str) -> str:
    return host.output(f"dpkg-query -W -f '${{Version}}' {package}")


async def test_own_machine_is_updated_and_never_rebooted_unless_its_policy_names_it(
    make_fleet, tmp_path
):
    host = make_fleet(HostSpec(name="web1", packages=("tb-simple", "tb-kernel")))["web1"]
    async with daemon_in(host, "/root/state", tmp_path / "log") as server:
        registered = await server.register("here", LOCAL)
        assert not registered.config.policy.auto_reboot
        done = await server.update("here")
        status = (await server.host("here")).status
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await server.reboot("here")
    assert done.status == SUCCEEDED, done
    assert {change.name for change in done.update.packages} == {"tb-simple", "tb-kernel"}
    assert version(host, "tb-simple") == version(host, "tb-kernel") == "2.0-1"
    assert not done.update.rebooted
    assert status.state == host_pb2.HOST_STATE_WAITING_REBOOT
    assert status.reboot.need == host_pb2.REBOOT_NEED_NEEDED
    assert refused.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert "--auto-reboot" in (refused.value.details() or "")
    assert host.boot_count == 1


async def test_own_machine_in_a_rollout_is_not_rebooted_either(make_fleet, tmp_path):
    host = make_fleet(HostSpec(name="web1", packages=("tb-kernel",)))["web1"]
    async with daemon_in(host, "/root/state", tmp_path / "log") as server:
        await server.register("here", LOCAL)
        started = await server.rollout(waves=("1",))
        rollout, members = await server.rollout_ended(started.id)
        status = (await server.host("here")).status
    assert rollout.status == rollout_pb2.ROLLOUT_STATUS_COMPLETED
    assert members["here"].status == rollout_pb2.ROLLOUT_HOST_STATUS_COMPLETED
    assert status.reboot.need == host_pb2.REBOOT_NEED_NEEDED
    assert version(host, "tb-kernel") == "2.0-1"
    assert host.boot_count == 1


async def test_own_machine_that_its_policy_names_goes_down_under_the_server_and_is_verified_after(
    make_fleet, tmp_path
):
    host = make_fleet(HostSpec(name="web1", packages=("tb-kernel",)))["web1"]
    policy = host_pb2.Policy(auto_reboot=True)
    async with daemon_in(host, "/root/state", tmp_path / "log") as server:
        await server.register("here", LOCAL, policy=policy)
        begun = await server.start_update("here")
        await asyncio.to_thread(host.wait_up, timeout=60, boots=2)
    async with daemon_in(host, "/root/state", tmp_path / "log") as server:
        done = await server.ended(begun.id)
        status = (await server.host("here")).status
    assert done.status == SUCCEEDED, done
    assert done.update.rebooted
    assert status.state == host_pb2.HOST_STATE_IDLE
    assert status.reboot.need == host_pb2.REBOOT_NEED_NOT_NEEDED
    assert host.transactions().count("tb-kernel 2.0-1") == 1
    assert host.boot_count == 2


@pytest.mark.parametrize("user", ["root", "ops"])
async def test_own_machine_is_asked_the_way_that_every_host_is(make_fleet, tmp_path, user):
    host = make_fleet(HostSpec(name="web1", osquery=True, packages=("tb-simple",)))["web1"]
    host.run(f"install -d -o {user} /srv/state && chmod 1777 /run", check=True)
    async with daemon_in(host, "/srv/state/db", tmp_path / "log", user=user) as server:
        await server.register("here", LOCAL)
        asked = await server.query("here")
        assert asked.status == SUCCEEDED, asked
        inventory = await server.inventory("here")
        request = host_service_pb2.RunOsqueryRequest(
            name="here", sql="select version from deb_packages where name = 'tb-simple'"
        )
        rows = (await server.hosts.RunOsquery(request)).rows
        done = await server.update("here")
    assert inventory.hardware.hostname == "web1"
    assert inventory.system.boot_id == host.output("cat /proc/sys/kernel/random/boot_id")
    assert inventory.sources["packages"] == "osquery stand-in"
    assert [package.name for package in inventory.pending_updates] == ["tb-simple"]
    truth = host.output("dpkg-query -W -f '${Package}\n'").splitlines()
    assert [package.name for package in inventory.packages] == sorted(truth)
    assert [dict(row.values) for row in rows] == [{"version": "1.0-1"}]
    assert done.status == SUCCEEDED, done
    assert version(host, "tb-simple") == "2.0-1"


async def test_own_machine_is_not_changed_by_a_server_without_rights(make_fleet, tmp_path):
    host = make_fleet(HostSpec(name="web1", packages=("tb-simple",)))["web1"]
    host.run("install -d -o nosudo /srv/state && chmod 1777 /run", check=True)
    async with daemon_in(host, "/srv/state/db", tmp_path / "log", user="nosudo") as server:
        await server.register("here", LOCAL)
        refused = await server.update("here")
        checked = await server.check("here")
    assert refused.problem.reason == "PRIVILEGE_MISSING", refused
    assert "password" in refused.problem.message
    assert checked.status == SUCCEEDED
    assert version(host, "tb-simple") == "1.0-1"
