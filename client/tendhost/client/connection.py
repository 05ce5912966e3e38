"""Connections: which server is meant, how calls to it are secured, and which credential goes with them."""

import ipaddress
import os
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import grpc

from tendhost.client.contexts import LARGEST_FILE, Context, Contexts
from tendhost.client.errors import InvalidRequest
from tendhost.client.given_files import FileUnusable, GivenFile, read_given

DEFAULT_TARGET = "127.0.0.1:50051"
SERVER_VARIABLE, TOKEN_VARIABLE, CA_VARIABLE = "TENDHOST_SERVER", "TENDHOST_TOKEN", "TENDHOST_CA"
_TLS_PREFIXES = ("tls://", "mtls://")
_HOST_AND_PORT = re.compile(
    r"(?!(unix|unix-abstract|dns|ipv4|ipv6|vsock):)([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):(?P<port>[0-9]{1,5})",
    re.ASCII,
)
"""Names and addresses, and no scheme of gRPC's own (doc/naming.md of gRPC)."""
LAST_PORT = 65535
LONGEST_TOKEN = 16 << 10
"""Characters. A server takes no more metadata with a call than this, of which the token is most."""
_SOCKET_ADDRESS = re.compile(r"unix:(?:///|(?!//))[^\x00-\x1f\x7f%?#,]+")
"""gRPC takes it for a URI: it decodes "%", leaves out what follows "?" or "#", and takes unix://a for a host."""
_CERTIFICATES = re.compile(
    r"-----BEGIN CERTIFICATE-----.*?(?:-----END CERTIFICATE-----|\Z)", re.DOTALL
)
_SOCKET = "tendhostd.sock"
SYSTEM_FOLDER = Path("/run/tendhost")
"""Of a server that root or a service runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """A server, and what is needed to call it."""

    server: str
    """HOST:PORT (TLS unless it is a loopback address), tls://HOST:PORT, or unix:/path; several addresses of one server,
    such as those of its replicas, with commas: the first one that answers is used until it fails."""
    token: str = field(default="", repr=False)
    """A bearer token; empty: none is sent."""
    ca: str = ""
    """Path of the certificates of the CAs that the server's may come from; empty: those of the system."""
    certificate: str = ""
    """Path of a client certificate, for servers that ask for one."""
    key: str = ""
    """Path of its private key."""

    def __post_init__(self) -> None:
        """Raises InvalidRequest for anything but the forms of `server`.

        gRPC takes a port modulo 65536, and 443 where there is none: another program would get the token.
        """
        if "," in self.server:
            self._require_alike()
            return
        if not self.server.startswith("unix:"):
            match = _HOST_AND_PORT.fullmatch(_without_prefix(self.server))
            usable = match is not None and int(match["port"]) <= LAST_PORT
        else:
            usable = _SOCKET_ADDRESS.fullmatch(self.server) is not None
        if not usable:
            raise InvalidRequest(
                f"server: invalid address {self.server!r}, expected HOST:PORT, tls://HOST:PORT or unix:/path"
            )

    def _require_alike(self) -> None:
        """Raise InvalidRequest where one of several addresses is none, or a token would go encrypted to some only."""
        encrypted = {address.encrypted for address in self.addresses}
        if len(encrypted) > 1:
            raise InvalidRequest(
                f"server: of {self.server!r} some addresses have TLS and some have none; begin all of them with tls://"
            )

    @property
    def addresses(self) -> tuple["Connection", ...]:
        """Connections to each of the addresses, in their order."""
        return tuple(replace(self, server=one.strip()) for one in self.server.split(","))

    @property
    def target(self) -> str:
        """The server as gRPC takes it, of one that has a single address."""
        if self.server.startswith(_TLS_PREFIXES):
            return _without_prefix(self.server)
        host, _, port = self.server.rpartition(":")
        if host == "localhost" and not self.encrypted:
            # The name has two addresses, on either of which somebody else may listen.
            return f"127.0.0.1:{port}"
        return self.server

    @property
    def encrypted(self) -> bool:
        """Whether calls to a single address go through TLS.

        To other machines always, for a token must not be read on the way.
        """
        if self.server.startswith("unix:"):
            return False
        return bool(
            self.server.startswith(_TLS_PREFIXES) or self.ca or not _is_loopback(self.server)
        )

    def credentials(self) -> grpc.ChannelCredentials | None:
        """For the channel; None: it is not encrypted. Raises InvalidRequest where a file cannot be used."""
        if not self.encrypted:
            return None
        roots = _pem(self.ca, "ca", "CERTIFICATE")
        _require_certificates(self.ca, "ca", roots)
        chain = _pem(self.certificate, "certificate", "CERTIFICATE")
        _require_certificates(self.certificate, "certificate", chain)
        key = _pem(self.key, "key", "PRIVATE KEY")
        _require_pair(self.certificate, self.key)
        return grpc.ssl_channel_credentials(
            root_certificates=roots, private_key=key, certificate_chain=chain
        )

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What goes with each call. Raises InvalidRequest for a token that cannot be sent."""
        if not self.token:
            return ()
        if len(self.token) > LONGEST_TOKEN:
            raise InvalidRequest(
                f"token: it has {len(self.token)} characters, and a server takes at most {LONGEST_TOKEN}; take a token"
                " of tendhost (tendhost token create), or have the issuer leave claims out of the JWT"
            )
        if not (self.token.isascii() and self.token.isprintable()) or " " in self.token:
            raise InvalidRequest(
                "token: it holds spaces or letters that no token has; copy it again into TENDHOST_TOKEN, or log in"
                " again: tendhost login"
            )
        return (("authorization", f"Bearer {self.token}"),)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Unnamed(Connection):
    """A server that nobody has named, at a port where every user of this machine may listen."""

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Raises InvalidRequest rather than to show a token to whoever listens; a certificate says who that is."""
        if self.token and not self.encrypted:
            raise InvalidRequest(
                f"the token was not sent: no server is named, and every user of this machine may listen at"
                f" {self.server}; name the server: --server ADDRESS, or {SERVER_VARIABLE}"
            )
        return Connection.metadata(self)


