"""What every simulated host is to the network: an SSH server on a loopback port that boots and goes down."""

import asyncio
import uuid
from abc import ABC, abstractmethod

import asyncssh

LAST_WORDS_SECONDS = 0.2
"""Between the order to reboot and the moment at which the links break, as on a real host."""


class SimulatedMachine(ABC):
    """An SSH server that lets one key in, as root."""

    address = "127.0.0.1"

    def __init__(self, name: str, login_key: str) -> None:
        self.name = name
        self.port = 0
        self.boot_count = 0
        self.boot_id = ""
        self.dark_seconds = 0.0
        """How long it cannot be reached while it reboots."""
        self._authorized = asyncssh.import_authorized_keys(login_key)
        self._host_key = asyncssh.generate_private_key("ssh-ed25519")
        self._server: asyncssh.SSHAcceptor | None = None
        self._connections: set[asyncssh.SSHServerConnection] = set()
        self._rebooting: asyncio.Task[None] | None = None

    @property
    def host_key(self) -> str:
        """The public key that it shows, as type and base64."""
        return " ".join(self._host_key.export_public_key().decode().split()[:2])

    def wake(self) -> None:
        """Begin another boot, which the network does not notice yet."""
        self.boot_count += 1
        self.boot_id = str(uuid.uuid4())
        self._wake()

    async def boot(self) -> None:
        """Come up, with another boot id."""
        self.wake()
        self._server = await asyncssh.listen(
            self.address,
            self.port,
            server_host_keys=[self._host_key],
            authorized_client_keys=self._authorized,
            process_factory=self._execute,
            encoding=None,
            acceptor=self._connections.add,
        )
        self.port = self._server.get_port()

    async def power_off(self) -> None:
        """Go down and stay down, also in the middle of a reboot."""
        if self._rebooting is not None:
            self._rebooting.cancel()
        await self._go_down()

    def reboot(self) -> None:
        """Begin to go down and come up again."""
        self._rebooting = asyncio.get_running_loop().create_task(self._reboot())

    async def _reboot(self) -> None:
        await asyncio.sleep(LAST_WORDS_SECONDS)
        await self._go_down()
        await asyncio.sleep(self.dark_seconds)
        await self.boot()

    async def _go_down(self) -> None:
        if self._server is not None:
            self._server.close()
            for connection in self._connections:
                connection.abort()
            self._connections.clear()
            await self._server.wait_closed()

    @abstractmethod
    def _wake(self) -> None:
        """Arrange for what a boot changes."""

    @abstractmethod
    async def _execute(self, process: "asyncssh.SSHServerProcess[bytes]") -> None:
        """Answer one command."""
