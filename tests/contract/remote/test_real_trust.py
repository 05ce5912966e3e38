"""Trust between tendhost and a real sshd: certificates of users, and keys that only a passphrase opens."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tendhost.server.domain.host_errors import AuthenticationRefused, HostCertificateRefused
from tendhost.server.domain.hosts.host_authorities import HostAuthority, authority_keys
from tendhost.server.remote.connector import RoutingConnector
from tests.contract.remote.test_real_sshd import LONG, Sshd
from tests.contract.remote.ways import QUICK, Way, over_sshd
from tests.fleet import Fleet, Host
from tests.tools import needs

pytestmark = [pytest.mark.fleet, needs("ssh-keygen")]


@pytest.fixture
def host(fleet: Fleet) -> Host:
    return fleet["web1"]


@pytest.fixture
async def way(fleet: Fleet, host: Host, tmp_path: Path) -> AsyncIterator[Way]:
    way = over_sshd(fleet, host, replace(QUICK, credentials=tmp_path))
    yield way
    await way.connector.aclose()


@pytest.fixture
def sshd(host: Host) -> Iterator[Sshd]:
    sshd = Sshd(host)
    yield sshd
    sshd.stop()


def keygen(*arguments: str | Path) -> None:
    subprocess.run(["ssh-keygen", "-q", *map(str, arguments)], check=True, capture_output=True)


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    """The private key of a certificate authority."""
    keygen("-t", "ed25519", "-N", "", "-f", tmp_path / "ca")
    return tmp_path / "ca"


PASSPHRASE = "correct horse"


async def test_certificate_beside_a_key_with_a_passphrase__lets_in_where_the_key_alone_does_not(
    way: Way, host: Host, sshd: Sshd, authority: Path, tmp_path: Path
) -> None:
    trusted = authority.with_suffix(".pub").read_text()
    host.run("cat >/etc/ssh/sshd_2_users", input=trusted, check=True)
    port = await sshd.with_configuration("TrustedUserCAKeys /etc/ssh/sshd_2_users")
    for kind in ("ed25519", "ecdsa", "rsa"):
        key = tmp_path / kind
        keygen("-t", kind, "-N", PASSPHRASE, "-f", key)
        with_key = replace(way.target, port=port, ssh_key=str(key))
        secret = tmp_path / f"{kind}.passphrase"
        secret.touch(mode=0o600)
        secret.write_text(f"{PASSPHRASE}\n")
        with pytest.raises(AuthenticationRefused, match="may not log in"):
            await way.connector.connect(with_key)
        keygen("-s", authority, "-I", "ops", "-n", "deploy", f"{key}.pub")
        with pytest.raises(AuthenticationRefused, match="is for deploy, not for 'root'"):
            await way.connector.connect(with_key)
        keygen("-s", authority, "-I", "ops", "-n", "root", "-V", "-2d:-1d", f"{key}.pub")
        with pytest.raises(AuthenticationRefused, match=rf"{kind}-cert\.pub expired at 20"):
            await way.connector.connect(with_key)
        keygen("-s", authority, "-I", "ops", "-n", "deploy,root", "-V", "-1d:+1d", f"{key}.pub")
        remote = await way.connector.connect(with_key)
        assert (await remote.run("id -un", timeout=LONG)).stdout == b"root\n"
        await remote.close()


async def test_expired_certificate__does_not_keep_a_known_key_out(
    way: Way, fleet: Fleet, authority: Path, tmp_path: Path
) -> None:
    key = tmp_path / "id"
    key.touch(mode=0o600)
    key.write_bytes(await asyncio.to_thread(fleet.private_key.read_bytes))
    public = Path(f"{fleet.private_key}.pub").read_text()  # noqa: ASYNC240
    (tmp_path / "id.pub").write_text(public)
    keygen("-s", authority, "-I", "ops", "-n", "root", "-V", "-2d:-1d", tmp_path / "id.pub")
    remote = await way.connector.connect(replace(way.target, ssh_key=str(key)))
    await remote.close()


# --- certificates of hosts ------------------------------------------------------------------------


async def serving_certificate(host: Host, sshd: Sshd, authority: Path, *options: str) -> int:
    """The port of a server whose RSA and ED25519 keys, new ones, the authority has signed."""
    names = [f"/etc/ssh/sshd_2_{kind}" for kind in ("rsa", "ed25519")]
    lines = []
    for name in names:
        host.run(
            f"rm -f {name}*; ssh-keygen -q -t {name.rpartition('_')[2]} -N '' -f {name}", check=True
        )
        public = authority.parent / "host.pub"
        public.write_text(host.output(f"cat {name}.pub"))
        keygen("-s", authority, "-h", "-I", "host", *options, public)
        certificate = (authority.parent / "host-cert.pub").read_text()
        host.run(f"cat >{name}-cert.pub", input=certificate, check=True)
        lines += [f"HostKey {name}", f"HostCertificate {name}-cert.pub"]
    return await sshd.with_configuration("\n".join(lines))


async def test_host_certificate__is_what_a_certified_host_must_show(
    way: Way, host: Host, sshd: Sshd, authority: Path
) -> None:
    trusted = HostAuthority(
        name="fleet",
        keys=authority_keys(authority.with_suffix(".pub").read_text()),
    )
    other = authority.parent / "other"
    keygen("-t", "ecdsa", "-N", "", "-f", other)
    connector = RoutingConnector(ssh=replace(QUICK, host_authorities=(trusted,)))
    address = way.target.address
    for ca, options, why in (
        (authority, ("-n", "web1"), ""),
        (authority, ("-n", f"db1,{address}", "-V", "-1d:+1d"), ""),
        (authority, ("-n", "web*"), ""),
        (authority, ("-n", "web2"), f"is for web2, expected web1 or {address}"),
        (authority, ("-n", "web1", "-V", "-2d:-1d"), "expired at 20"),
        (authority, ("-n", "web1", "-V", "+1d:+2d"), "is not valid before 20"),
        (other, ("-n", "web1"), "is signed by SHA256:"),
    ):
        port = await serving_certificate(host, sshd, ca, *options)
        target = replace(way.target, port=port, certified=True)
        if why:
            for asked in (connector.get_certified_key, connector.connect):
                with pytest.raises(HostCertificateRefused, match=why):
                    await asked(target)
            continue
        key = await connector.get_certified_key(target)
        assert key == host.output("cut -d' ' -f1,2 /etc/ssh/sshd_2_ed25519.pub")
        await (await connector.connect(target)).close()
    with pytest.raises(HostCertificateRefused, match="without a certificate"):
        await connector.connect(replace(way.target, certified=True))
    await (await connector.connect(way.target)).close()
    await connector.aclose()