def default_connection(
    environment: Mapping[str, str], contexts: Contexts, *, server: str = ""
) -> Connection:
    """The server that is meant by somebody who says nothing, or only `server`.

    TENDHOST_SERVER, TENDHOST_TOKEN and TENDHOST_CA beat the current context, which beats the unix socket of a
    server on this machine, which beats DEFAULT_TARGET. Token and CA of a context go to its own server only, and
    so do those of the environment where that names a server. To DEFAULT_TARGET goes no token unless somebody names it.
    """
    of_environment = environment.get(SERVER_VARIABLE, "")
    named = server or of_environment
    if of_environment not in ("", named):
        environment = {
            name: value
            for name, value in environment.items()
            if name not in (TOKEN_VARIABLE, CA_VARIABLE)
        }
    current = contexts.current
    if current is None and contexts.current_name and not named:
        # The server on this machine instead would get commands that are meant for another one.
        remedy = f"choose one: tendhost context use NAME (the contexts: {contexts.names})"
        if not contexts.contexts:
            remedy = "there is no context any more; log in: tendhost login --server ADDRESS"
        raise InvalidRequest(
            f"the current context {contexts.current_name!r} is not there; {remedy}"
        )
    if current is not None and named in ("", current.server):
        found = _of_context(current)
    elif chosen := named or _own_socket(environment):
        found = Connection(server=chosen)
    else:
        found = _Unnamed(server=DEFAULT_TARGET)
    return replace(
        found,
        token=environment.get(TOKEN_VARIABLE) or found.token,
        ca=environment.get(CA_VARIABLE) or found.ca,
    )


