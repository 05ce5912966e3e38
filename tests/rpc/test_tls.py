"""TLS through real connections: certificates, their rotation, and what both ends are told when it does not fit."""

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

from tendhost.client import (
    CertificateUse,
    Client,
    Connection,
    CredentialKind,
    HostFilter,
    Role,
    ServerUnreachable,
)
from tendhost.client.errors import InvalidRequest, Unauthenticated
from tendhost.server.certificates import (
    CA,
    CA_KEY,
    SERVER,
    SERVER_KEY,
    CertificateProblem,
    info_of,
    issue_client,
    issue_server,
    make_authority,
)
from tendhost.server.config import Settings
from tendhost.server.domain.access import roles as domain_roles
from tendhost.server.domain.access.listen import listener_of
from tendhost.server.domain.request_errors import ConfigurationError
from tendhost.server.rpc import server
from tendhost.server.rpc.tls import TlsFiles
from tendhost.server.startup import expiries_reader, tls_files
from tests.unit.engine.world import World

NOW = datetime.now(UTC)
OPERATOR = frozenset({domain_roles.Role.OPERATOR})


def made(folder: Path, *names: str, now: datetime = NOW) -> TlsFiles:
    """A CA and a server certificate."""
    if not (folder / CA).exists():
        make_authority(folder, now=NOW - timedelta(days=1000))
    issue_server(folder, names or ("localhost", "127.0.0.1"), now=now)
    return TlsFiles(certificate=folder / SERVER, key=folder / SERVER_KEY, client_ca=folder / CA)


@asynccontextmanager
async def served(world: World, folder: Path, files: TlsFiles) -> AsyncIterator[dict[str, str]]:
    """A server on its socket, on plain loopback, with TLS, and with client certificates; and an admin's token."""
    texts = (f"unix:{folder}/s.sock", "127.0.0.1:0", "tls://127.0.0.1:0", "mtls://127.0.0.1:0")
    async with (
        world.running() as engine,
        server.serving(
            engine,
            listeners=[listener_of(text) for text in texts],
            tls=files,
            socket_owner="owner",
            certificates={"ci.example.org": OPERATOR},
        ) as bound,
    ):
        async with Client(Connection(server=bound[0])) as owner:
            token = (await owner.create_token("kim", [Role.ADMIN])).text
        yield dict(zip(("socket", "plain", "tls", "mtls"), bound, strict=True)) | {"token": token}


async def caller(**how: Any) -> Any:
    async with Client(Connection(**how), patience_seconds=0) as client:
        return await client.caller()


async def refused(how: dict[str, Any], kind: type[Exception] = ServerUnreachable) -> str:
    with pytest.raises(kind) as caught:
        await caller(**how)
    return str(caught.value)


async def test_tls__with_a_token(world: World, tmp_path: Path):
    async with served(world, tmp_path, made(tmp_path)) as at:
        found = await caller(server=at["tls"], token=at["token"], ca=str(tmp_path / CA))
        assert (found.principal, found.credential_kind) == ("kim", CredentialKind.TOKEN)
        words = await refused({"server": at["tls"], "ca": str(tmp_path / CA)}, Unauthenticated)
        assert "no credential was given" in words


async def test_info__shows_the_certificates_in_use(world: World, tmp_path: Path):
    files = made(tmp_path)
    world.clock.advance(NOW - world.clock.now())
    listeners = [listener_of(f"unix:{tmp_path}/s.sock"), listener_of("mtls://127.0.0.1:0")]
    settings = Settings(
        listen=("mtls://127.0.0.1:0",),
        tls_certificate=files.certificate,
        tls_key=files.key,
        tls_client_ca=files.client_ca,
    )
    async with (
        world.running(read_expiries=expiries_reader(tls_files(settings), listeners)) as engine,
        server.serving(engine, listeners=listeners, tls=files, socket_owner="owner") as bound,
        Client(Connection(server=bound[0])) as owner,
    ):

        async def read() -> bool:
            return bool(engine.certificates.expiries)

        await world.until(read)
        own, ca = (await owner.info()).certificates
    assert (own.use, own.file, own.problem) == (CertificateUse.SERVER, str(tmp_path / SERVER), "")
    assert (ca.use, ca.expires_at) == (CertificateUse.CLIENT_CA, info_of(tmp_path / CA).not_after)


