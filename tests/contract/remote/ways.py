"""The ways to a host that the suite is run over, each behind the same few words."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from tendhost.server.remote.commands import CommandRemote
from tendhost.server.remote.connector import RoutingConnector
from tendhost.server.remote.local import ADDRESS
from tendhost.server.remote.protocol import Connector, Target
from tendhost.server.remote.ssh import SshSettings
from tests.contract.remote.loopback import LoopbackServer
from tests.fleet import Fleet, Host

QUICK = SshSettings(keepalive_interval=timedelta(seconds=0.3), keepalive_count=2)
"""A link that is cut without a word is noticed within a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How to reach a host, and how to break it."""

    connector: Connector
    target: Target
    become: Callable[[str], Target]
    """The same host, as another user: root; ops, who may use sudo; nosudo, who may not."""
    cut: Callable[[], Awaitable[object]] | None
    """Break every open connection; None where there is none to break."""

    async def connect(self, user: str = "root") -> CommandRemote:
        remote = await self.connector.connect(self.become(user))
        assert isinstance(remote, CommandRemote)
        return remote


def over_loopback(server: LoopbackServer, folder: Path) -> Way:
    """SSH to a server of this process."""
    key = folder / "login_key"
    key.touch(mode=0o600)
    key.write_bytes(server.login_key.export_private_key())

    def become(user: str) -> Target:
        return Target(
            host="web1",
            address="127.0.0.1",
            port=server.port,
            user=user,
            ssh_key=str(key),
            host_key=server.host_key,
        )

    return Way(
        connector=RoutingConnector(ssh=QUICK),
        target=become("root"),
        become=become,
        cut=server.cut,
    )


def over_sshd(fleet: Fleet, host: Host, settings: SshSettings = QUICK) -> Way:
    """SSH to a real sshd."""

    def become(user: str) -> Target:
        return Target(
            host=host.name,
            address=host.address,
            port=host.port,
            user=user,
            ssh_key=str(fleet.private_key),
            host_key=host.host_key,
        )

    def end_sessions() -> None:
        host.run("pkill -KILL -f '^sshd: (root|ops|nosudo)'")

    return Way(
        connector=RoutingConnector(ssh=settings),
        target=become("root"),
        become=become,
        cut=lambda: asyncio.to_thread(end_sessions),
    )


def over_nothing(become_user: Callable[[str], None]) -> Way:
    """This machine itself; `become_user` arranges for what it takes itself for."""

    def become(user: str) -> Target:
        become_user(user)
        return Target(host="here", address=ADDRESS, port=0, user=user, ssh_key="", host_key=ADDRESS)

    return Way(
        connector=RoutingConnector(ssh=QUICK),
        target=become("root"),
        become=become,
        cut=None,
    )
