"""Audit records as syslog messages (RFC 5424), and the addresses of the receivers."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit

from tendhost.server.domain.access.audit import OK, STARTED, AuditEntry, json_of

FACILITIES: Mapping[str, int] = {
    "user": 1,
    "daemon": 3,
    "auth": 4,
    "authpriv": 10,
    "audit": 13,
    **{f"local{number}": 16 + number for number in range(8)},
}
"""RFC 5424, section 6.2.1, table 1, with the names of syslog(3); syslog(3) has none for 13, "log audit"."""
WARNING, NOTICE = 4, 5
"""RFC 5424, section 6.2.1, table 2: of refusals, and of all others."""
APP_NAME = "tendhostd"
ADDRESSES = "unix:/PATH, udp://HOST:PORT or tcp://HOST:PORT"
_UNPRINTABLE = re.compile(r"[^\x21-\x7e]")
"""RFC 5424, section 6: what is not PRINTUSASCII."""


class Transport(StrEnum):
    """How messages travel."""

    UNIX = "unix"
    """Datagrams to a unix socket, such as /dev/log."""
    UDP = "udp"
    """RFC 5426: a message a datagram."""
    TCP = "tcp"
    """RFC 6587, section 3.4.1: octet counting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SyslogAddress:
    """Where messages are sent."""

    transport: Transport
    host: str = ""
    port: int = 0
    path: str = ""
    """Of a unix socket."""


def syslog_address(text: str) -> SyslogAddress:
    """An address as users write it, one of ADDRESSES. Raises ValueError."""
    if text.startswith("unix:/"):
        return SyslogAddress(transport=Transport.UNIX, path=text.removeprefix("unix:"))
    invalid = ValueError(f"expected {ADDRESSES}")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:  # a port beyond 65535, a bracket that is not closed
        raise invalid from None
    beside = parts.username or parts.path or parts.query or parts.fragment
    if parts.scheme not in ("udp", "tcp") or not host or not port or beside:
        raise invalid
    return SyslogAddress(transport=Transport(parts.scheme), host=host, port=port)


def message_of(
    entry: AuditEntry, document: Mapping[str, object], *, facility: int, host: str
) -> bytes:
    """The message of a record. `document` is the record as it leaves the server, `host` the server's name.

    The message is in JSON, and so in ASCII and without control characters, whatever the record holds.
    """
    record = entry.record
    severity = NOTICE if record.result in (OK, STARTED) else WARNING
    method = record.method.rpartition("/")[2]
    header = (
        f"<{facility * 8 + severity}>1",
        f"{record.at:%Y-%m-%dT%H:%M:%S.%fZ}",
        _name(host, 255),
        APP_NAME,
        "-",
        _name(method, 32),
        "-",
    )
    return f"{' '.join(header)} {json_of(document)}".encode("ascii")


def framed(messages: list[bytes]) -> bytes:
    """Messages for a TCP connection, each behind its length (RFC 6587, section 3.4.1)."""
    return b"".join(b"%d %s" % (len(message), message) for message in messages)


def _name(text: str, longest: int) -> str:
    """A field of the header; "-" where there is no value (NILVALUE)."""
    return _UNPRINTABLE.sub("", text)[:longest] or "-"
