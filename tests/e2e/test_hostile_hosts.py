"""Hosts that mean harm hurt nobody but themselves, and no secret of the server leaves it.

The hosts are simulated: SSH servers on loopback that let the server in and say what no host should.
"""

import asyncio
import base64
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import asyncssh
import grpc
import pytest

from tendhost.server.remote.shell import BEGIN
from tendhost.v1 import host_pb2, host_service_pb2, operation_pb2, rollout_service_pb2
from tests.e2e.daemon import Daemon, daemon
from tests.simulated import SimulatedFleet
from tests.unit.packages.recordings import recorded
from tests.unit.remote.ssh.servers import answering

pytestmark = pytest.mark.simulated

QUERY = recorded("debian12/query")
"""A query that a real host answered."""
END = b"\x1etendhost-sh end 0\n"
ENDLESS = b"x" * 65_536


def _query(old: bytes, new: bytes) -> Iterator[bytes]:
    assert old in QUERY
    yield BEGIN + QUERY.replace(old, new) + END


def _forever(begin: bytes, piece: bytes) -> Iterator[bytes]:
    yield begin
    while True:
        yield piece


SAYS: dict[str, Callable[[], Iterator[bytes]]] = {
    "endless": lambda: _forever(BEGIN, b"line\n" * 10_000),
    "endless-line": lambda: _forever(BEGIN, ENDLESS),
    "endless-login": lambda: _forever(b"", b"Welcome!\n" * 10_000),
    "escapes": lambda: iter([b"\x1b]0;owned\x07\x1b[2J\x9b5A\r" * 100]),
    "no-utf8": lambda: iter([BEGIN + bytes(range(128, 256)) * 100 + END]),
    "nothing": lambda: iter([BEGIN + END]),
    "numbers": lambda: _query(b" installed", b" installed" + b"9" * 5000),
    "option": lambda: _query(b"dpkg", b"--foo"),
    "newlines": lambda: _query(b"\t", b"\n"),
    "compressed": lambda: iter([BEGIN + b"\x1f\x8b\x08\0" + b"\0" * 100_000 + END]),
}


@asynccontextmanager
async def _hostile(key: asyncssh.SSHKey, say: Callable[[], Iterator[bytes]]) -> AsyncIterator[int]:
    """The port of a host that says the same to every command."""

    async def execute(process: "asyncssh.SSHServerProcess[bytes]") -> None:
        try:
            for piece in say():
                process.stdout.write(piece)
                await process.stdout.drain()
            process.exit(0)
        except (BrokenPipeError, ConnectionError):
            pass  # the server has had enough

    connections: set[asyncssh.SSHServerConnection] = set()
    listener = await asyncssh.listen(
        "127.0.0.1",
        0,
        server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")],
        authorized_client_keys=asyncssh.import_authorized_keys(key.export_public_key().decode()),
        process_factory=execute,
        encoding=None,
        acceptor=connections.add,
    )
    try:
        yield listener.get_port()
    finally:
        listener.close()
        for connection in connections:
            connection.abort()
        await listener.wait_closed()


async def _never_ending_banner(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"no SSH yet\r\n" * 1000)
        await writer.drain()


async def _operation(server: Daemon, name: str) -> operation_pb2.Operation:
    return await server.query(name)


