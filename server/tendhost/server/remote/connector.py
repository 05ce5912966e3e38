"""The connector for all targets: SSH, or this machine itself for the address "local"."""

import socket

from tendhost.server.remote.local import ADDRESS, LocalConnector
from tendhost.server.remote.protocol import Connector, Remote, Target
from tendhost.server.remote.ssh import SshConnector, SshSettings


class RoutingConnector:
    """Connects by SSH to every address but the one of this machine."""

    def __init__(self, *, ssh: SshSettings) -> None:
        self._ssh = SshConnector(ssh)
        self._local = LocalConnector()

    async def connect(self, target: Target) -> Remote:
        """See Connector."""
        return await self._connector_for(target.address).connect(target)

    async def key_problem(self, *, address: str, ssh_key: str) -> str:
        """See Connector."""
        return await self._connector_for(address).key_problem(address=address, ssh_key=ssh_key)

    async def get_certified_key(self, target: Target) -> str:
        """See Connector."""
        return await self._connector_for(target.address).get_certified_key(target)

    async def get_public_keys(self, target: Target) -> tuple[str, ...]:
        """See Connector."""
        return await self._connector_for(target.address).get_public_keys(target)

    async def get_host_key_kinds(
        self, *, host: str, address: str, port: int, jump: Target | None = None
    ) -> tuple[str, ...]:
        """See Connector."""
        return await self._connector_for(address).get_host_key_kinds(
            host=host, address=address, port=port, jump=jump
        )

    async def get_host_key(
        self, *, host: str, address: str, port: int, kind: str = "", jump: Target | None = None
    ) -> str:
        """See Connector."""
        return await self._connector_for(address).get_host_key(
            host=host, address=address, port=port, kind=kind, jump=jump
        )

    async def open_tunnel(
        self, *, host: str, address: str, port: int, jump: Target
    ) -> socket.socket:
        """See Connector."""
        return await self._ssh.open_tunnel(host=host, address=address, port=port, jump=jump)

    async def aclose(self) -> None:
        """See Connector."""
        await self._ssh.aclose()
        await self._local.aclose()

    def _connector_for(self, address: str) -> Connector:
        return self._local if address == ADDRESS else self._ssh