async def test_client_certificate__names_its_principal(world: World, tmp_path: Path):
    async with served(world, tmp_path, made(tmp_path)) as at:
        certificate, key = issue_client(tmp_path, "ci.example.org", now=NOW)
        how = {"ca": str(tmp_path / CA), "certificate": str(certificate), "key": str(key)}
        found = await caller(server=at["mtls"], **how)
        assert (found.principal, found.credential_kind, found.roles) == (
            "ci.example.org",
            CredentialKind.CERTIFICATE,
            (Role.OPERATOR,),
        )
        assert (await caller(server=at["mtls"], token=at["token"], **how)).principal == "kim"


async def test_client_certificate__that_expires_ends_what_its_connection_may_do(
    world: World, tmp_path: Path
):
    async with served(world, tmp_path, made(tmp_path)) as at:
        certificate, key = issue_client(tmp_path, "ci.example.org", now=NOW)
        how = {"ca": str(tmp_path / CA), "certificate": str(certificate), "key": str(key)}
        connection = Connection(server=at["mtls"], **how)
        async with Client(connection, patience_seconds=0) as client:
            events = client.events(resume_after=0)
            following = asyncio.ensure_future(anext(aiter(events)))
            await client.caller()
            world.clock.advance(info_of(certificate).not_after - world.clock.now())
            for call in (client.caller(), client.delete_selection("none"), following):
                with pytest.raises(Unauthenticated, match="it has expired"):
                    await call


async def test_client_certificate__that_is_not_good_is_refused(world: World, tmp_path: Path):
    async with served(world, tmp_path, made(tmp_path)) as at:
        ca = str(tmp_path / CA)
        certificate, key = issue_client(tmp_path, "eve.example.org", now=NOW)
        how = {"server": at["mtls"], "ca": ca, "certificate": str(certificate), "key": str(key)}
        words = await refused(how, Unauthenticated)
        assert "no [[client_certificate]]" in words
        assert "eve.example.org" in words
        # Of another CA, expired, not yet valid: TLS itself refuses them.
        other = tmp_path / "other"
        make_authority(other, now=NOW)
        for folder, now in (
            (other, NOW),
            (tmp_path, NOW - timedelta(days=500)),
            (tmp_path, NOW + timedelta(days=2)),
        ):
            certificate, key = issue_client(folder, "ci.example.org", now=now)
            how = {**how, "certificate": str(certificate), "key": str(key)}
            assert "no server answers" in await refused(how)
        assert "log in with --certificate" in await refused({"server": at["mtls"], "ca": ca})


@pytest.mark.parametrize(
    ("where", "how", "words"),
    [
        ("plain", {"ca": CA}, "does not speak TLS at this address"),
        ("tls", {}, "from a CA that is not known here"),
        ("tls", {"ca": "other/ca.pem"}, "from a CA that is not known here"),
    ],
)
async def test_client__is_told_what_does_not_fit(
    world: World, tmp_path: Path, where: str, how: dict[str, str], words: str
):
    make_authority(tmp_path / "other", now=NOW)
    async with served(world, tmp_path, made(tmp_path)) as at:
        files = {name: str(tmp_path / path) for name, path in how.items()}
        assert words in await refused({"server": at[where], "token": at["token"], **files})


async def test_client__that_speaks_plain_text_to_tls_is_told_so(world: World, tmp_path: Path):
    async with served(world, tmp_path, made(tmp_path)) as at:
        plain = at["tls"].removeprefix("tls://")
        assert "write tls://HOST:PORT" in await refused({"server": plain, "token": at["token"]})


@pytest.mark.parametrize(
    ("names", "now", "words"),
    [
        (("example.org",), NOW, "is for another name"),
        ((), NOW - timedelta(days=500), "has expired"),
        ((), NOW + timedelta(days=2), "is not valid yet"),
    ],
)
async def test_certificate_of_the_server__that_is_not_good_is_told_to_the_client(
    world: World, tmp_path: Path, names: tuple[str, ...], now: datetime, words: str
):
    async with served(world, tmp_path, made(tmp_path, *names, now=now)) as at:
        how = {"server": at["tls"], "token": at["token"], "ca": str(tmp_path / CA)}
        assert words in await refused(how)


