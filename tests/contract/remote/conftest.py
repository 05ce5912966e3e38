"""A way to a host for each test, of each kind."""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tendhost.server.remote.commands import CommandRemote
from tests.conftest import why_no_fleet
from tests.contract.remote.loopback import LoopbackServer, lay_out_programs
from tests.contract.remote.ways import Way, over_loopback, over_nothing, over_sshd
from tests.fleet import Fleet, HostSpec

LINKS = ("loopback", pytest.param("sshd", marks=pytest.mark.fleet))
"""The ways that can break."""
WAYS = (*LINKS, "local")


@pytest.fixture(scope="session")
def fleet() -> Iterator[Fleet]:
    if reason := why_no_fleet():
        pytest.skip(reason)
    others = [HostSpec(name=name, init="tiny") for name in ("bastion", "db1")]
    with Fleet([HostSpec(name="web1", init="tiny", shells=True), *others]) as fleet:
        yield fleet


@pytest.fixture(params=WAYS)
async def way(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Way]:
    programs = lay_out_programs(tmp_path / "bin")

    def become(user: str) -> None:
        monkeypatch.setenv("USER", user)
        monkeypatch.setattr(os, "geteuid", lambda: 0 if user == "root" else 1000)

    async with AsyncExitStack() as stack:
        if request.param == "loopback":
            server = await stack.enter_async_context(LoopbackServer(programs).listening())
            way = over_loopback(server, tmp_path)
        elif request.param == "local":
            monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
            way = over_nothing(become)
        else:
            fleet = request.getfixturevalue("fleet")
            way = over_sshd(fleet, fleet["web1"])
        stack.push_async_callback(way.connector.aclose)
        yield way


@pytest.fixture
async def remote(way: Way) -> AsyncIterator[CommandRemote]:
    remote = await way.connect()
    yield remote
    await remote.close()
