"""The Go program of examples/go against a server with TLS."""

import asyncio
import os
import re
from pathlib import Path

from tendhost.client import Client, Connection
from tendhost.server.certificates import CA
from tests.conftest import ROOT
from tests.rpc.test_tls import made, served
from tests.tools import needs
from tests.unit.engine.fake_host import Pending
from tests.unit.engine.world import World

EXAMPLE = "tendhost-go-example"


async def example(*arguments: str, token: str = "") -> tuple[int | None, str, str]:
    """Exit status, output and errors of the program."""
    process = await asyncio.create_subprocess_exec(
        *(EXAMPLE, *arguments),
        env={"PATH": os.environ["PATH"], "TENDHOST_TOKEN": token},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        printed, errors = await process.communicate()
    return process.returncode, printed.decode(), errors.decode()


@needs(EXAMPLE)
async def test_go_example__queries_hosts_and_tells_errors_with_their_reasons(
    world: World, tmp_path: Path
):
    async with served(world, tmp_path, made(tmp_path)) as at:
        web1 = world.fleet.add("web1.example.org")
        web1.pending = {"web": Pending(security=True), "db": Pending()}
        async with Client(Connection(server=at["socket"])) as owner:
            await owner.add_host("web1", address=web1.address)
        server = ("-server", at["tls"].removeprefix("tls://"), "-ca", str(tmp_path / CA))
        token = at["token"]
        assert await example(*server, "web1", token=token) == (0, "web1: 2 pending updates\n", "")
        status, printed, errors = await example(*server, "web9", token=token)
        assert (status, printed) == (1, "")
        assert errors.startswith("error: HOST_NOT_FOUND: ")
        status, _, errors = await example(*server, "web1")
        assert (status, errors.startswith("error: CREDENTIAL_INVALID: ")) == (1, True), errors
        made(tmp_path / "other")
        stranger = (*server[:3], str(tmp_path / "other" / CA))
        status, _, errors = await example(*stranger, "web1", token=token)
        assert (status, "certificate" in errors) == (1, True), errors


def test_go_example__is_the_one_of_the_readme():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    main = (ROOT / "examples" / "go" / "main.go").read_text(encoding="utf-8")
    (command,) = re.findall(r"^//\t(.* go run .*)$", main, flags=re.MULTILINE)
    assert command in readme
