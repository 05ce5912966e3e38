"""Addresses to listen on, as users write them, and how calls to each are secured."""

import ipaddress
from dataclasses import dataclass
from enum import StrEnum

TLS_PREFIX = "tls://"
MUTUAL_TLS_PREFIX = "mtls://"
LISTEN_FORMS = (
    "unix:/path, HOST:PORT (plain text on loopback, else TLS), tls://HOST:PORT, or mtls://HOST:PORT, where"
    " clients need a certificate"
)


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


def listener_of(text: str) -> Listener:
    """The address that a user wrote. Raises ValueError for anything but LISTEN_FORMS."""
    if text.startswith("unix:"):
        if len(text) == len("unix:"):
            raise ValueError(text)
        return Listener(address=text, security=Security.SOCKET)
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
    if ":" in bare and not host.startswith("["):
        raise ValueError(address)
    return bare
