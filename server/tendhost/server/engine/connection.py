"""Connections to hosts through the jumps of their configuration, and the one connection of an operation."""

import socket
from typing import Protocol

from tendhost.server.domain.host_errors import JumpFailed
from tendhost.server.domain.hosts.host import Host, HostConfig
from tendhost.server.domain.hosts.jumps import Route, RouteBroken
from tendhost.server.domain.request_errors import FieldViolation, InvalidArgument
from tendhost.server.failpoints import reached
from tendhost.server.remote.protocol import Connector, Remote, Target, Tunnel


class HostFinder(Protocol):
    """What a route to a host needs of the store."""

    async def find_host(self, name: str) -> Host | None:
        """The registered host of that name; None: there is none."""
        ...


class HostConnector:
    """Connects to registered hosts, each jump of the route being looked up at that moment."""

    def __init__(self, *, store: HostFinder, connector: Connector) -> None:
        self._store = store
        self._connector = connector

    async def connect(self, host: Host) -> Remote:
        """A new connection. Raises what Connector.connect raises."""
        jump = await self._jump_of(host.config)
        return await self._connector.connect(_target(host, jump))

    async def key_problem(self, config: HostConfig) -> str:
        """Why nobody can log in with the private key of `config`; see Connector.key_problem."""
        return await self._connector.key_problem(address=config.address, ssh_key=config.ssh_key)

    async def get_certified_key(self, config: HostConfig) -> str:
        """The key in the certificate that the host shows. Raises what Connector.get_certified_key raises."""
        target = Target(
            host=config.name,
            address=config.network_address,
            port=config.port,
            user=config.user,
            ssh_key="",
            host_key="",
            groups=config.groups,
            jump=await self._jump_of(config),
        )
        return await self._connector.get_certified_key(target)

    async def get_public_keys(self, host: Host) -> tuple[str, ...]:
        """The public keys with which the server logs in on a host. Raises KeyUnusable."""
        return await self._connector.get_public_keys(_target(host, None))

    async def get_host_key_kinds(self, config: HostConfig) -> tuple[str, ...]:
        """The kinds of keys that the host has. Raises what Connector.get_host_key_kinds raises."""
        return await self._connector.get_host_key_kinds(
            host=config.name,
            address=config.network_address,
            port=config.port,
            jump=await self._jump_of(config),
        )

    async def get_host_key(self, config: HostConfig, kind: str) -> str:
        """The public key of this kind that the host shows. Raises what Connector.get_host_key raises."""
        return await self._connector.get_host_key(
            host=config.name,
            address=config.network_address,
            port=config.port,
            kind=kind,
            jump=await self._jump_of(config),
        )

    def tunnel_to(self, host: Host) -> Tunnel | None:
        """What connects to ports of a host; None: the server itself does, for the host has no jump."""
        config = host.config
        if not config.jump:
            return None

        async def tunnel(port: int) -> socket.socket:
            jump = await self._jump_of(config)
            assert jump is not None, "it is named"
            return await self._connector.open_tunnel(
                host=config.name, address=config.network_address, port=port, jump=jump
            )

        return tunnel

    async def require_route(self, config: HostConfig) -> None:
        """Raise InvalidArgument if there is no such way through the jump that `config` names."""
        try:
            await self._route(config)
        except RouteBroken as error:
            raise InvalidArgument(FieldViolation("config.jump", str(error))) from error

    async def _route(self, config: HostConfig) -> Route:
        route = Route(to=config)
        while route.wanted:
            route = route.through(await self._store.find_host(route.wanted))
        return route

    async def _jump_of(self, config: HostConfig) -> Target | None:
        """The jump through which a host is reached. Raises JumpFailed."""
        try:
            route = await self._route(config)
        except RouteBroken as error:
            raise JumpFailed(
                host=config.name, address=config.address, jump=error.jump, problem=str(error)
            ) from error
        jump: Target | None = None
        for host in reversed(route.jumps):
            jump = _target(host, jump)
        return jump


class Session:
    """Opens at most one connection at a time to one host."""

    def __init__(self, connector: HostConnector) -> None:
        self._connector = connector
        self._remote: Remote | None = None

    async def remote(self, host: Host) -> Remote:
        """The open connection, opened now if there is none. Raises what Connector.connect raises."""
        if self._remote is None:
            reached("connect.begun")
            self._remote = await self._connector.connect(host)
            reached("connect.made")
        return self._remote

    async def reconnected(self, host: Host) -> Remote:
        """A new connection. Raises what Connector.connect raises."""
        await self.close()
        return await self.remote(host)

    def tunnel_to(self, host: Host) -> Tunnel | None:
        """See HostConnector."""
        return self._connector.tunnel_to(host)

    async def close(self) -> None:
        """Close the connection, if there is one."""
        remote, self._remote = self._remote, None
        if remote is not None:
            await remote.close()


def _target(host: Host, jump: Target | None) -> Target:
    """The address of `host`, and the user to log in as."""
    config = host.config
    return Target(
        host=config.name,
        address=config.network_address,
        port=config.port,
        user=config.user,
        ssh_key=config.ssh_key,
        host_key=host.host_key,
        further_host_keys=host.further_host_keys,
        jump=jump,
        certified=host.certified,
        groups=config.groups,
    )