def _of_context(context: Context) -> Connection:
    try:
        return Connection(
            server=context.server,
            token=context.token,
            ca=context.ca,
            certificate=context.certificate,
            key=context.key,
        )
    except InvalidRequest as error:
        raise InvalidRequest(
            f"context {context.name!r}: {error.message}; log in again, or delete the context:"
            f" tendhost context delete {context.name}"
        ) from error


def _without_prefix(server: str) -> str:
    return server.removeprefix("mtls://").removeprefix("tls://")


def _own_socket(environment: Mapping[str, str]) -> str:
    """The unix socket of a server that this user may use; empty: there is none."""
    runtime = environment.get("XDG_RUNTIME_DIR", "")
    state = environment.get("XDG_STATE_HOME", "")
    folders = (
        *([Path(runtime) / "tendhost"] if Path(runtime).is_absolute() else []),
        SYSTEM_FOLDER,
        (Path(state) if Path(state).is_absolute() else Path.home() / ".local/state") / "tendhost",
    )
    for folder in folders:
        try:
            if _may_use(folder / _SOCKET, of_anybody=folder == SYSTEM_FOLDER):
                return f"unix:{folder / _SOCKET}"
        except PermissionError:
            continue  # somebody else's
    return ""


def _may_use(path: Path, *, of_anybody: bool) -> bool:
    """Whether a path is a socket that this user may use, and its own unless it may be `of_anybody`."""
    # Root may use each user's, by an environment that was left to it; the system's folder only root can make.
    return (
        path.is_socket()
        and os.access(path, os.R_OK | os.W_OK)
        and (of_anybody or path.stat().st_uid == os.geteuid())
    )


def _is_loopback(server: str) -> bool:
    host = server.rpartition(":")[0].removeprefix("[").removesuffix("]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _pem(path: str, what: str, kind: str) -> bytes | None:
    if not path:
        return None
    given = _read(Path(path).expanduser(), what)
    content = given.data
    if f"{kind}-----".encode() not in content:
        found = "a private key" if b"PRIVATE KEY-----" in content else "something else"
        wanted = "a private key" if kind == "PRIVATE KEY" else "a certificate"
        raise InvalidRequest(f"{what}: {path!r} is {found}, expected {wanted} in PEM form")
    if b"PRIVATE KEY-----" in content and given.exposed:
        raise InvalidRequest(
            f"{what}: others may read {path!r}, which has a private key; run: chmod 600 {path}"
        )
    return content


def _read(path: Path, what: str) -> GivenFile:
    """Raises InvalidRequest."""
    try:
        return read_given(path, most=LARGEST_FILE)
    except FileUnusable as error:
        raise InvalidRequest(f"{what}: {str(path)!r} {error}") from error


def _require_certificates(path: str, what: str, content: bytes | None) -> None:
    """Raise InvalidRequest for certificates that TLS libraries cannot read: gRPC would only say that nobody answers."""
    if content is None:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(
            cadata="\n".join(_CERTIFICATES.findall(content.decode("ascii", "replace")))
        )
    except (ssl.SSLError, ValueError) as error:
        raise InvalidRequest(
            f"{what}: {path!r} has a certificate that is damaged; copy the file again"
        ) from error


def _require_pair(certificate: str, key: str) -> None:
    """Raise InvalidRequest for a client certificate without its private key, or with another one."""
    if bool(certificate) != bool(key):
        missing, given = ("key", certificate) if certificate else ("certificate", key)
        raise InvalidRequest(
            f"{missing}: required with {given!r}; a client certificate needs both files"
        )
    if not certificate:
        return
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        # With a passphrase: without one, OpenSSL would ask for it at the terminal.
        context.load_cert_chain(Path(certificate).expanduser(), Path(key).expanduser(), lambda: "")
    except (ssl.SSLError, OSError, ValueError) as error:
        raise InvalidRequest(
            f"key: {key!r} is damaged, has a passphrase, or is not the key of {certificate!r}"
        ) from error