async def test_rotation__takes_effect_for_new_connections_and_keeps_streams(
    world: World, tmp_path: Path
):
    async with served(world, tmp_path, made(tmp_path)) as at:
        ca = tmp_path / CA
        how: dict[str, Any] = {"server": at["tls"], "token": at["token"], "ca": str(ca)}
        async with Client(Connection(**how), patience_seconds=0) as watcher:
            events = watcher.events(resume_after=0)
            following = asyncio.ensure_future(anext(aiter(events)))
            await watcher.caller()
            # A new CA and a new certificate: whoever trusts the former CA only is refused from now on.
            former = tmp_path / "former.pem"
            former.write_bytes(ca.read_bytes())
            for file in (CA, CA_KEY):
                (tmp_path / file).unlink()
            made(tmp_path)
            assert (await caller(**how)).principal == "kim"
            assert "not known here" in await refused({**how, "ca": str(former)})
            await watcher.caller()
            assert not following.done()
            async with Client(Connection(server=at["socket"])) as owner:
                await owner.create_selection("canaries", HostFilter())
            assert (await following).revision > 0


async def test_rotation__reaches_every_listener(world: World, tmp_path: Path):
    files = made(tmp_path)
    listeners = [listener_of("tls://127.0.0.1:0"), listener_of("tls://127.0.0.1:0")]
    async with (
        world.running() as engine,
        server.serving(engine, listeners=listeners, tls=files, socket_owner="owner") as bound,
    ):
        former = (tmp_path / SERVER).read_bytes()
        issue_server(tmp_path, ["localhost", "127.0.0.1"], now=NOW)
        for address in bound:
            host, _, port = address.removeprefix("tls://").rpartition(":")
            shown = await asyncio.to_thread(ssl.get_server_certificate, (host, int(port)))
            assert ssl.PEM_cert_to_DER_cert(shown) != ssl.PEM_cert_to_DER_cert(former.decode())


def reissued(folder: Path, **how: Any) -> None:
    """Issue a certificate that tendhost itself would not, for the key of the server and by its CA."""
    ca, ca_key, key = (folder / name for name in (CA, CA_KEY, SERVER_KEY))
    certificate = certificate_of(
        serialization.load_pem_private_key(key.read_bytes(), None),
        issuer=x509.load_pem_x509_certificate(ca.read_bytes()).subject,
        issuer_key=serialization.load_pem_private_key(ca_key.read_bytes(), None),
        **how,
    )
    (folder / SERVER).write_bytes(certificate)


