"""Audit sinks, made of their settings."""

import os
import socket
from collections.abc import Sequence
from pathlib import Path

from tendhost.server.config import WEB_URL, AuditSinkSettings, is_web_url
from tendhost.server.domain.access.syslog import ADDRESSES, FACILITIES, syslog_address
from tendhost.server.domain.request_errors import ConfigurationError
from tendhost.server.given_files import FileUnusable, read_given
from tendhost.server.outbound.audit_file import FileSink
from tendhost.server.outbound.audit_sink import AuditSink
from tendhost.server.outbound.audit_syslog import SyslogSink
from tendhost.server.outbound.audit_webhook import WebhookSink

KEYS = {
    "file": ("path", "max_size", "keep"),
    "syslog": ("address", "facility"),
    "webhook": ("url", "secret_file", "secret_credential"),
}
"""The keys of each kind of sink, beside its name and its kind."""
SHORTEST_SECRET = 16
"""Bytes. HMAC-SHA256 asks for as many as it has digits (RFC 2104, section 3: 32); fewer than half can be guessed."""
LONGEST_SECRET = 65536


def require_own_files(tables: Sequence[AuditSinkSettings]) -> None:
    """Raise ConfigurationError where two sinks would write or rotate the same file."""
    taken: set[str] = set()
    for table in tables:
        if table.kind != "file":
            continue
        path = os.path.realpath(table.path)
        files = {path, *(f"{path}.{number}" for number in range(1, table.keep + 1))}
        if files & taken:
            raise ConfigurationError(
                field=f"audit_sink {table.name!r}: path",
                value=table.path,
                expected="a file that no other sink writes or rotates",
            )
        taken |= files


def audit_sink(table: AuditSinkSettings, credentials: Path | None) -> AuditSink:
    """The sink of one `[[audit_sink]]`; `credentials` is the folder of credentials. Raises ConfigurationError."""
    where = f"audit_sink {table.name!r}"
    if table.kind not in KEYS:
        raise ConfigurationError(
            field=f"{where}: kind", value=table.kind, expected=" or ".join(KEYS)
        )
    _require_own_keys(table, where)
    if table.kind == "file":
        return _file_sink(table, where)
    if table.kind == "syslog":
        return _syslog_sink(table, where)
    if not is_web_url(table.url):
        raise ConfigurationError(field=f"{where}: url", value="…", expected=WEB_URL)
    return WebhookSink(table.name, table.url, secret=_secret(table, where, credentials))


def _require_own_keys(table: AuditSinkSettings, where: str) -> None:
    """Raise ConfigurationError for a key of another kind: it would do nothing."""
    default = AuditSinkSettings(name=table.name, kind=table.kind)
    for kind, keys in KEYS.items():
        for key in keys:
            if kind != table.kind and getattr(table, key) != getattr(default, key):
                raise ConfigurationError(
                    field=f"{where}: {key}",
                    value="…",
                    expected=f"this key with the kind {kind} only",
                )


def _file_sink(table: AuditSinkSettings, where: str) -> FileSink:
    path = Path(table.path)
    if not path.is_absolute() or not path.parent.is_dir():
        raise ConfigurationError(
            field=f"{where}: path",
            value=table.path,
            expected="the absolute path of a file in a folder that exists",
        )
    return FileSink(path, max_size=table.max_size, keep=table.keep)


def _syslog_sink(table: AuditSinkSettings, where: str) -> SyslogSink:
    try:
        address = syslog_address(table.address)
    except ValueError:
        raise ConfigurationError(
            field=f"{where}: address", value=table.address, expected=ADDRESSES
        ) from None
    if table.facility not in FACILITIES:
        raise ConfigurationError(
            field=f"{where}: facility",
            value=table.facility,
            expected=f"one of {', '.join(FACILITIES)}",
        )
    return SyslogSink(address, facility=FACILITIES[table.facility], host=socket.gethostname())


def _secret(table: AuditSinkSettings, where: str, credentials: Path | None) -> bytes:
    """The secret of a webhook, without the white space around it."""
    if bool(table.secret_file) == bool(table.secret_credential):
        raise ConfigurationError(
            field=where, value="", expected="either a secret_file or a secret_credential"
        )
    name = table.secret_credential
    if name and (credentials is None or Path(name).name != name):
        raise ConfigurationError(
            field=f"{where}: secret_credential",
            value=name,
            expected="the name of a credential of the service ($CREDENTIALS_DIRECTORY)",
        )
    path = credentials / name if name and credentials else Path(table.secret_file)
    try:
        # A credential is in a folder of the service's own, whatever its mode.
        return _read_secret(path, private=not name)
    except (FileUnusable, ValueError) as error:
        problem = f"it {error}" if isinstance(error, FileUnusable) else error
        raise ConfigurationError(
            field=f"{where}: secret_{'credential' if name else 'file'}",
            value=str(path),
            expected=f"a file with {SHORTEST_SECRET} bytes or more that its owner alone can read ({problem})",
        ) from error


def _read_secret(path: Path, *, private: bool) -> bytes:
    """Raises FileUnusable, and ValueError for what is no secret."""
    found = read_given(path, most=LONGEST_SECRET)
    if private and found.exposure:
        raise ValueError(found.exposure)
    secret = found.data.strip()
    if len(secret) < SHORTEST_SECRET:
        raise ValueError(f"it has {len(secret)} bytes")
    return secret
