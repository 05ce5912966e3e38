"""An SSH server on a loopback port, and connectors that are patient for no more than a moment."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import asyncssh
import pytest

from tendhost.server.remote.protocol import Target
from tendhost.server.remote.ssh import SshConnector, SshSettings
from tests.unit.remote.ssh.servers import QUICK, Connectors, Server, listening, public


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Neither the agent nor the keys of whoever runs the tests."""
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return home


@pytest.fixture(scope="session")
def login_key() -> asyncssh.SSHKey:
    return asyncssh.generate_private_key("ssh-ed25519")


@pytest.fixture
def key_file(tmp_path: Path, login_key: asyncssh.SSHKey) -> Path:
    path = tmp_path / "login_key"
    path.touch(mode=0o600)
    path.write_bytes(login_key.export_private_key())
    return path


@pytest.fixture
async def server(login_key: asyncssh.SSHKey) -> AsyncIterator[Server]:
    async with listening(accepts=login_key) as server:
        yield server


@pytest.fixture
def target(server: Server, key_file: Path) -> Target:
    return Target(
        host="web1",
        address="127.0.0.1",
        port=server.port,
        user="root",
        ssh_key=str(key_file),
        host_key=public(server.key),
    )


@pytest.fixture
async def connectors() -> AsyncIterator[Connectors]:
    """Makes connectors, which end with the test."""
    async with AsyncExitStack() as stack:

        def make(settings: SshSettings) -> SshConnector:
            connector = SshConnector(settings)
            stack.push_async_callback(connector.aclose)
            return connector

        yield make


@pytest.fixture
def connector(connectors: Connectors) -> SshConnector:
    return connectors(QUICK)