def certificate_of(
    key: Any,
    *extensions: x509.ExtensionType,
    issuer: x509.Name | None = None,
    issuer_key: Any = None,
    names: Sequence[x509.GeneralName] = (),
    valid: tuple[timedelta, timedelta] = (timedelta(), timedelta(days=1)),
) -> bytes:
    """A certificate in PEM form; its issuer is itself by default."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    builder = (
        x509.CertificateBuilder(issuer or name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(NOW + valid[0])
        .not_valid_after(NOW + valid[1])
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=True)
    hash = None if isinstance(issuer_key or key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(issuer_key or key, hash).public_bytes(serialization.Encoding.PEM)


LOCALHOST = (x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1")))
NO_NAME = "it has no DNS name and no IP address in its subject alternative name"
NO_CA = "in it is no CA's; expected the CA that issues the certificates of clients"


def leaf_as_ca(folder: Path) -> None:
    (folder / CA).write_bytes((folder / SERVER).read_bytes())


def bundle_with_leaf(folder: Path) -> None:
    (folder / CA).write_bytes((folder / CA).read_bytes() + (folder / SERVER).read_bytes())


def ca_that_may_not_sign(folder: Path) -> None:
    unset = dict.fromkeys(
        (
            *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"),
            *("key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
        ),
        False,
    )
    extensions = (
        x509.BasicConstraints(ca=True, path_length=None),
        x509.KeyUsage(**{**unset, "digital_signature": True}),
    )
    (folder / CA).write_bytes(certificate_of(ec.generate_private_key(ec.SECP256R1()), *extensions))


def ca_without_extensions(folder: Path) -> None:
    (folder / CA).write_bytes(certificate_of(ec.generate_private_key(ec.SECP256R1())))


UNUSABLE: Sequence[tuple[Callable[[Path], object], str]] = (
    (reissued, NO_NAME),
    (lambda folder: reissued(folder, names=[x509.RFC822Name("a@example.org")]), NO_NAME),
    (
        lambda folder: reissued(folder, names=[x509.UniformResourceIdentifier("https://a")]),
        NO_NAME,
    ),
    (leaf_as_ca, NO_CA),
    (bundle_with_leaf, NO_CA),
    (ca_that_may_not_sign, NO_CA),
    (ca_without_extensions, NO_CA),
    (
        lambda folder: (folder / SERVER_KEY).write_bytes((folder / CA_KEY).read_bytes()),
        "it is not the key of",
    ),
    (
        lambda folder: (folder / CA).write_bytes((folder / CA_KEY).read_bytes()),
        "is a private key, and a certificate is expected",
    ),
)
"""Files that the server neither starts with nor changes to."""
BEFORE, AFTER = (timedelta(days=-2), timedelta(days=-1)), (timedelta(days=1), timedelta(days=2))
OUT_OF_TIME = ((BEFORE, "has expired, at"), (AFTER, "is not valid before"))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        *UNUSABLE,
        *(
            (lambda folder, valid=valid: reissued(folder, names=LOCALHOST, valid=valid), words)
            for valid, words in OUT_OF_TIME
        ),
        (lambda folder: (folder / SERVER_KEY).write_text("no key"), "no private key in PEM form"),
        (lambda folder: (folder / SERVER_KEY).unlink(), "No such file or directory"),
    ],
)
async def test_rotation__to_files_that_cannot_be_used_keeps_the_former_ones_and_says_why_once(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture, spoil: Any, words: str
):
    async with served(world, tmp_path, made(tmp_path)) as at:
        ca = tmp_path / "former.pem"
        ca.write_bytes((tmp_path / CA).read_bytes())
        certificate, key = issue_client(tmp_path, "ci.example.org", now=NOW)
        spoil(tmp_path)
        how = {"ca": str(ca), "certificate": str(certificate), "key": str(key)}
        for _ in range(3):
            assert (await caller(server=at["mtls"], **how)).principal == "ci.example.org"
    told = [vars(record) for record in caplog.records if "former certificate" in record.message]
    assert len(told) == 1
    assert words in told[0]["cause"]


async def test_rotation__to_a_chain_with_an_expired_root_takes_effect(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    async with served(world, tmp_path, made(tmp_path)) as at:
        reissued(tmp_path, names=LOCALHOST)
        old_root = certificate_of(ec.generate_private_key(ec.SECP256R1()), valid=BEFORE)
        (tmp_path / SERVER).write_bytes((tmp_path / SERVER).read_bytes() + old_root)
        how = {"server": at["tls"], "token": at["token"], "ca": str(tmp_path / CA)}
        assert (await caller(**how)).principal == "kim"
    assert "the former certificate stays in use" not in caplog.text


@pytest.mark.parametrize(("valid", "words"), OUT_OF_TIME)
async def test_certificate__that_is_out_of_time_at_the_start_is_used_and_told_of(
    world: World,
    tmp_path: Path,
    valid: tuple[timedelta, timedelta],
    words: str,
    caplog: pytest.LogCaptureFixture,
):
    files = made(tmp_path)
    reissued(tmp_path, names=LOCALHOST, valid=valid)
    world.clock.advance(NOW - world.clock.now())
    listeners = [listener_of(f"unix:{tmp_path}/s.sock"), listener_of("tls://127.0.0.1:0")]
    async with (
        world.running(read_expiries=expiries_reader(files, listeners)) as engine,
        server.serving(engine, listeners=listeners, tls=files, socket_owner="owner") as bound,
        Client(Connection(server=bound[0])) as owner,
    ):

        async def read() -> bool:
            return bool(engine.certificates.expiries)

        await world.until(read)
        (shown,) = (await owner.info()).certificates
        assert shown.expires_at == info_of(files.certificate).not_after
        assert ("is not valid before" in shown.problem) is (valid is AFTER)
        assert any(words in str(vars(record)) for record in caplog.records)
        said = await refused({"server": bound[1], "ca": str(tmp_path / CA)})
        assert ("is not valid yet" if valid is AFTER else "has expired") in said


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        *UNUSABLE,
        (lambda folder: (folder / SERVER).unlink(), "server.pem"),
        (lambda folder: (folder / SERVER).write_text("x"), "holds no certificate in PEM form"),
        (
            lambda folder: (folder / SERVER_KEY).chmod(0o640),
            "others may read it (mode 0640); run: chmod 600",
        ),
        (
            lambda folder: (folder / SERVER_KEY).write_bytes((folder / CA).read_bytes()),
            "is a certificate, and a private key is expected",
        ),
    ],
)
def test_files__that_cannot_be_used_are_refused_at_the_start(
    tmp_path: Path, spoil: Any, words: str
):
    files = made(tmp_path)
    spoil(tmp_path)
    with pytest.raises(ConfigurationError) as caught:
        files.require_usable(clients=True)
    assert words in str(caught.value)


@pytest.mark.parametrize("spoilt", [SERVER, SERVER_KEY, CA])
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda file: file.mkdir(), "it cannot be read: it is a folder"),
        (lambda file: os.mkfifo(file, 0o600), "it cannot be read: it is a pipe"),
        (lambda file: file.symlink_to("/dev/zero"), "it cannot be read: it is a device"),
        (lambda file: file.symlink_to(file), "it cannot be read: Too many levels of symbolic"),
        (lambda file: file.write_bytes(b""), "it is empty"),
        (lambda file: file.write_bytes(b"\x30\x82\x01"), "convert it with openssl"),
        (lambda file: file.write_bytes(bytes(2 << 20)), "it has more than 1048576 bytes"),
    ],
)
def test_file__that_is_none_is_refused_under_the_name_of_its_setting(
    tmp_path: Path, spoilt: str, make: Any, words: str
):
    files = made(tmp_path)
    (tmp_path / spoilt).unlink()
    make(tmp_path / spoilt)
    with pytest.raises(ConfigurationError) as caught:
        files.require_usable(clients=True)
    settings = {SERVER: "tls_certificate", SERVER_KEY: "tls_key", CA: "tls_client_ca"}
    assert (caught.value.field, caught.value.value) == (settings[spoilt], str(tmp_path / spoilt))
    assert words in str(caught.value)
    assert "cryptography" not in str(caught.value)


def test_certificate__in_a_file_with_its_key_is_its_owners_alone(tmp_path: Path):
    files = made(tmp_path)
    both = tmp_path / "both.pem"
    both.write_bytes(files.certificate.read_bytes() + files.key.read_bytes())
    files = TlsFiles(certificate=both, key=files.key)
    both.chmod(0o644)
    with pytest.raises(
        ConfigurationError, match=rf"others may read it \(mode 0644\); run: chmod 600 {both}"
    ):
        files.require_usable(clients=False)
    both.chmod(0o600)
    files.require_usable(clients=False)


@pytest.mark.parametrize(
    ("key", "good"),
    [
        (lambda: ec.generate_private_key(ec.SECP384R1()), True),
        (lambda: rsa.generate_private_key(65537, 2048), True),
        (lambda: rsa.generate_private_key(65537, 1024), False),
        (lambda: ec.generate_private_key(ec.SECP521R1()), False),
        (lambda: ec.generate_private_key(ec.SECP256K1()), False),
        (ed25519.Ed25519PrivateKey.generate, False),
    ],
)
def test_key__that_clients_do_not_accept_is_refused(tmp_path: Path, key: Any, good: bool):
    files, own = TlsFiles(certificate=tmp_path / SERVER, key=tmp_path / SERVER_KEY), key()
    encoding = serialization.Encoding.PEM
    files.certificate.write_bytes(certificate_of(own, names=LOCALHOST))
    pkcs8, none = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    files.key.touch(mode=0o600)
    files.key.write_bytes(own.private_bytes(encoding, pkcs8, none))
    if good:
        files.require_usable(clients=False)
        return
    with pytest.raises(ConfigurationError, match=r"tls_key: .* clients need a key on one of"):
        files.require_usable(clients=False)


def test_authority__is_not_replaced(tmp_path: Path):
    make_authority(tmp_path, now=NOW)
    former = (tmp_path / CA).read_bytes()
    with pytest.raises(CertificateProblem, match="is there already"):
        make_authority(tmp_path, now=NOW)
    assert (tmp_path / CA).read_bytes() == former


def test_files__are_their_owners_alone(tmp_path: Path):
    made(tmp_path / "tls")
    issue_client(tmp_path / "tls", "ci.example.org", now=NOW)
    modes = {file.name: file.stat().st_mode & 0o777 for file in (tmp_path / "tls").iterdir()}
    assert set(modes.values()) == {0o600}
    assert len(modes) == 6


@pytest.mark.parametrize(
    "name",
    [
        *(
            "",
            "a\u00e4.example.org",
            "bad name",
            "a/b",
            "../x",
            "x" * 64,
            ".".join("x" * 50 for _ in range(6)),
        ),
        *(
            "a..b",
            "-a.example.org",
            "a.*.example.org",
            "*",
            "localhost:50051",
            "https://a.example.org",
            "a\n",
        ),
    ],
)
def test_name__that_no_certificate_can_have_is_refused(tmp_path: Path, name: str):
    make_authority(tmp_path, now=NOW)
    with pytest.raises(CertificateProblem, match="invalid name"):
        issue_server(tmp_path, [name], now=NOW)
    with pytest.raises(CertificateProblem, match="invalid name"):
        issue_client(tmp_path, name, now=NOW)
    assert {file.name for file in tmp_path.iterdir()} == {CA, CA_KEY}


@pytest.mark.parametrize(
    "name", ["localhost", "*.example.org", "a_b.example.org", "192.0.2.7", "2001:db8::1", "x1"]
)
def test_name__of_a_server_or_an_address_is_taken(tmp_path: Path, name: str):
    make_authority(tmp_path, now=NOW)
    issue_server(tmp_path, [name], now=NOW)
    assert info_of(tmp_path / SERVER).names == (name,)


def test_client_certificate__without_an_authority_says_how_to_make_one(tmp_path: Path):
    with pytest.raises(
        CertificateProblem, match="there is no CA; make one: tendhostd tls init NAME"
    ):
        issue_client(tmp_path, "ci.example.org", now=NOW)


async def test_client__sends_no_token_in_plain_text_to_another_machine():
    assert Connection(server="192.0.2.1:50051", token="t").encrypted
    assert Connection(server="example.org:50051").encrypted
    assert not Connection(server="127.0.0.1:50051").encrypted
    assert not Connection(server="[::1]:50051").encrypted
    assert not Connection(server="unix:/run/x").encrypted
    assert Connection(server="tls://127.0.0.1:50051").encrypted


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"ca": CA_KEY}, "is a private key, expected a certificate"),
        ({"ca": "missing.pem"}, "cannot be read"),
        ({"certificate": SERVER, "key": CA}, "expected a private key"),
        ({"certificate": SERVER}, "key: required with"),
        ({"key": SERVER_KEY}, "certificate: required with"),
        ({"certificate": SERVER, "key": CA_KEY}, "is not the key of"),
        ({"certificate": SERVER, "key": "open.key"}, "others may read"),
        ({"ca": "."}, "it is a folder, expected a regular file"),
        ({"ca": "fifo"}, "it is a pipe, expected a regular file"),
        ({"ca": "cut.pem"}, "is damaged"),
        ({"ca": "half.pem"}, "is damaged"),
        ({"certificate": "cut.pem", "key": SERVER_KEY}, "is damaged"),
    ],
)
async def test_client__refuses_files_that_are_something_else(
    tmp_path: Path, how: dict[str, str], words: str
):
    made(tmp_path)
    os.mkfifo(tmp_path / "fifo")
    whole = (tmp_path / CA).read_text()
    (tmp_path / "cut.pem").write_text(whole[:200])
    (tmp_path / "half.pem").write_text(whole + whole[:200])
    (tmp_path / "open.key").write_bytes((tmp_path / SERVER_KEY).read_bytes())
    files = {name: str(tmp_path / path) for name, path in how.items()}
    assert words in await refused({"server": "tls://127.0.0.1:1", **files}, InvalidRequest)


async def test_client__lets_no_proxy_read_a_token(world: World, tmp_path: Path, monkeypatch):
    seen: list[bytes] = []

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.read(100))
        writer.close()

    listening = await asyncio.start_server(proxy, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    for name in ("http_proxy", "https_proxy", "grpc_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
    async with listening, served(world, tmp_path, made(tmp_path)) as at:
        assert (await caller(server=at["plain"], token=at["token"])).principal == "kim"
    assert not seen
