"""The connection of one operation: opened when a step first needs it, kept until the operation ends."""

from tendhost.server.domain.hosts.host import Host
from tendhost.server.failpoints import reached
from tendhost.server.remote.protocol import Connector, Remote, Target


class Session:
    """Opens at most one connection at a time to one host."""

    def __init__(self, connector: Connector) -> None:
        self._connector = connector
        self._remote: Remote | None = None

    async def remote(self, host: Host) -> Remote:
        """The open connection, opened now if there is none. Raises what Connector.connect raises."""
        if self._remote is None:
            reached("connect.begun")
            self._remote = await self._connector.connect(target_of(host))
            reached("connect.made")
        return self._remote

    async def reconnected(self, host: Host) -> Remote:
        """A new connection. Raises what Connector.connect raises."""
        await self.close()
        return await self.remote(host)

    async def close(self) -> None:
        """Close the connection, if there is one."""
        remote, self._remote = self._remote, None
        if remote is not None:
            await remote.close()


def target_of(host: Host) -> Target:
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
    )
