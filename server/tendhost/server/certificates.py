"""X.509 certificates: a private CA for small fleets, what a certificate says, and whether its key fits it."""

import ipaddress
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tendhost.server.given_files import FileUnusable, read_given

CA_YEARS = timedelta(days=3650)
LEAF_DAYS = timedelta(days=397)
"""Browsers and Apple's libraries refuse server certificates of more than 398 days."""
_BACKDATED = timedelta(minutes=5)
"""So that a certificate is valid at once on machines whose clocks are behind."""

LARGEST = 1 << 20
"""Bytes of a file: bundles of all public CAs have a quarter of it."""
SHORTEST_RSA_BITS = 2048
"""NIST SP 800-131A, table 2; the TLS library of most systems refuses less."""

LONGEST_NAME = 253
"""Of a DNS name as text (RFC 1035, section 2.3.4)."""
_LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_DNS_NAME = re.compile(rf"(\*\.{_LABEL}\.)?{_LABEL}(\.{_LABEL})*", re.ASCII)
"""With a wildcard for the first label alone (RFC 6125, section 6.4.3), and underscores, which hosts do have."""

CLIENT_NAME = "a DNS name, such as ci.example.org, without a wildcard; an address names no client"
"""What a client certificate is for. One kind of name alone: who may get a certificate for a mailbox or an address is
nobody who may get it for a machine that is called the same."""

CA, CA_KEY = "ca.pem", "ca.key"
SERVER, SERVER_KEY = "server.pem", "server.key"

_BEGIN = b"-----BEGIN CERTIFICATE-----"
_CURVES = ("secp256r1", "secp384r1")
"""Clients of gRPC (BoringSSL) end the connection without a word for any other, and for Ed25519."""


class CertificateProblem(Exception):
    """A file that holds no usable certificate or key, or that cannot be written: which, and why."""

    def __init__(self, path: Path, problem: str) -> None:
        self.path, self.problem = path, problem
        super().__init__(f"{path}: {problem}")


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateInfo:
    """What the first certificate of a file says, and during which time all of its certificates are valid."""

    path: Path
    subject: str
    names: tuple[str, ...]
    """What its subject alternative name has, of any kind."""
    names_server: bool
    """Whether DNS names or IP addresses are among them, by which clients know a server."""
    issuer: str
    authority: bool
    """Whether it is a CA's, which may sign others."""
    not_before: datetime
    not_after: datetime
    """When the first of the certificates expires: with it, the chain is worth nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerPair:
    """A server's certificate, with the chain behind it, and the private key that belongs to it, in PEM form."""

    certificate: bytes
    key: bytes
    info: CertificateInfo
    """Of the certificate alone: clients may do without a part of the chain, such as an expired cross-signed root."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientCertificate:
    """Whose the certificate of a client is, and until when it is valid."""

    names: tuple[str, ...]
    """The DNS names in its subject alternative name, which may be any text."""
    serial: str
    """In hexadecimal digits."""
    expires_at: datetime


_MALFORMED = (
    ValueError,
    TypeError,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""What the library raises of certificates that break the rules of X.509; TLS accepts them all the same."""


