"""Secrets of a server, each with a canary in it, and what came out of the server."""

import asyncio
import base64
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncssh
from google.protobuf.message import Message


def canary(place: str) -> str:
    """A text that stands nowhere else; safe in a URL, in TOML and in a script."""
    return f"canary-{place}-{os.urandom(9).hex()}"


def key_with(passphrase: str | None = None) -> tuple[bytes, str]:
    """A private key, and a part of it that only it has."""
    key = asyncssh.generate_private_key("ecdsa-sha2-nistp256", comment="none")
    return key.export_private_key("pkcs8-pem", passphrase), secret_part(key)


def secret_part(key: asyncssh.SSHKey) -> str:
    """The last whole line of a private key."""
    return key.export_private_key().decode().splitlines()[-3]


@dataclass
class Echo:
    """Answers every request with 500, with a header that is none, and with what it was asked."""

    port: int = 0
    heads: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        lines = head.lower().splitlines()
        length = sum(int(line[15:]) for line in lines if line.startswith("content-length:"))
        self.bodies.append(await reader.readexactly(length))
        self.heads.append(head)
        self.news.set()
        answer = f"Cannot {head}".encode()
        writer.write(
            b"HTTP/1.1 500 Word\r\nConnection: close\r\nno header\r\n"
            + f"Content-Length: {len(answer)}\r\n\r\n".encode()
            + answer
        )
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def asked(self, *texts: str) -> None:
        """Return once each text was in the head of a request."""
        async with asyncio.timeout(20):
            while not all(any(text in head for head in self.heads) for text in texts):
                self.news.clear()
                await self.news.wait()


@asynccontextmanager
async def echoing() -> AsyncIterator[Echo]:
    echo = Echo()
    server = await asyncio.start_server(echo.serve, "127.0.0.1", 0)
    echo.port = server.sockets[0].getsockname()[1]
    async with server:
        yield echo


@dataclass(kw_only=True)
class Planted:
    """The server's secrets, and what came out of it."""

    folder: Path
    login_key: bytes
    echo: Echo = field(default_factory=Echo)
    canaries: dict[str, str] = field(default_factory=dict)
    told: dict[str, bytes] = field(default_factory=dict)
    environment: Mapping[str, str] = field(init=False)
    """Of the server."""

    def __post_init__(self) -> None:
        (self.folder / "credentials").mkdir()
        self.environment = self._environment()

    def plant(self, place: str) -> str:
        """A new canary for this place."""
        return self.canaries.setdefault(place, canary(place.replace(".", "-").replace("_", "-")))

    def tell(self, output: str, *parts: bytes | str | Message) -> None:
        """Keep what an output said."""
        for part in parts:
            if isinstance(part, Message):
                data = part.SerializeToString()
            else:
                data = part.encode() if isinstance(part, str) else part
            self.told[output] = self.told.get(output, b"") + data + b"\n"

    def secret_file(self, path: str, content: bytes | str) -> Path:
        file = self.folder / path
        file.touch(mode=0o600)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        return file

    def leaks(self, *, spared: Mapping[str, frozenset[str]]) -> Iterator[str]:
        """Every place whose canary an output holds, unless it is spared there."""
        for place, text in self.canaries.items():
            forms = (text.encode(), base64.b64encode(text.encode())[:-4])
            for output in self.told.keys() - spared.get(place, frozenset()):
                if any(form in self.told[output] for form in forms):
                    yield f"{place} in {output}"

    def settings(self) -> Path:
        """The configuration file with all that can hold a secret."""
        at = f"127.0.0.1:{self.echo.port}"
        key = self.secret_file("sink.key", self.plant("audit_sink.secret_file"))
        self.secret_file("credentials/siem", self.plant("audit_sink.secret_credential"))
        commands = f"cat /proc/self/environ /proc/[0-9]*/cmdline >{self.folder}/wave_hook 2>/dev/null; true"
        return self.secret_file(
            "tendhostd.toml",
            f"""
            [[notify]]
            name = "ops"
            urls = [
                "json://{self.plant("notify.user")}:{self.plant("notify.password")}@{at}/{self.plant("notify.path")}?+X-Key={self.plant("notify.header")}",
                "json://127.0.0.1:1/{self.plant("notify.down")}",
            ]

            [[audit_sink]]
            name = "siem"
            kind = "webhook"
            url = "http://{self.plant("sink.user")}:{self.plant("sink.password")}@{at}/{self.plant("sink.path")}"
            secret_file = "{key}"

            [[audit_sink]]
            name = "siem2"
            kind = "webhook"
            url = "http://{at}/siem2?token={self.plant("sink.query")}"
            secret_credential = "siem"

            [[wave_hook]]
            name = "look"
            when = "before_wave"
            command = ["sh", "-c", "{commands}"]

            [[wave_hook]]
            name = "board"
            when = "before_wave"
            url = "http://{self.plant("hook.user")}:{self.plant("hook.password")}@{at}/{self.plant("hook.path")}?token={self.plant("hook.query")}"
            """,
        )

    def _environment(self) -> dict[str, str]:
        """The environment of the server with all that can hold a secret."""
        default, self.canaries["ssh_key"] = key_with(self.plant("ssh_key.passphrase"))
        own, self.canaries["credential"] = key_with()
        named = asyncssh.import_private_key(self.login_key)
        self.canaries["HostConfig.ssh_key"] = secret_part(named)
        phrase = self.plant("key_file.passphrase")
        self.secret_file("web.key", named.export_private_key("pkcs8-pem", phrase))
        self.secret_file("credentials/web.key.passphrase", phrase)
        self.secret_file("credentials/ssh_key", own)
        self.secret_file("credentials/ssh_key.passphrase", self.canaries["ssh_key.passphrase"])
        encoded = base64.b64encode(default).decode()
        self.canaries["TENDHOST_SSH_KEY"] = encoded[100:160]
        return {
            "TENDHOST_SSH_KEY": encoded,
            "TENDHOST_TOKEN": self.plant("TENDHOST_TOKEN"),
            "CREDENTIALS_DIRECTORY": str(self.folder / "credentials"),
            "https_proxy": f"http://{self.plant('proxy.user')}:{self.plant('proxy.password')}@127.0.0.1:1",
            "no_proxy": "127.0.0.1",
        }
