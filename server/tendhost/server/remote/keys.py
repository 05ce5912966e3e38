"""Private keys: read and parsed once, or asked of the agent, and why one cannot be used."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path

import asyncssh

from tendhost.server.domain.errors import KeyUnusable
from tendhost.server.remote.protocol import Target

PrivateKeys = list[asyncssh.SSHKey] | list[asyncssh.SSHKeyPair]


class KeyRing:
    """The private keys of this server's hosts. A file is read again when it has changed."""

    def __init__(self, default: bytes | None, *, agent_timeout: timedelta) -> None:
        self._default = default
        self._agent_timeout = agent_timeout
        self._parsed_default: asyncssh.SSHKey | None = None
        self._files: dict[str, tuple[tuple[int, int], asyncssh.SSHKey]] = {}

    @asynccontextmanager
    async def opening(self, target: Target) -> AsyncIterator[PrivateKeys]:
        """The keys to log in with, for as long as the login takes. Raises KeyUnusable."""
        key = self._key_for(target)
        if key is not None:
            yield [key]
            return
        async with AsyncExitStack() as stack:
            yield await self._agents_keys(target, stack)

    def _key_for(self, target: Target) -> asyncssh.SSHKey | None:
        if target.ssh_key:
            return self._from_file(target)
        if self._default is None:
            return None
        if self._parsed_default is None:
            self._parsed_default = _parsed(target, self._default, "the key in TENDHOST_SSH_KEY")
        return self._parsed_default

    async def _agents_keys(
        self, target: Target, stack: AsyncExitStack
    ) -> list[asyncssh.SSHKeyPair]:
        none_set = "no key is configured for it, TENDHOST_SSH_KEY is not set, and"
        try:
            async with asyncio.timeout(self._agent_timeout.total_seconds()):
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

    def _from_file(self, target: Target) -> asyncssh.SSHKey:
        path = Path(target.ssh_key)
        try:
            seen = path.stat()
            version = (seen.st_mtime_ns, seen.st_size)
            known = self._files.get(target.ssh_key)
            if known is not None and known[0] == version:
                return known[1]
            data = path.read_bytes()
        except OSError as error:
            problem = f"the key {path} cannot be read: {error.strerror or error}"
            raise _unusable(target, problem) from error
        key = _parsed(target, data, f"the key {path}")
        self._files[target.ssh_key] = (version, key)
        return key


def _parsed(target: Target, data: bytes, name: str) -> asyncssh.SSHKey:
    try:
        return asyncssh.import_private_key(data)
    except ValueError as error:
        # asyncssh has one type of error for all of them, and tells a passphrase by these words.
        if "passphrase" in str(error).lower():
            problem = f"{name} has a passphrase; use one without, or an agent"
        else:
            problem = f"{name} is not a private key that can be read: {error}"
        raise _unusable(target, problem) from error


def _unusable(target: Target, problem: str) -> KeyUnusable:
    return KeyUnusable(host=target.host, address=target.address, problem=problem)
