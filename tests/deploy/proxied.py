"""Replicas of tendhostd with TLS, and a proxy of deploy/ before them: the real programs, on loopback."""

import asyncio
import contextlib
import os
import shutil
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tendhost.client import Client, Connection, Role
from tendhost.server.certificates import CA, SERVER, SERVER_KEY, issue_server, make_authority
from tests.cluster.programs import program
from tests.deploy.recipes import fitted, recipe
from tests.rpc.process import Process, serving_process

NAMES = tuple(f"{letter}.tendhost.example.org" for letter in "abc")
READY_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The folder of a test, its certificates and its ports."""

    folder: Path
    ports: tuple[int, ...]
    """Of the replicas; nobody need listen there."""
    port: int
    """Of the proxy."""

    @property
    def tls(self) -> Path:
        return self.folder / "tls"

    def changes(self) -> dict[str, str]:
        """What a recipe has to name instead."""
        replicas = {
            f"{name}:50051": f"127.0.0.1:{port}"
            for name, port in zip(NAMES, self.ports, strict=True)
        }
        return replicas | {"/etc/tendhost/proxy": str(self.folder / "proxy")}

    @asynccontextmanager
    async def replica(self, number: int) -> AsyncIterator[Process]:
        """A server at its port, and at a socket in its folder."""
        listen = f"{self.socket(number)},tls://127.0.0.1:{self.ports[number]}"
        environment = {
            "TENDHOST_TLS_CERTIFICATE": str(self.tls / SERVER),
            "TENDHOST_TLS_KEY": str(self.tls / SERVER_KEY),
        }
        async with serving_process(
            self.folder,
            listen=listen,
            state=self.state(number),
            auth="required",
            environment=environment,
        ) as process:
            yield process

    def state(self, number: int) -> Path:
        return self.folder / f"state{number}"

    def socket(self, number: int) -> str:
        return f"unix:{self.folder}/{number}.sock"

    async def alike(self) -> str:
        """Give all replicas the same database, with one token, which is returned."""
        async with self.replica(0), Client(Connection(server=self.socket(0))) as owner:
            token = (await owner.create_token("kim", [Role.ADMIN])).text
        for number in range(1, len(self.ports)):
            shutil.copytree(self.state(0), self.state(number))
        return token


def place(folder: Path) -> Place:
    """Make certificates for the names in the recipes, and find free ports."""
    made = Place(folder=folder, ports=tuple(_free_port() for _ in NAMES), port=_free_port())
    make_authority(made.tls, now=datetime.now(UTC))
    names = (*NAMES, "tendhost.example.org", "127.0.0.1")
    issue_server(made.tls, names, now=datetime.now(UTC))
    proxy = folder / "proxy"
    proxy.mkdir()
    pem = (made.tls / SERVER).read_text() + (made.tls / SERVER_KEY).read_text()
    (proxy / "server.pem").write_text(pem)
    shutil.copy(made.tls / CA, proxy / "ca.pem")
    return made


def haproxy(here: Place) -> tuple[list[str], list[str]]:
    """The commands that check its configuration, and run it."""
    bind = {"bind :50051": f"bind 127.0.0.1:{here.port}"}
    file = _written(
        here, "haproxy.cfg", fitted(recipe("haproxy/haproxy.cfg"), here.changes() | bind)
    )
    return [program("haproxy"), "-c", "-f", file], [program("haproxy"), "-db", "-f", file]


def nginx(here: Place) -> tuple[list[str], list[str]]:
    listen = {"listen 50051 ssl http2": f"listen 127.0.0.1:{here.port} ssl http2"}
    _written(here, "tendhost.conf", fitted(recipe("nginx/tendhost.conf"), here.changes() | listen))
    text = f"""daemon off; pid {here.folder}/nginx.pid; error_log stderr; {_user()}
events {{}}
http {{ access_log off; include {here.folder}/tendhost.conf; {_temporary(here.folder)} }}
"""
    command = [program("nginx"), "-e", "stderr", "-c", _written(here, "nginx.conf", text)]
    return [*command, "-t"], command


def envoy(here: Place) -> tuple[list[str], list[str]]:
    """Envoy itself, in a wheel of `dev`."""
    replicas = {
        f"address: {name}, port_value: 50051": f"address: 127.0.0.1, port_value: {port}"
        for name, port in zip(NAMES, here.ports, strict=True)
    }
    listen = {"address: 0.0.0.0, port_value: 50051": f"address: 127.0.0.1, port_value: {here.port}"}
    files = {"/etc/tendhost/proxy": str(here.folder / "proxy")}
    file = _written(
        here, "envoy.yaml", fitted(recipe("envoy/envoy.yaml"), replicas | listen | files)
    )
    if not (found := Path(sys.executable).with_name("envoy")).exists():
        pytest.skip("no envoy: `make dev` installs it on x86-64")
    command = [str(found), "-c", file]
    return [*command, "--mode", "validate"], [
        *command,
        "--use-dynamic-base-id",
        "--concurrency",
        "1",
    ]


@asynccontextmanager
async def running(argv: list[str], log: Path) -> AsyncIterator[None]:
    """A program, ended afterwards with all that it has started."""
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            "setpriv", "--pdeathsig", "KILL", *argv, stdout=output, stderr=output
        )
        try:
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await process.wait()


async def checked(argv: list[str]) -> tuple[int | None, str]:
    """The exit status and the output of a program that checks a configuration."""
    process = await asyncio.create_subprocess_exec(
        *argv, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    return process.returncode, output.decode()


def _written(here: Place, name: str, text: str) -> str:
    (here.folder / name).write_text(text, encoding="utf-8")
    return str(here.folder / name)


def _user() -> str:
    return "user root;" if os.geteuid() == 0 else ""


def _temporary(folder: Path) -> str:
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    return " ".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
