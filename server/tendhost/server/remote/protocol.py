"""The way to a host, as the engine sees it: connect, run a script, look at the key."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

DEFAULT_OUTPUT_LIMIT = 16 * 1024 * 1024
"""Bytes that one command may print, both streams together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a host is and who to be there."""

    host: str
    """The registered name, for messages."""
    address: str
    port: int
    user: str
    ssh_key: str
    """Path of a private key; empty: `TENDHOST_SSH_KEY`, else the agent."""
    host_key: str
    """The pinned public key, type and base64; what is shown must be this one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """A command that ended. `exit_status` is 128 + n where signal n ended it, as in sh(1)."""

    exit_status: int
    stdout: bytes
    stderr: bytes


class Remote(Protocol):
    """An open way to one host."""

    async def run(
        self,
        command: str,
        *,
        timeout: timedelta,
        privileged: bool = False,
        limit: int = DEFAULT_OUTPUT_LIMIT,
        input: bytes = b"",
    ) -> Completed:
        """Run `command` with sh and gather what it prints.

        `privileged` runs it as root: as it is for root, through `sudo -n` for anybody else. `input` is
        what it reads: unlike `command`, nobody sees it in a list of processes, and it may be of any
        length.
        Raises Timeout, OutputTooLarge, LinkLost, PrivilegeMissing.
        """
        ...

    async def close(self) -> None:
        """End the connection; never raises."""
        ...


class Connector(Protocol):
    """Opens ways to hosts."""

    async def connect(self, target: Target) -> Remote:
        """Open a way to `target`.

        Raises HostUnreachable, AuthenticationRefused, KeyUnusable, HostKeyChanged, Timeout.
        """
        ...

    async def get_host_key(self, *, host: str, address: str, port: int) -> str:
        """The public key that the host shows now, as type and base64, without logging in.

        Raises HostUnreachable, Timeout.
        """
        ...

    async def aclose(self) -> None:
        """Release what the connector holds."""
        ...
