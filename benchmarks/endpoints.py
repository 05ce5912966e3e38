"""SSH endpoints on loopback addresses, one real sshd each, that answer every command with a recorded answer."""

import asyncio
import getpass
import json
import os
import shutil
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import asyncssh

from benchmarks.figures import Unmeasured
from benchmarks.programs import bound_to_this_process, program, python
from tests.command_lines import printed
from tests.skipped_parts import with_skips

_ANSWER = Path(__file__).parent / "answers" / "debian-12.txt"
DESCRIPTION = "endpoints.json"
PRINTED = "printed"
"""The file of what a host prints: the answer, between the marks of a script."""
READY_SECONDS = 30.0

# HOME is set because bash, started by sshd, reads the user's .bashrc, which may take any time.
_CONFIGURATION = """\
ListenAddress {address}:{port}
HostKey {folder}/{key}
AuthorizedKeysFile {folder}/authorized_keys
ForceCommand exec cat {answer}
SetEnv HOME={folder}
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PidFile none
PrintMotd no
PrintLastLog no
LogLevel ERROR
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A host to work on."""

    name: str
    address: str
    port: int
    user: str
    key: str
    """The file of its private key."""
    host_key: str
    """The public key that it shows, as type and base64."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """Hosts that one key opens."""

    hosts: Sequence[Endpoint]
    private_key: Path
    kind: str
    """What they are, for people."""


def recorded_answer() -> bytes:
    """What the query script printed on a Debian 12 host: 300 packages, 24 of them with an update.

    A part that the script has asked only since then counts as one that the host has skipped.
    """
    return with_skips(_ANSWER.read_bytes())


@asynccontextmanager
async def endpoints(count: int, folder: Path) -> AsyncIterator[Endpoints]:
    """`count` hosts, at most 250, each with an address and a host key of its own."""
    key = _written_key(folder / "user")
    (folder / "authorized_keys").write_text(_public(key))
    hosts = [_prepared(number, folder) for number in range(1, count + 1)]
    (folder / PRINTED).write_bytes(printed(recorded_answer()))
    (folder / DESCRIPTION).write_text(json.dumps([asdict(host) for host in hosts]))
    sshd = _sshd()
    async with _daemons(sshd, hosts, folder) if sshd else _stand_ins(folder):
        kind = "a real sshd each" if sshd else "asyncssh servers, for no sshd is installed"
        yield Endpoints(hosts=hosts, private_key=folder / "user", kind=kind)


@asynccontextmanager
async def _daemons(sshd: str, hosts: Sequence[Endpoint], folder: Path) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        log = stack.enter_context((folder / "sshd.log").open("ab"))
        for host in hosts:
            command = (sshd, "-D", "-e", "-f", str(_configured(host, folder)))
            process = await asyncio.create_subprocess_exec(
                *bound_to_this_process(), *command, stderr=log
            )
            stack.push_async_callback(_ended, process)
        try:
            async with asyncio.timeout(READY_SECONDS):
                await asyncio.gather(*(_answering(host) for host in hosts))
        except TimeoutError:
            said = (folder / "sshd.log").read_text()[-500:]
            raise Unmeasured(f"the SSH endpoints did not start: {said}") from None
        yield


@asynccontextmanager
async def _stand_ins(folder: Path) -> AsyncIterator[None]:
    async with program("the hosts", *python("benchmarks.stand_in", str(folder))) as servers:
        await servers.line()
        yield


def _sshd() -> str | None:
    # It insists on its absolute path, and lies where the PATH of a plain user does not look.
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"])
    found = shutil.which("sshd", path=path)
    if found and os.geteuid() == 0:
        # As root it separates its privileges, and wants an empty folder for the lesser half.
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    return found


def _prepared(number: int, folder: Path) -> Endpoint:
    name = f"host-{number:03}"
    key = _written_key(folder / name)
    address = f"127.77.0.{number}"
    return Endpoint(
        name=name,
        address=address,
        port=_free_port(address),
        user=getpass.getuser(),
        key=name,
        host_key=" ".join(_public(key).split()[:2]),
    )


def _configured(host: Endpoint, folder: Path) -> Path:
    path = folder / f"{host.name}.conf"
    path.write_text(
        _CONFIGURATION.format(
            address=host.address,
            port=host.port,
            key=host.key,
            folder=folder,
            answer=folder / PRINTED,
        )
    )
    return path


def _written_key(path: Path) -> asyncssh.SSHKey:
    key = asyncssh.generate_private_key("ssh-ed25519")
    path.touch(mode=0o600)
    key.write_private_key(path)
    return key


def _public(key: asyncssh.SSHKey) -> str:
    return key.export_public_key().decode()


def _free_port(address: str) -> int:
    with socket.create_server((address, 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


async def _answering(host: Endpoint) -> None:
    while True:
        try:
            _, writer = await asyncio.open_connection(host.address, host.port)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return


async def _ended(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
    await process.wait()
