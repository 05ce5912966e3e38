"""The protocols of connections to hosts: connect, run a command, get the host key."""

import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

DEFAULT_OUTPUT_LIMIT = 16 * 1024 * 1024
"""Bytes that one command may print, both streams together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The address of a host, and the user and keys to log in with."""

    host: str
    """The registered name, for messages."""
    address: str
    port: int
    user: str
    ssh_key: str
    """Path of a private key; empty: `TENDHOST_SSH_KEY`, else the agent."""
    host_key: str
    """The pinned public key, type and base64; what is shown must be this one or a further one."""
    further_host_keys: tuple[str, ...] = ()
    certified: bool = False
    """Whether it must show a certificate of its host authority, whatever its key is."""
    groups: tuple[str, ...] = ()
    """Groups of the host, which decide about its host authorities."""
    jump: "Target | None" = None
    """The host through which it is reached, with a jump of its own or none; None: directly."""

    @property
    def host_keys(self) -> tuple[str, ...]:
        """Every pinned public key, `host_key` first."""
        return (self.host_key, *self.further_host_keys)


Tunnel = Callable[[int], Awaitable[socket.socket]]
"""Connects to a port of a host through its jump. Raises HostUnreachable, JumpFailed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """A command that ended. `exit_status` is 128 + n where signal n ended it, as in sh(1)."""

    exit_status: int
    stdout: bytes
    stderr: bytes


class Remote(Protocol):
    """A connection to one host."""

    async def run(
        self,
        command: str,
        *,
        timeout: timedelta,
        privileged: bool = False,
        limit: int = DEFAULT_OUTPUT_LIMIT,
        input: bytes = b"",
    ) -> Completed:
        """Run `command` with sh, whatever the user's login shell is, and return its output.

        `privileged` runs it as root, through `sudo -n` for other users. `input` is its standard input:
        unlike `command`, it is in no list of processes. Both may be of any length.
        Raises Timeout, OutputTooLarge, LinkLost, ChannelRefused, PrivilegeMissing, ShellUnusable.
        """
        ...

    async def close(self) -> None:
        """Close the connection; never raises."""
        ...


class Connector(Protocol):
    """Connects to hosts."""

    async def key_problem(self, *, address: str, ssh_key: str) -> str:
        """Why the private key of a host cannot be used, in a sentence; empty: it can, as far as its files tell.

        `ssh_key` as in Target. Nobody connects to the host, and the agent is not asked.
        """
        ...

    async def connect(self, target: Target) -> Remote:
        """Connect to `target`.

        Raises HostUnreachable, AuthenticationRefused, KeyUnusable, HostKeyChanged, HostCertificateRefused,
        JumpFailed, SshError (another reason), Timeout.
        """
        ...

    async def get_certified_key(self, target: Target) -> str:
        """The public key in the certificate that the host shows now, as type and base64, without logging in.

        Empty: no host authority vouches for the host. Raises HostUnreachable, HostCertificateRefused, JumpFailed,
        SshError (another reason), Timeout.
        """
        ...

    async def get_public_keys(self, target: Target) -> tuple[str, ...]:
        """The public keys, as type and base64, that a login on `target` offers. Nobody connects. Raises KeyUnusable."""
        ...

    async def get_host_key_kinds(
        self, *, host: str, address: str, port: int, jump: Target | None = None
    ) -> tuple[str, ...]:
        """The kinds of the keys that the host has, such as "ssh-rsa": those that a login accepts, the best first.

        Raises HostUnreachable, JumpFailed, SshError (there is none, or a login would find no algorithm in common),
        Timeout.
        """
        ...

    async def get_host_key(
        self, *, host: str, address: str, port: int, kind: str = "", jump: Target | None = None
    ) -> str:
        """The public key that the host shows now, as type and base64, without logging in.

        `kind`: the kind of key to ask for, one that the host has; empty: the best one.
        Raises HostUnreachable, JumpFailed, Timeout.
        """
        ...

    async def open_tunnel(
        self, *, host: str, address: str, port: int, jump: Target
    ) -> socket.socket:
        """A socket that `jump` connects to a port of a host. Raises HostUnreachable, JumpFailed."""
        ...

    async def aclose(self) -> None:
        """Release what the connector holds."""
        ...
