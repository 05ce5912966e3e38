"""The server on one machine and the command on another: TLS, a token, a new certificate, and a server that restarts."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.daemon import encoded
from tests.fleet import Fleet, Host, HostSpec

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(300)]

HOSTS = ("web1", "web2")
TOWER = "tower.example.org"
WAITS = "touch /root/waits; until [ -e /root/goes-on ]; do sleep 0.1; done\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A network of its own, where tendhost runs with a home of its own."""

    host: Host
    home: Path
    key: str

    def environment(self, **further: str) -> dict[str, str]:
        own = {"HOME": str(self.home), "TENDHOST_SSH_KEY": self.key}
        inherited = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        return inherited | own | further

    async def started(self, module: str, *arguments: str, **environment: str) -> Process:
        return await asyncio.create_subprocess_exec(
            *self.host.in_network(sys.executable, "-m", module, *arguments),
            env=self.environment(**environment),
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
        )

    async def tendhost(self, *arguments: str, status: int = 0, input: str = "") -> str:
        """What the command prints, on both streams, when it ends with this status."""
        process = await self.started("tendhost.client.cli", *arguments)
        return await ended(process, status, input=input)


async def ended(process: Process, status: int = 0, *, input: str = "") -> str:
    async with asyncio.timeout(120):
        printed, errors = await process.communicate(input.encode())
    text = f"{printed.decode()}{errors.decode()}"
    assert process.returncode == status, text
    return text


@asynccontextmanager
async def serving(machine: Machine, state: Path, address: str) -> AsyncIterator[Process]:
    """`tendhostd` with TLS at this address, and with a socket for its own machine."""
    listen = f"unix:{machine.home}/tendhostd.sock,tls://{address}"
    process = await machine.started(
        "tendhost.server.main", "--state-dir", str(state), "--listen", listen
    )
    try:
        assert process.stdout is not None
        if not await process.stdout.readline():
            pytest.fail(await ended(process))
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await ended(process)


async def certificate_at(machine: Machine, address: str, ca: Path) -> str:
    """The certificate that a new connection from this machine is shown, once it is verified."""
    script = (
        "import socket, ssl, sys\n"
        "host, _, port = sys.argv[1].rpartition(':')\n"
        "context = ssl.create_default_context(cafile=sys.argv[2])\n"
        "with socket.create_connection((host, int(port)), 10) as plain:\n"
        "    with context.wrap_socket(plain, server_hostname=host) as link:\n"
        "        print(ssl.DER_cert_to_PEM_cert(link.getpeercert(binary_form=True)))\n"
    )
    words = machine.host.in_network(sys.executable, "-c", script, address, str(ca))
    process = await asyncio.create_subprocess_exec(*words, stdin=PIPE, stdout=PIPE, stderr=PIPE)
    return await ended(process)


async def renewed(machine: Machine, state: Path, address: str, client: Machine, ca: Path) -> None:
    """Renew the certificate of the server that runs, until new connections are shown the new one."""
    before = await certificate_at(client, address, ca)
    names = (address.partition(":")[0], TOWER)
    process = await machine.started(
        "tendhost.server.main", "tls", "init", *names, "--state-dir", str(state)
    )
    await ended(process)
    async with asyncio.timeout(60):
        while await certificate_at(client, address, ca) == before:  # noqa: ASYNC110
            await asyncio.sleep(0.2)


async def waiting(host: Host) -> None:
    """Once the pre-hook of the host waits."""
    await asyncio.to_thread(host.output, "until [ -e /root/waits ]; do sleep 0.1; done")


def machines(fleet: Fleet, folder: Path) -> tuple[Machine, Machine]:
    made = []
    for name in ("tower", "laptop"):
        (folder / name).mkdir()
        key = encoded(fleet.private_key) if name == "tower" else ""
        made.append(Machine(host=fleet[name], home=folder / name, key=key))
    tower, laptop = made
    return tower, laptop


async def test_rollout__is_followed_from_another_machine_across_a_new_certificate_and_a_restart(
    make_fleet, tmp_path: Path
):
    fleet = make_fleet(
        *(HostSpec(name=name, packages=("tb-simple",)) for name in HOSTS),
        *(HostSpec(name=name, init="tiny", packages=()) for name in ("tower", "laptop")),
    )
    tower, laptop = machines(fleet, tmp_path)
    state, hook = tmp_path / "state", tmp_path / "hook"
    hook.write_text(WAITS)
    address = f"{tower.host.address}:50051"
    init = ("tls", "init", tower.host.address, TOWER, "--state-dir", str(state))
    await ended(await tower.started("tendhost.server.main", *init))
    ca = laptop.home / "ca.pem"
    ca.write_bytes((state / "tls" / "ca.pem").read_bytes())
    async with serving(tower, state, address):
        local = ("--server", f"unix:{tower.home}/tendhostd.sock")
        token = await tower.tendhost(*local, "token", "create", "kim", "--role", "admin")
        login = ("--server", address, "login", "--ca", str(ca))
        refused = await laptop.tendhost(*login, status=2, input="tend_none\n")
        assert "token" in refused
        await laptop.tendhost(*login, input=token.splitlines()[0])
        for name in HOSTS:
            add = ("host", "add", name, "--address", fleet[name].address)
            await laptop.tendhost(*add, "--pre-hook", str(hook))
        start = ("rollout", "start", "--waves", "1", "--delay", "0", "--follow")
        following = await laptop.started("tendhost.client.cli", *start)
        await waiting(fleet["web1"])
        await renewed(tower, state, address, laptop, ca)
        fleet["web1"].run("touch /root/goes-on", check=True)
        await waiting(fleet["web2"])
    async with serving(tower, state, address):
        fleet["web2"].run("touch /root/goes-on", check=True)
        told = await ended(following)
    for name in HOSTS:
        assert name in told
        assert fleet[name].transactions() == ["tb-simple 2.0-1"], told