async def test_hostile_hosts__end_their_own_operations_and_nothing_else(tmp_path: Path) -> None:
    config = tmp_path / "tendhostd.toml"
    config.write_text("attempts = 1\n")
    with SimulatedFleet({"good": ("tb-simple",)}) as fleet:
        key = tmp_path / "key"
        key.touch(mode=0o600)
        key.write_bytes(fleet.private_key)
        async with AsyncExitStack() as stack:
            login = asyncssh.import_private_key(fleet.private_key)
            ports = {
                name: await stack.enter_async_context(_hostile(login, say))
                for name, say in SAYS.items()
            }
            banner = await stack.enter_async_context(answering(_never_ending_banner))
            options = ("--config", str(config))
            server = await stack.enter_async_context(
                daemon(tmp_path / "state", key=key, options=options)
            )
            await server.register("good", "127.0.0.1", port=fleet["good"].port)
            for name, port in ports.items():
                await server.register(name, "127.0.0.1", port=port)
            with pytest.raises(grpc.aio.AioRpcError, match="it does not speak SSH"):
                await server.register("banner", "127.0.0.1", port=banner)
            operations = await asyncio.gather(*(_operation(server, name) for name in ports))
            good = await _operation(server, "good")
            updated = await server.update("good")
            listed = await server.hosts.ListHosts(host_service_pb2.ListHostsRequest())
            pending = await server.hosts.ListPendingUpdates(
                host_service_pb2.ListPendingUpdatesRequest()
            )
            events = await server.all_events()
        log = server.log.read_text()
    assert good.status == updated.status == operation_pb2.OPERATION_STATUS_SUCCEEDED
    for operation in operations:
        assert "unexpected" not in operation.problem.message, operation
        if operation.host not in ("numbers", "option", "newlines"):
            assert operation.status == operation_pb2.OPERATION_STATUS_FAILED, operation
            assert operation.problem.message
    assert len(listed.hosts) == len(ports) + 1
    assert pending.entries is not None
    assert {event.host for event in events} >= ports.keys()
    assert "Traceback" not in log
    said = f"{operations}{listed}{events}"
    assert not re.search(r"\\033|\\233|\\302\\233", said)
    assert host_pb2.HOST_STATE_UNSPECIFIED not in {host.status.state for host in listed.hosts}


CANARY = "cAnArY7f3"


async def test_secrets__are_told_to_nobody(tmp_path: Path) -> None:
    """Secrets in each place for one, where each is used and fails: no output of the server holds any."""
    pem = asyncssh.generate_private_key("ssh-ed25519").export_private_key(
        "pkcs8-pem", f"{CANARY}-pass"
    )
    key, damaged = tmp_path / "key", tmp_path / "damaged"
    for file, text in ((key, pem), (damaged, f"-----BEGIN {CANARY}-----\n".encode())):
        file.touch(mode=0o600)
        file.write_bytes(text)
    config = tmp_path / "tendhostd.toml"
    config.write_text(
        f"""
        attempts = 1
        [[notify]]
        name = "ops"
        urls = ["json://user:{CANARY}-n1@127.0.0.1:1/{CANARY}-n2?{CANARY}=n3"]
        [[wave_hook]]
        name = "board"
        when = "before_wave"
        url = "http://user:{CANARY}-w1@127.0.0.1:1/{CANARY}-w2"
        """
    )
    config.chmod(0o600)
    with SimulatedFleet({"good": ("tb-simple",)}) as fleet:
        env = tmp_path / "env-key"
        env.touch(mode=0o600)
        env.write_bytes(fleet.private_key)
        state = tmp_path / "state"
        async with daemon(state, key=env, options=("--config", str(config))) as server:
            await server.register("good", "127.0.0.1", port=fleet["good"].port)
            said = [str(await server.query("good"))]
            for file in (key, damaged):
                await _refused(said, server.reconfigure("good", ssh_key=str(file)))
                await _refused(said, server.query("good"))
            await _refused(said, server.reconfigure("good", ssh_key=""))
            begun = await server.rollout(waves=("1",))
            watch = rollout_service_pb2.WatchRolloutRequest(id=begun.id)
            async for message in server.rollouts.WatchRollout(watch):
                said.append(str(message))
                if message.rollout.held_up or message.rollout.status not in (1, 0):
                    break
            said += [str(event) for event in await server.all_events()]
            said += [file.read_bytes().decode("utf-8", "replace") for file in _command_lines()]
        said.append(server.log.read_text())
    encoded = base64.b64encode(fleet.private_key).decode()
    stored = b"".join(file.read_bytes() for file in state.rglob("*") if file.is_file())
    backed_up = stored.decode("utf-8", "replace")
    for words in (*said, backed_up):
        assert CANARY not in words
        assert encoded not in words
        assert encoded[40:80] not in words


async def _refused(said: list[str], call) -> None:
    """What a call says, whether it is refused or not."""
    try:
        said.append(str(await call))
    except grpc.aio.AioRpcError as error:
        said.append(f"{error.details()}{error.trailing_metadata()}")


def _command_lines() -> Iterator[Path]:
    """The command lines of every process of this machine that is there."""
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            file.read_bytes()
        except OSError:
            continue  # it has ended
        yield file
