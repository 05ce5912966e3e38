"""Host certificates: accepted from the host's authorities, for its names, while they are valid; nothing else is."""

import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import Any

import asyncssh
import pytest

from tendhost.server.domain.host_errors import HostCertificateRefused, HostKeyChanged
from tendhost.server.domain.hosts.host_authorities import AuthorityKey, HostAuthority
from tendhost.server.domain.hosts.host_keys import fingerprint
from tendhost.server.remote.protocol import Target
from tendhost.server.remote.ssh import SshConnector
from tests.unit.remote.ssh.servers import QUICK, Connectors, Server, generated, listening, public

CA, OTHER_CA = generated("ssh-ed25519"), generated("ssh-ed25519")
KEY = generated("ssh-ed25519")
UNKNOWN = public(generated("ssh-ed25519"))


@pytest.fixture
def connector(connectors: Connectors) -> SshConnector:
    """A connector that trusts CA for hosts in any group."""
    keys = (AuthorityKey(key=public(CA)),)
    return connectors(replace(QUICK, host_authorities=(HostAuthority(name="fleet", keys=keys),)))


Serving = Callable[..., AbstractAsyncContextManager[tuple[Server, Target]]]


@pytest.fixture
def serving(login_key: asyncssh.SSHKey, target: Target) -> Serving:
    """An SSH server with a certificate, and the target that must show one."""

    @asynccontextmanager
    async def serve(
        ca: asyncssh.SSHKey = CA, key: asyncssh.SSHKey = KEY, user: bool = False, **said: Any
    ) -> AsyncIterator[tuple[Server, Target]]:
        said = {"principals": ["web1"], "valid_before": "+1d", **said}
        certify = ca.generate_user_certificate if user else ca.generate_host_certificate
        certificate = certify(key, "web1", **said)
        serves: Any = {"server_host_certs": [certificate]}
        async with listening(accepts=login_key, keys=[key], **serves) as server:
            at = replace(target, port=server.port, host_key=UNKNOWN, certified=True)
            yield server, at

    return serve


@pytest.mark.parametrize("kind", ["ssh-ed25519", "ecdsa-sha2-nistp521", "ssh-rsa"])
async def test_certificate__opens_whatever_the_key_is(
    connector: SshConnector, serving: Serving, kind: str
) -> None:
    async with serving(key=generated(kind)) as (server, target):
        assert await connector.get_certified_key(target) == public(server.key)
        assert "publickey" not in server.attempts, "nobody has logged in"
        await (await connector.connect(target)).close()


async def test_certificate__may_name_the_address(connector: SshConnector, serving: Serving) -> None:
    async with serving(principals=["127.0.0.1"]) as (_, target):
        await (await connector.connect(target)).close()


REFUSED = {
    "expired": ({"valid_after": "-2d", "valid_before": "-1d"}, "its certificate expired at 20"),
    "not yet valid": ({"valid_after": "+1d", "valid_before": "+2d"}, "is not valid before 20"),
    "of another authority": (
        {"ca": OTHER_CA},
        re.escape(f"is signed by {fingerprint(public(OTHER_CA))}, exp"),
    ),
    "of itself": ({"ca": KEY}, "is signed by"),
    "for another host": ({"principals": ["web2"]}, r"is for web2, expected web1 or 127\.0\.0\.1"),
    "for no host": ({"principals": []}, "is for no host at all"),
}


@pytest.mark.parametrize(("said", "why"), REFUSED.values(), ids=REFUSED)
async def test_certificate__that_proves_nothing_is_refused_with_the_reason_and_no_login(
    connector: SshConnector, serving: Serving, said: dict[str, Any], why: str
) -> None:
    async with serving(**said) as (server, target):
        for asked in (connector.connect, connector.get_certified_key):
            with pytest.raises(HostCertificateRefused, match=why):
                await asked(target)
        assert server.attempts == []


async def test_key_without_a_certificate__is_not_enough(
    connector: SshConnector, target: Target, server: Server
) -> None:
    must = replace(target, certified=True)
    for asked in (connector.connect, connector.get_certified_key):
        with pytest.raises(HostCertificateRefused, match="without a certificate") as caught:
            await asked(must)
        assert fingerprint(public(server.key)) in caught.value.problem
    assert server.attempts == []


async def test_pinned_key__opens_without_a_certificate_also_where_there_is_an_authority(
    connector: SshConnector, target: Target
) -> None:
    await (await connector.connect(target)).close()
    with pytest.raises(HostKeyChanged):
        await connector.connect(replace(target, host_key=UNKNOWN))


async def test_pinned_key__is_taken_from_a_certificate_of_an_unknown_authority_as_ssh_does(
    connector: SshConnector, connectors: Connectors, serving: Serving
) -> None:
    async with serving(ca=OTHER_CA) as (_, target):
        pinned = replace(target, certified=False, host_key=public(KEY))
        await (await connector.connect(pinned)).close()
        await (await connectors(QUICK).connect(pinned)).close()


async def test_pinned_key__does_not_save_a_bad_certificate_of_the_hosts_own_authority(
    connector: SshConnector, serving: Serving
) -> None:
    async with serving(valid_after="-2d", valid_before="-1d") as (_, target):
        pinned = replace(target, certified=False, host_key=public(KEY))
        with pytest.raises(HostCertificateRefused, match="expired"):
            await connector.connect(pinned)


async def test_authority_of_a_group__is_that_of_its_hosts_only(
    connectors: Connectors, serving: Serving
) -> None:
    connector = connectors(
        replace(
            QUICK,
            host_authorities=(
                HostAuthority(name="fleet", keys=(AuthorityKey(key=public(CA)),)),
                HostAuthority(
                    name="web", keys=(AuthorityKey(key=public(OTHER_CA)),), groups=("web",)
                ),
            ),
        )
    )
    async with serving() as (_, target):
        await (await connector.connect(target)).close()
        with pytest.raises(HostCertificateRefused, match="is signed by"):
            await connector.connect(replace(target, groups=("web",)))
    async with serving(ca=OTHER_CA) as (_, target):
        await (await connector.connect(replace(target, groups=("db", "web")))).close()
        with pytest.raises(HostCertificateRefused, match="is signed by"):
            await connector.connect(target)


async def test_certified_host__whose_authority_is_configured_no_longer_is_refused(
    connectors: Connectors, serving: Serving
) -> None:
    connector = connectors(QUICK)
    async with serving() as (server, target):
        assert await connector.get_certified_key(target) == ""
        with pytest.raises(HostCertificateRefused, match=r"no \[\[host_ca\]\]"):
            await connector.connect(replace(target, host_key=public(server.key)))
