"""Private keys for logins, with their certificates: from files, from the configuration or from the agent."""

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import asyncssh

from tendhost.server.domain.host_errors import KeyUnusable
from tendhost.server.domain.hosts.certificates import (
    NoCertificate,
    Purpose,
    certificate_of,
    validity_problem,
)
from tendhost.server.remote.key_files import KeyFiles, LoginKey
from tendhost.server.remote.key_formats import KeyFileUnusable
from tendhost.server.remote.protocol import Target

CREDENTIAL = "ssh_key"
"""The credential with the key for hosts whose configuration names none, unless TENDHOST_SSH_KEY has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginKeys:
    """What to log in with."""

    keys: Sequence[asyncssh.SSHKey] | Sequence[asyncssh.SSHKeyPair]
    certificates: Sequence[asyncssh.SSHCertificate] = ()
    note: str = ""
    """What a person should know about the certificate if the login is refused."""

    @property
    def pairs(self) -> Sequence[asyncssh.SSHKeyPair]:
        """The keys in the order in which they are offered: with its certificate first, then without."""
        return asyncssh.load_keypairs(list(self.keys), certlist=list(self.certificates))


class KeyRing:
    """The private keys of this server's hosts."""

    def __init__(
        self,
        default: bytes | None,
        *,
        timeout: timedelta,
        now: Callable[[], datetime],
        credentials: Path | None = None,
    ) -> None:
        """`timeout`: for the agent to list its keys, or for a file to be read.

        `credentials`: the folder of passphrases, and of the default key.
        """
        self._default = default
        self._timeout = timeout
        self._now = now
        self._parsed_default: asyncssh.SSHKey | None = None
        self._parsing = asyncio.Lock()
        self._files = KeyFiles(timeout=timeout, credentials=credentials)
        own = credentials / CREDENTIAL if credentials else None
        self._default_path = str(own) if own is not None and own.exists() else ""

    @asynccontextmanager
    async def keys_for(self, target: Target) -> AsyncIterator[LoginKeys]:
        """The keys to log in with, for as long as the login takes. Raises KeyUnusable."""
        try:
            key = await self._key_for(target.ssh_key)
        except KeyFileUnusable as error:
            raise _unusable(target, str(error)) from error
        if key is not None:
            yield self._with_certificate(key, target.user)
            return
        async with AsyncExitStack() as stack:
            yield LoginKeys(keys=await self._agent_keys(target, stack))

    async def problem(self, ssh_key: str) -> str:
        """Why the key cannot be used that a host's configuration names; empty: it can, as far as files tell."""
        try:
            await self._key_for(ssh_key)
        except KeyFileUnusable as error:
            return str(error)
        return ""

    async def _key_for(self, ssh_key: str) -> LoginKey | None:
        """The key for a host, None: those of the agent. Raises KeyFileUnusable."""
        if ssh_key:
            return await self._files.key(ssh_key)
        if self._default is None:
            return await self._files.key(self._default_path) if self._default_path else None
        async with self._parsing:
            if self._parsed_default is None:
                self._parsed_default = await self._files.parsed(
                    self._default, "the key in TENDHOST_SSH_KEY", CREDENTIAL
                )
        return LoginKey(key=self._parsed_default)

    def _with_certificate(self, key: LoginKey, user: str) -> LoginKeys:
        """The key with its certificate, unless no host would accept that now."""
        if key.certificate is None:
            return LoginKeys(keys=[key.key], note=key.certificate_problem)
        name = f"the certificate {key.certificate_path}"
        try:
            found = certificate_of(key.certificate.public_data)
        except NoCertificate as error:
            return LoginKeys(keys=[key.key], note=f"{name} cannot be used: {error}")
        if found.purpose != Purpose.USER:
            return LoginKeys(keys=[key.key], note=f"{name} is for hosts, not for users")
        if problem := validity_problem(found, self._now()):
            return LoginKeys(keys=[key.key], note=f"{name} {problem}")
        note = ""
        if user not in found.principals:
            # sshd(8) compares them unless its AuthorizedPrincipalsFile says otherwise.
            note = f"{name} is for {', '.join(found.principals) or 'no user'}, not for '{user}'"
        return LoginKeys(keys=[key.key], certificates=[key.certificate], note=note)

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


def public_key(key: asyncssh.SSHKey | asyncssh.SSHKeyPair) -> str:
    """The public half of a key, or the key that is public itself: type and base64."""
    if isinstance(key, asyncssh.SSHKey):
        kind, blob = key.export_public_key("openssh").decode().split()[:2]
        return f"{kind} {blob}"
    return f"{key.algorithm.decode()} {b64encode(key.public_data).decode()}"


def _unusable(target: Target, problem: str) -> KeyUnusable:
    return KeyUnusable(host=target.host, address=target.address, problem=problem)
