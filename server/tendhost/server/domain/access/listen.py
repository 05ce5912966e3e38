"""Addresses to listen on, as users write them, and how calls to each are secured."""

import ipaddress
import re
from dataclasses import dataclass
from enum import StrEnum

TLS_PREFIX = "tls://"
MUTUAL_TLS_PREFIX = "mtls://"
LONGEST_SOCKET_PATH = 107
"""Bytes of the path of a unix socket (unix(7): 108 with the NUL at its end)."""
LISTEN_FORMS = (
    f"unix:/path (at most {LONGEST_SOCKET_PATH} bytes, without the signs % ? #), HOST:PORT (plain text on loopback,"
    " else TLS), tls://HOST:PORT, or mtls://HOST:PORT, where clients need a certificate"
)

_SOCKET_PATH = re.compile(r"/(?!/)[^\x00-\x1f\x7f%?#]*[^\x00-\x1f\x7f%?#/]")
"""gRPC takes the address for a URI: it decodes "%", and clients leave out what follows "?" or "#", so that the socket
would be another one than was checked."""

_SCHEMES = frozenset({"unix", "unix-abstract", "dns", "ipv4", "ipv6", "vsock", "xds", "fd"})
"""What gRPC takes for the scheme of an address (doc/naming.md of gRPC), and not for the name of a host: an abstract
socket would be open to every user, and its callers would look like those of the server's own socket."""


class Security(StrEnum):
    """How calls to an address are secured."""

    SOCKET = "socket"
    """A unix socket, which only its owner may use."""
    PLAIN = "plain"
    """Not encrypted; on loopback only."""
    TLS = "tls"
    MUTUAL_TLS = "mutual_tls"
    """TLS in which the client shows a certificate, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """An address to listen on."""

    address: str
    """As gRPC takes it: "127.0.0.1:50051", "unix:/path"."""
    security: Security

    @property
    def prefix(self) -> str:
        """What users write before the address so that it is secured in this way."""
        prefixes = {Security.TLS: TLS_PREFIX, Security.MUTUAL_TLS: MUTUAL_TLS_PREFIX}
        return prefixes.get(self.security, "")

    @property
    def encrypted(self) -> bool:
        """Whether calls go through TLS."""
        return self.security in (Security.TLS, Security.MUTUAL_TLS)


def listener_of(text: str) -> Listener:
    """The address that a user wrote. Raises ValueError for anything but LISTEN_FORMS."""
    if text.startswith("unix:"):
        return Listener(address=f"unix:{_socket_path(text)}", security=Security.SOCKET)
    for prefix, security in ((TLS_PREFIX, Security.TLS), (MUTUAL_TLS_PREFIX, Security.MUTUAL_TLS)):
        if text.startswith(prefix):
            address = text.removeprefix(prefix)
            _host_of(address)
            return Listener(address=address, security=security)
    loopback = is_loopback(_host_of(text))
    return Listener(address=text, security=Security.PLAIN if loopback else Security.TLS)


def is_loopback(host: str) -> bool:
    """Whether `host` is "localhost" or a loopback address: other names may point anywhere."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _socket_path(text: str) -> str:
    """The path in unix:/path or unix:///path. Raises ValueError."""
    path = text.removeprefix("unix:")
    path = path.removeprefix("//") if path.startswith("///") else path
    if (
        not _SOCKET_PATH.fullmatch(path)
        or len(path.encode("utf-8", "surrogateescape")) > LONGEST_SOCKET_PATH
    ):
        raise ValueError(text)
    return path


def _host_of(address: str) -> str:
    """The host in HOST:PORT, an IPv6 address without its brackets. Raises ValueError."""
    host, _, port = address.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if (
        bare in _SCHEMES
        or "/" in bare
        or not bare
        or not (port.isascii() and port.isdecimal())
        or int(port) > 65535
    ):
        raise ValueError(address)
    if (":" in bare) != host.startswith("["):
        raise ValueError(address)
    bare.encode("idna")  # what a resolver cannot ask for; UnicodeError is a ValueError
    return bare
