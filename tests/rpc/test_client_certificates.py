"""Client certificates through real connections: how long they are good for, and which of their names count."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tendhost.client import Client, Connection, CredentialKind
from tendhost.client.errors import Unauthenticated
from tendhost.server.certificates import (
    CA,
    CA_KEY,
    CertificateProblem,
    client_certificate,
    info_of,
    issue_client,
    make_authority,
)
from tests.rpc.test_tls import caller, made, refused, served
from tests.unit.engine.world import World

NOW = datetime.now(UTC)
NAME = "ci.example.org"
SAN = x509.SubjectAlternativeName


def shown(folder: Path, *names: x509.ExtensionType) -> dict[str, Any]:
    """A certificate with these extensions, as another tool may make it with the same CA, for a client to show."""
    authority = x509.load_pem_x509_certificate((folder / CA).read_bytes())
    signer = serialization.load_pem_private_key((folder / CA_KEY).read_bytes(), password=None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)]))
        .issuer_name(authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(minutes=5))
        .not_valid_after(NOW + timedelta(days=30))
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
    )
    for extension in names:
        builder = builder.add_extension(extension, critical=False)
    certificate = builder.sign(signer, hashes.SHA256())
    (folder / "shown.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "shown.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    (folder / "shown.key").chmod(0o600)
    return with_files(folder, folder / "shown.pem", folder / "shown.key")


def with_files(folder: Path, certificate: Path, key: Path) -> dict[str, Any]:
    return {"ca": str(folder / CA), "certificate": str(certificate), "key": str(key)}


async def test_connection__of_a_certificate_that_has_expired_since_serves_no_token_either(
    world: World, tmp_path: Path
):
    async with served(world, tmp_path, made(tmp_path)) as at:
        how = with_files(tmp_path, *issue_client(tmp_path, NAME, now=NOW))
        connection = Connection(server=at["mtls"], token=at["token"], **how)
        async with Client(connection, patience_seconds=0) as client:
            assert (await client.caller()).principal == "kim"
            world.clock.set_off(NOW + timedelta(days=397) - world.clock.now())
            with pytest.raises(Unauthenticated, match="client certificate is not valid"):
                await client.caller()


MALFORMED = {
    "empty": b"",
    "no ASCII": b"\x30\x03\x82\x01\xff",
    "half an address": b"\x30\x04\x87\x02\x01\x02",
    "no ASN.1": b"garbage",
    "X.400": b"\x30\x02\xa3\x00",
}
"""Values of the extension. TLS refuses the others than these two already."""
PAST_TLS = ("no ASCII", "X.400")


def malformed(value: bytes) -> x509.ExtensionType:
    return x509.UnrecognizedExtension(x509.SubjectAlternativeName.oid, value)


async def test_name__that_is_malformed_is_no_fault_of_the_server(world: World, tmp_path: Path):
    async with served(world, tmp_path, made(tmp_path)) as at:
        for which in PAST_TLS:
            how = shown(tmp_path, malformed(MALFORMED[which]))
            words = await refused({"server": at["mtls"], **how}, Unauthenticated)
            assert "an extension of it, such as its subject alternative name, is malformed" in words


@pytest.mark.parametrize("value", MALFORMED.values(), ids=MALFORMED)
def test_certificate__that_is_malformed_is_refused_wherever_it_is_read(
    tmp_path: Path, value: bytes
):
    make_authority(tmp_path, now=NOW)
    file = Path(shown(tmp_path, malformed(value))["certificate"])
    with pytest.raises(ValueError, match="have its CA issue another"):
        client_certificate(file.read_bytes())
    with pytest.raises(CertificateProblem, match=r"shown\.pem: an extension of it is malformed"):
        info_of(file)


OTHER_KINDS: Sequence[x509.GeneralName] = (
    x509.RFC822Name(NAME),
    x509.UniformResourceIdentifier(NAME),
    x509.IPAddress(ip_address("192.0.2.7")),
    x509.DirectoryName(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])),
    x509.OtherName(x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3"), b"\x0c\x0eci.example.org"),
)


async def test_name__of_another_kind_than_dns_names_no_client(world: World, tmp_path: Path):
    async with served(world, tmp_path, made(tmp_path)) as at:
        for names in ([], *([name] for name in OTHER_KINDS), OTHER_KINDS):
            how = shown(tmp_path, *([SAN(names)] if names else []))
            words = await refused({"server": at["mtls"], **how}, Unauthenticated)
            assert "it has no DNS name in its subject alternative name" in words, names
        how = shown(tmp_path, SAN([*OTHER_KINDS, x509.DNSName(NAME)]))
        found = await caller(server=at["mtls"], **how)
        assert (found.principal, found.credential_kind) == (NAME, CredentialKind.CERTIFICATE)


async def test_refusal__shows_few_of_many_names(world: World, tmp_path: Path):
    async with served(world, tmp_path, made(tmp_path)) as at:
        how = shown(tmp_path, SAN([x509.DNSName(f"n{at}.example.org") for at in range(40)]))
        words = await refused({"server": at["mtls"], **how}, Unauthenticated)
        assert "(n0.example.org, n1.example.org, n2.example.org and 37 more)" in words


@pytest.mark.parametrize("name", ["192.0.2.7", "2001:db8::1", "*.example.org", "kim@example.org"])
def test_client_certificate__is_made_for_a_dns_name_only(tmp_path: Path, name: str):
    make_authority(tmp_path, now=NOW)
    with pytest.raises(CertificateProblem, match="expected a DNS name"):
        issue_client(tmp_path, name, now=NOW)
    assert {file.name for file in tmp_path.iterdir()} == {CA, CA_KEY}
