"""The README's grpcurl commands, word for word, against a server with TLS and its socket."""

import asyncio
import os
import re
import shlex
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^grpcurl .*$", README, flags=re.MULTILINE)
STREAMS = ("WatchEvents",)


async def run(words: str, folder: Path, **environment: str) -> str:
    """What a command of a user in `folder` prints; one that follows a stream is ended after its first lines."""
    home = {"HOME": str(folder), "PATH": os.environ["PATH"], "XDG_RUNTIME_DIR": str(folder)}
    process = await asyncio.create_subprocess_shell(
        f"exec {words}",
        cwd=folder,
        env=home | environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    async with asyncio.timeout(60):
        if words.rpartition("/")[2] in STREAMS:
            lines = (await process.stdout.readline()).decode()
            process.terminate()
            await process.communicate()
            return lines
        stdout, stderr = await process.communicate()
    assert process.returncode == 0, (words, stderr.decode())
    return stdout.decode()


def test_commands__are_there():
    assert len(COMMANDS) >= 7
    assert any("-cacert" in command for command in COMMANDS)
    assert any("-unix" in command for command in COMMANDS)


@pytest.mark.grpcurl
async def test_commands__work_as_they_are_written(tmp_path: Path):
    python = shlex.quote(sys.executable)
    tendhostd = f"{python} -m tendhost.server.main --state-dir state"
    await run(f"{tendhostd} tls init localhost", tmp_path)
    (tmp_path / "ca.pem").write_bytes((tmp_path / "state/tls/ca.pem").read_bytes())
    listen = f"unix:{tmp_path}/tendhost/tendhostd.sock,tls://localhost:0"
    server = await asyncio.create_subprocess_shell(
        f"exec {tendhostd} --listen {listen}",
        cwd=tmp_path,
        env={"HOME": str(tmp_path), "PATH": os.environ["PATH"]},
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert server.stdout is not None
        async with asyncio.timeout(60):
            port = (await server.stdout.readline()).decode().strip().rpartition(":")[2]
        tendhost = f"{python} -m tendhost.client.cli"
        token = (await run(f"{tendhost} token create readme --role admin", tmp_path)).strip()
        for command in COMMANDS:
            here = command.replace("localhost:50052", f"localhost:{port}")
            if "StartUpdate" in here:  # the README's host is not there
                with pytest.raises(AssertionError, match=r"NOT_FOUND|NotFound|web1"):
                    await run(here, tmp_path, TENDHOST_TOKEN=token)
            else:
                assert await run(here, tmp_path, TENDHOST_TOKEN=token), here
    finally:
        server.terminate()
        await server.wait()