def make_authority(folder: Path, *, now: datetime) -> None:
    """Make a CA in `folder`, whose key never leaves it. Raises CertificateProblem, also if there is one.

    A key without a certificate is what an interrupted call leaves: it is used.
    """
    if (folder / CA).exists():
        raise CertificateProblem(folder / CA, "it is there already, and is not replaced")
    key = _authority_key(folder / CA_KEY)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tendhost private CA")])
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    certificate = (
        _builder(name, name, key.public_key(), now=now, lifetime=CA_YEARS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .sign(key, hashes.SHA256())
    )
    _write(folder / CA, certificate.public_bytes(serialization.Encoding.PEM))


def _authority_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """The key of a CA that has no certificate yet: a new one, or that of an interrupted call."""
    if not path.exists():
        key = ec.generate_private_key(ec.SECP256R1())
        _write(path, _pem_of_key(key))
        return key
    try:
        return _key(path, _read(path))
    except CertificateProblem as error:
        remedy = f"there is no {CA} for it: move it away, and run the command again"
        raise CertificateProblem(path, f"{error.problem}; {remedy}") from error


def issue_server(folder: Path, names: Sequence[str], *, now: datetime) -> None:
    """Issue a server certificate for these names and addresses, in place of the former. Raises CertificateProblem."""
    _issue(
        folder,
        (SERVER, SERVER_KEY),
        subject=names[0],
        names=names,
        usage=ExtendedKeyUsageOID.SERVER_AUTH,
        now=now,
    )


def issue_client(folder: Path, name: str, *, now: datetime) -> tuple[Path, Path]:
    """Issue a client certificate for `name`; gives the paths of certificate and key. Raises CertificateProblem."""
    files = (f"client-{name}.pem", f"client-{name}.key")
    if not names_client(name):
        raise CertificateProblem(
            folder / files[0], f"invalid name {name!r}, expected {CLIENT_NAME}"
        )
    _issue(
        folder,
        files,
        subject=name,
        names=(name,),
        usage=ExtendedKeyUsageOID.CLIENT_AUTH,
        now=now,
    )
    return folder / files[0], folder / files[1]


def info_of(path: Path) -> CertificateInfo:
    """What the certificates in `path` say. Raises CertificateProblem."""
    return _info(path, _certificates(path, _read(path)))


def read_pair(certificate: Path, key: Path) -> ServerPair:
    """A server's certificate and its key. Raises CertificateProblem unless the two belong together, clients accept such
    a key, the certificate names a server, and nobody but the owner may read the key."""
    pem, key_pem = _read(certificate), _read(key)
    chain, own = _certificates(certificate, pem), _key(key, key_pem)
    if own.public_key() != chain[0].public_key():
        raise CertificateProblem(key, f"it is not the key of {certificate}")
    _require_strong(key, own)
    info = _info(certificate, chain[:1])
    if not info.names_server:
        problem = "it has no DNS name and no IP address in its subject alternative name, by which clients know a server"
        raise CertificateProblem(certificate, f"{problem}; have its CA issue another")
    return ServerPair(certificate=pem, key=key_pem, info=info)


def read_authorities(path: Path) -> bytes:
    """The certificates of the CAs that client certificates may come from, in PEM form.

    Raises CertificateProblem, also where one of them is no CA's: by TLS, whoever has its key would be a client.
    """
    pem = _read(path)
    for certificate in _certificates(path, pem):
        if not _info(path, [certificate]).authority:
            problem = f"the certificate of {certificate.subject.rfc4514_string()} in it is no CA's"
            raise CertificateProblem(
                path, f"{problem}; expected the CA that issues the certificates of clients"
            )
    return pem


def _info(path: Path, found: Sequence[x509.Certificate]) -> CertificateInfo:
    first = found[0]
    try:
        names, authority = _alternative_names(first), _is_authority(first)
    except _MALFORMED as error:
        raise CertificateProblem(path, f"an extension of it is malformed ({error})") from error
    return CertificateInfo(
        path=path,
        subject=first.subject.rfc4514_string(),
        names=tuple(str(name.value) for name in names),
        names_server=any(isinstance(name, x509.DNSName | x509.IPAddress) for name in names),
        issuer=first.issuer.rfc4514_string(),
        authority=authority,
        not_before=max(certificate.not_valid_before_utc for certificate in found),
        not_after=min(certificate.not_valid_after_utc for certificate in found),
    )


def _require_strong(path: Path, key: object) -> None:
    if isinstance(key, rsa.RSAPrivateKey):
        if key.key_size >= SHORTEST_RSA_BITS:
            return
        found = f"it is an RSA key of {key.key_size} bits"
    elif isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in _CURVES:
        return
    else:
        found = "it is of another kind"
    expected = f"a key on one of the curves {', '.join(_CURVES)}, or an RSA key of {SHORTEST_RSA_BITS} bits or more"
    raise CertificateProblem(path, f"{found}, and clients need {expected}")


def require_names(folder: Path, names: Iterable[str]) -> None:
    """Raise CertificateProblem for a name that no certificate can have."""
    for name in names:
        if not _usable_name(name):
            raise CertificateProblem(
                folder,
                f"invalid name {name!r}, expected the name of a host, such as updates.example.org, or an IP address",
            )


def client_certificate(pem: bytes) -> ClientCertificate:
    """What tells whose the certificate of a client is. Raises ValueError, which says why, for a malformed one."""
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        names = _alternative_names(certificate)
    except _MALFORMED as error:
        problem = "an extension of it, such as its subject alternative name, is malformed"
        raise ValueError(f"{problem}; have its CA issue another") from error
    return ClientCertificate(
        names=tuple(name.value for name in names if isinstance(name, x509.DNSName)),
        serial=f"{certificate.serial_number:x}",
        expires_at=certificate.not_valid_after_utc,
    )


def names_client(name: str) -> bool:
    """Whether a client certificate can be for `name`: see CLIENT_NAME."""
    return _usable_name(name) and not _is_address(name) and not name.startswith("*")


def _is_authority(certificate: x509.Certificate) -> bool:
    """Whether it is a CA's (RFC 5280, sections 4.2.1.3 and 4.2.1.9). Raises _MALFORMED."""
    try:
        if not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return False
    except x509.ExtensionNotFound:
        return False
    try:
        return certificate.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    except x509.ExtensionNotFound:
        return True


def _alternative_names(certificate: x509.Certificate) -> Sequence[x509.GeneralName]:
    """The subject alternative name: nothing where there is none. Raises _MALFORMED."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return ()
    return tuple(found.value)


def _issue(
    folder: Path,
    files: tuple[str, str],
    *,
    subject: str,
    names: Sequence[str],
    usage: x509.ObjectIdentifier,
    now: datetime,
) -> None:
    require_names(folder, names)
    if not (folder / CA).exists():
        raise CertificateProblem(folder / CA, "there is no CA; make one: tendhostd tls init NAME")
    authority, *_ = _certificates(folder / CA, _read(folder / CA))
    authority_key = _key(folder / CA_KEY, _read(folder / CA_KEY))
    # What outlives its CA is refused by clients all the same, and nobody would know why.
    lifetime = min(LEAF_DAYS, authority.not_valid_after_utc - now)
    if lifetime <= timedelta():
        problem = f"it expired at {authority.not_valid_after_utc:%Y-%m-%d}; move it and {CA_KEY} away, and give the new"
        raise CertificateProblem(folder / CA, f"{problem} {CA} to every client")
    key = ec.generate_private_key(ec.SECP256R1())
    wanted = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject[:64])])
    alternatives = x509.SubjectAlternativeName(list(_general_names(names)))
    certificate = (
        _builder(wanted, authority.subject, key.public_key(), now=now, lifetime=lifetime)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(alternatives, critical=False)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()),
            critical=False,
        )
        .sign(authority_key, hashes.SHA256())
    )
    _write(folder / files[1], _pem_of_key(key))
    _write(folder / files[0], certificate.public_bytes(serialization.Encoding.PEM))


def _usable_name(name: str) -> bool:
    return _is_address(name) or (
        len(name) <= LONGEST_NAME and _DNS_NAME.fullmatch(name) is not None
    )


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _general_names(names: Iterable[str]) -> Iterable[x509.GeneralName]:
    for name in names:
        try:
            yield x509.IPAddress(ipaddress.ip_address(name))
        except ValueError:
            yield x509.DNSName(name)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    *,
    now: datetime,
    lifetime: timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + lifetime)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _certificates(path: Path, raw: bytes) -> Sequence[x509.Certificate]:
    """The certificates in the content of a file, at least one. Raises CertificateProblem."""
    if b"PRIVATE KEY-----" in raw and _BEGIN not in raw:
        raise CertificateProblem(path, "it is a private key, and a certificate is expected")
    if _BEGIN not in raw:
        raise CertificateProblem(path, f"it holds no certificate in PEM form{_instead(path, raw)}")
    try:
        return x509.load_pem_x509_certificates(raw)
    except ValueError as error:
        raise CertificateProblem(path, "a certificate in it is damaged") from error


def _key(path: Path, raw: bytes) -> ec.EllipticCurvePrivateKey:
    if _BEGIN in raw and b"PRIVATE KEY-----" not in raw:
        raise CertificateProblem(path, "it is a certificate, and a private key is expected")
    if b"PRIVATE KEY-----" not in raw:
        raise CertificateProblem(path, f"it holds no private key in PEM form{_instead(path, raw)}")
    try:
        key = serialization.load_pem_private_key(raw, password=None)
    except TypeError as error:
        raise CertificateProblem(path, "it has a passphrase; store it without one") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CertificateProblem(
            path, "it holds no private key in PEM form, or it is damaged"
        ) from error
    return key  # type: ignore[return-value]  # other kinds of keys have the same methods


def _instead(path: Path, raw: bytes) -> str:
    """What a file is that is not in PEM form, and what to type."""
    if not raw.strip():
        return ": it is empty"
    if raw.startswith(b"\x30"):  # SEQUENCE: ITU-T X.690, section 8.9
        return ", but in DER form, most likely; convert it with openssl: openssl x509 (for a key: pkey) -inform der"
    return ""


def _pem_of_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _read(path: Path) -> bytes:
    """The content of a file; one with a private key is to be its owner's alone."""
    try:
        found = read_given(path, most=LARGEST)
    except FileUnusable as error:
        raise CertificateProblem(path, f"it {error}") from error
    if b"PRIVATE KEY-----" in found.data and found.exposure:
        raise CertificateProblem(path, found.exposure)
    return found.data


def _write(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    new = path.with_name(f"{path.name}.new")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new.unlink(missing_ok=True)
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        new.replace(path)
    except OSError as error:
        raise CertificateProblem(path, f"it cannot be written ({error.strerror})") from error
