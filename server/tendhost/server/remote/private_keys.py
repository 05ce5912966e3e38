"""Private keys for logins: from files, from the configuration or from the agent."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta

import asyncssh

from tendhost.server.domain.host_errors import KeyUnusable
from tendhost.server.remote.key_files import KeyFiles, KeyFileUnusable, parsed_key
from tendhost.server.remote.protocol import Target

PrivateKeys = list[asyncssh.SSHKey] | list[asyncssh.SSHKeyPair]


class KeyRing:
    """The private keys of this server's hosts."""

    def __init__(self, default: bytes | None, *, timeout: timedelta) -> None:
        """`timeout`: for the agent to list its keys, or for a file to be read."""
        self._default = default
        self._timeout = timeout
        self._parsed_default: asyncssh.SSHKey | None = None
        self._files = KeyFiles(timeout=timeout)

    @asynccontextmanager
    async def keys_for(self, target: Target) -> AsyncIterator[PrivateKeys]:
        """The keys to log in with, for as long as the login takes. Raises KeyUnusable."""
        key = await self._key_for(target)
        if key is not None:
            yield [key]
            return
        async with AsyncExitStack() as stack:
            yield await self._agent_keys(target, stack)

    async def _key_for(self, target: Target) -> asyncssh.SSHKey | None:
        try:
            if target.ssh_key:
                return await self._files.key(target.ssh_key)
            if self._default is None:
                return None
            if self._parsed_default is None:
                self._parsed_default = parsed_key(self._default, "the key in TENDHOST_SSH_KEY")
        except KeyFileUnusable as error:
            raise _unusable(target, str(error)) from error
        return self._parsed_default

    async def _agent_keys(self, target: Target, stack: AsyncExitStack) -> list[asyncssh.SSHKeyPair]:
        none_set = "no key is configured for it, TENDHOST_SSH_KEY is not set, and"
        try:
            async with asyncio.timeout(self._timeout.total_seconds()):
                agent = await stack.enter_async_context(await asyncssh.connect_agent())
                keys = list(await agent.get_keys())
        except TimeoutError as error:
            raise _unusable(target, f"{none_set} the agent does not answer") from error
        except (OSError, ValueError, asyncssh.Error) as error:
            raise _unusable(target, f"{none_set} there is no agent") from error
        if not keys:
            # asyncssh takes an empty list for none given, and would try those in ~/.ssh.
            raise _unusable(target, f"{none_set} the agent has no key")
        return keys


def _unusable(target: Target, problem: str) -> KeyUnusable:
    return KeyUnusable(host=target.host, address=target.address, problem=problem)
