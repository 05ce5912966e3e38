"""What to install on a host so that the server can log in there: nothing is asked of the host, and nothing stored."""

from tendhost.server.domain.hosts.host import LOCAL
from tendhost.server.domain.hosts.login_files import MOST_FORWARDS, LoginFiles, login_files
from tendhost.server.domain.request_errors import FieldViolation, InvalidArgument
from tendhost.server.engine.connection import HostConnector
from tendhost.server.store.protocols.hosts import HostStore


class LoginSetup:
    """Files for the login on hosts."""

    def __init__(self, *, store: HostStore, connector: HostConnector) -> None:
        self._store = store
        self._connector = connector

    async def files(self, name: str) -> LoginFiles:
        """The files for a host. Raises HostNotFound, InvalidArgument (nobody logs in on it), KeyUnusable."""
        host = await self._store.host(name)
        if host.config.address == LOCAL:
            problem = f"{name} is the server's own machine, on which nobody logs in"
            raise InvalidArgument(FieldViolation("name", problem))
        keys = await self._connector.get_public_keys(host)
        behind = await self._store.hosts_behind(name, limit=MOST_FORWARDS + 1)
        return login_files(host.config, keys, [each.config for each in behind])
