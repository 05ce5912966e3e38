"""A mock server, and a client that talks to it and does not sleep between its tries."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tendhost.client import Client
from tests.contract.client.command import Command
from tests.contract.client.mock_server import MockServer


@pytest.fixture(autouse=True)
def no_contexts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither servers nor tokens of whoever runs the tests."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for name in ("TENDHOST_SERVER", "TENDHOST_TOKEN", "TENDHOST_CA"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server() -> Iterator[MockServer]:
    with MockServer() as server:
        yield server


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that the client makes, none of which lasts."""
    made: list[float] = []

    async def pause(seconds: float) -> None:
        made.append(seconds)
        await asyncio.sleep(0)

    monkeypatch.setattr("tendhost.client.transport.sleep", pause)
    return made


@pytest.fixture
async def client(server: MockServer, pauses: list[float]) -> AsyncIterator[Client]:
    async with Client(server.address) as client:
        yield client


@pytest.fixture
def tendhost(
    server: MockServer,
    pauses: list[float],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Command:
    from tendhost.client.cli.console import console

    # Whatever the tests themselves are run on.
    monkeypatch.setattr(console, "_force_terminal", False)
    monkeypatch.setattr(console, "width", 10_000)
    return Command(server, capsys)
