"""Tests of the login on one host, answered to the client: nothing is stored, and nothing is changed."""

from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta

from tendhost.server.clock import Clock
from tendhost.server.domain.bounds import text
from tendhost.server.domain.host_errors import (
    AuthenticationRefused,
    HostError,
    HostKeyChanged,
    HostUnreachable,
    JumpFailed,
    PrivilegeMissing,
    ShellUnusable,
)
from tendhost.server.domain.hosts.host import Host, Problem
from tendhost.server.domain.hosts.host_keys import fingerprint
from tendhost.server.engine.concurrency import OperationLimits, Slot
from tendhost.server.engine.connection import HostConnector
from tendhost.server.packages.errors import PackageError
from tendhost.server.packages.facts import Privilege
from tendhost.server.packages.login import Login, login_script, parse_login
from tendhost.server.remote.protocol import Completed, Remote
from tendhost.server.store.protocols.hosts import HostStore

TIMEOUT = timedelta(seconds=15)
"""Time limit for the script, which takes milliseconds; sudo may wait for a directory of users."""
OUTPUT_LIMIT = 64 * 1024
"""Bytes that a host may print during the test. A banner fits; an endless one is refused early."""
AT_ONCE = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class HostTest:
    """What was found out about a host. The defaults are those of a host that does not answer."""

    host_key_fingerprint: str = ""
    """Of the host key that the host presented; empty: none."""
    host_key_pinned: bool = False
    logged_in: bool = False
    login: Login | None = None
    duration: timedelta = timedelta()
    problem: Problem | None = None
    """None: the login works, and the user can become root."""


class HostTester:
    """Tests the login on hosts, in slots of its own beside those of operations."""

    def __init__(self, *, store: HostStore, connector: HostConnector, clock: Clock) -> None:
        self._store = store
        self._connector = connector
        self._clock = clock
        self._limits = OperationLimits(AT_ONCE)

    async def test(self, name: str) -> HostTest:
        """What a login on the host finds out now. What fails on the host is in it. Raises HostNotFound."""
        host = await self._store.host(name)
        async with Slot(self._limits, clock=self._clock):
            begun = self._clock.elapsed()
            found = await self._tested(host)
            return replace(found, duration=self._clock.elapsed() - begun)

    async def _tested(self, host: Host) -> HostTest:
        try:
            remote = await self._connector.connect(host)
        except HostError as error:
            return await self._refused(host, error)
        try:
            return await self._logged_in(host, remote)
        finally:
            await remote.close()

    async def _refused(self, host: Host, error: HostError) -> HostTest:
        """The test of a host on which the login failed with `error`."""
        pinned = False
        match error:
            case HostUnreachable() | JumpFailed():
                shown = ""
            case HostKeyChanged():
                shown = error.shown
            case AuthenticationRefused():
                # The host key is compared before the user is.
                shown, pinned = await self._accepted(host), True
            case _:
                shown = await self._shown(host)
                pinned = not host.certified and shown in map(fingerprint, host.host_keys)
        return HostTest(
            host_key_fingerprint=shown,
            host_key_pinned=pinned,
            problem=Problem.of(error),
        )

    async def _accepted(self, host: Host) -> str:
        """Fingerprint of the key that the host has just shown to a login, which accepted it."""
        if not (host.further_host_keys or host.certified):
            return fingerprint(host.host_key)
        return await self._shown(host) or fingerprint(host.host_key)

    async def _shown(self, host: Host) -> str:
        """Fingerprint of the key that the host shows to somebody who does not log in; empty: none.

        A login asks for the pinned kinds of keys first, and so does this.
        """
        pinned = [key.partition(" ")[0] for key in host.host_keys]
        with suppress(HostError):
            kinds = await self._connector.get_host_key_kinds(host.config)
            kind = next((kind for kind in pinned if kind in kinds), kinds[0])
            return fingerprint(await self._connector.get_host_key(host.config, kind))
        return ""

    async def _logged_in(self, host: Host, remote: Remote) -> HostTest:
        found = HostTest(
            host_key_fingerprint=await self._accepted(host), host_key_pinned=True, logged_in=True
        )
        if host.config.jump_only:
            return found  # the user of a jump need not have a shell
        try:
            completed = await remote.run(login_script(), timeout=TIMEOUT, limit=OUTPUT_LIMIT)
            login = _login(host, completed)
        except HostError as error:
            return replace(found, problem=Problem.of(error))
        if login.privilege is Privilege.NONE:
            missing = PrivilegeMissing(
                host=host.name, user=login.user, problem=login.sudo_message or "sudo refused"
            )
            return replace(found, login=login, problem=Problem.of(missing))
        return replace(found, login=login)


def _login(host: Host, completed: Completed) -> Login:
    """What the script answered. Raises ShellUnusable."""
    try:
        return parse_login(completed.stdout)
    except PackageError as error:
        printed = " ".join((completed.stdout + completed.stderr).decode("utf-8", "replace").split())
        problem = f"{error}; it printed {text(printed, most=200)!r}"
        raise ShellUnusable(host=host.name, user=host.config.user, problem=problem) from error
