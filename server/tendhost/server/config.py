"""The server's configuration: read once from a TOML file, the environment and the command line.

The command line beats the environment, the environment beats the file, the file beats the defaults.
"""

import base64
import difflib
import os
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar, get_type_hints
from urllib.parse import urlsplit

from tendhost.server.given_files import FileMissing, FileUnusable, read_given

T = TypeVar("T")

DEFAULT_PORT = "127.0.0.1:50051"
SOCKET = "tendhostd.sock"
LARGEST_CONFIG = 4 << 20
"""Bytes of the configuration file; a thousand tables have a tenth of it."""


class SettingError(Exception):
    """A setting that cannot be used: which, its value, and what was expected."""

    def __init__(self, *, setting: str, value: object, expected: str) -> None:
        self.setting, self.value, self.expected = setting, value, expected
        super().__init__(f"{setting}: invalid value {value!r}, expected {expected}")


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifySettings:
    """One `[[notify]]` of the file: a target of notifications."""

    name: str
    """By which it is known; another name is another target."""
    urls: tuple[str, ...] = field(repr=False)
    """Apprise URLs. They hold secrets."""
    events: tuple[str, ...] = ()
    """What it hears of; empty: of everything."""
    groups: tuple[str, ...] = ()
    """Only of hosts in one of them, and of rollouts with such hosts; empty: of all."""
    tags: tuple[str, ...] = ()
    """Only of hosts with one of them, and of rollouts with such hosts; empty: of all."""
    title: str = ""
    """A template; empty: a title that fits."""
    body: str = ""
    """A template; empty: a text that fits."""
    per_minute: int = 20
    """Messages in any minute, 1 to 600; what is beyond is gathered to one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditSinkSettings:
    """One `[[audit_sink]]` of the file: where audit records are sent."""

    name: str
    """By which it is known; another name is another sink."""
    kind: str
    """file, syslog or webhook."""
    path: str = ""
    """Of the file."""
    max_size: int = 100_000_000
    """Bytes of the file, before it is rotated: 65536 to 1e12."""
    keep: int = 10
    """Number of rotated files, 1 to 1000."""
    address: str = "unix:/dev/log"
    """Of the syslog receiver."""
    facility: str = "authpriv"
    """Of syslog messages."""
    url: str = field(default="", repr=False)
    """Of the webhook. May hold secrets."""
    secret_file: str = ""
    """Path of the file with the secret by which documents are signed. Either this or `secret_credential`."""
    secret_credential: str = ""
    """Name of a file with it in the folder of credentials."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostCaSettings:
    """One `[[host_ca]]` of the file: an authority that signs the certificates of hosts."""

    name: str
    file: str
    """Path of its public keys, one a line."""
    groups: tuple[str, ...] = ()
    """The groups whose hosts it vouches for; empty: those of the whole fleet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WaveHookSettings:
    """One `[[wave_hook]]` of the file: what is run on the server between waves."""

    name: str
    when: str
    """before_wave or after_wave."""
    command: tuple[str, ...] = ()
    """A program and its arguments, run without a shell. Either this or `url`."""
    url: str = field(default="", repr=False)
    """Where a JSON document is posted to. May hold secrets."""
    timeout: float = 60.0
    """For the command to end or the whole answer, 0.1 to 86400."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientCertificateSettings:
    """One `[[client_certificate]]` of the file: what a client with a certificate for this name may do."""

    name: str
    """As in the subject alternative name of the certificate."""
    roles: tuple[str, ...]
    """viewer, operator, approver, admin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OidcIssuerSettings:
    """One `[[oidc_issuer]]` of the file: an issuer of JWTs, and what its tokens are good for."""

    name: str
    """By which it is known in errors and audit records: letters, digits, ".", "_", "-"."""
    issuer: str
    """The claim `iss` of its tokens, to the letter."""
    audience: tuple[str, ...]
    """A token must be for one of them."""
    jwks_url: str = ""
    """The https address of its public keys. Either this or `jwks_file`."""
    jwks_file: str = ""
    """Path of its public keys, a JWK set."""
    allow_http_on_loopback: bool = False
    """Whether `jwks_url` may be an http address of this machine."""
    algorithms: tuple[str, ...] = ()
    """With which tokens may be signed; empty: with any that needs a private key."""
    leeway: float = 30.0
    """By how much the clocks may differ, 0 to 300."""
    principal_claim: str = "sub"
    """The claim with the caller's name."""
    principal_prefix: str = "{name}+"
    """Stands before the caller's name; {name} is the issuer's."""
    roles_claim: str = "roles"
    """The claim whose values give roles."""
    viewer: tuple[str, ...] = ()
    """The values that give this role."""
    operator: tuple[str, ...] = ()
    approver: tuple[str, ...] = ()
    admin: tuple[str, ...] = ()
    groups_claim: str = ""
    """The claim with the groups of hosts that callers are bound to; empty: none binds them."""
    all_tags_claim: str = ""
    """The claim with tags that a host must all have."""
    any_tags_claim: str = ""
    """The claim with tags of which a host must have one."""
    unbound: tuple[str, ...] = ()
    """The values of `roles_claim` whose callers are bound to no hosts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that an operator may set. Durations are in seconds."""

    listen: tuple[str, ...] = (DEFAULT_PORT,)
    """Where to serve: unix:/path, HOST:PORT, tls://HOST:PORT, mtls://HOST:PORT. By default a unix socket in the
    runtime folder, and DEFAULT_PORT."""
    auth: str = "required"
    """required: every call needs a credential. none: whoever reaches a loopback address or a unix socket may do
    everything."""
    tls_certificate: Path | None = None
    """The server's certificate, with those between it and the CA. By default that of `tendhostd tls init`."""
    tls_key: Path | None = None
    """Its private key."""
    tls_client_ca: Path | None = None
    """The CA of client certificates. By default that of `tendhostd tls init`."""
    state_dir: Path = Path()
    """The folder of the database. By default $XDG_STATE_HOME/tendhost, else ~/.local/state/tendhost."""
    store: str = field(default="", repr=False)
    """The address of a PostgreSQL database, which may hold a password; empty: SQLite, in `state_dir`."""
    log_level: str = "info"
    """debug, info, warning or error."""
    operations_at_once: int = 64
    """How many operations run side by side, 1 to 10000; the others wait."""
    connect_timeout: float = 15.0
    """For the TCP connection to a host, 0.1 to 600."""
    login_timeout: float = 30.0
    """For the SSH handshake and authentication, 0.1 to 600."""
    query_timeout: float = 300.0
    """For a look at a host, the refresh of its package lists included, 1 to 86400."""
    apply_timeout: float = 7200.0
    """For a whole upgrade, 1 to 86400."""
    lock_timeout: float = 300.0
    """How long to wait for another user of the package manager, 0 to 86400."""
    reboot_timeout: float = 600.0
    """For a host to come back from a reboot, 1 to 86400."""
    verify_timeout: float = 120.0
    """For a host's health to settle after a change, 1 to 86400."""
    gone_timeout: float = 1800.0
    """For a host to answer again that went silent while an upgrade ran on it, 1 to 86400."""
    operation_timeout: float = 21600.0
    """For a whole operation; after it nothing more of the host is changed. 1 to 604800."""
    operation_log_limit: int = 16 * 1024 * 1024
    """Bytes of one operation's log that are kept, half of its beginning and half of its end, 65536 to
    1073741824. The middle is left out, with a line that says how much it was."""
    attempts: int = 4
    """How often a step is tried that fails with what passes by itself, such as a lock or a host that
    refuses the connection, 1 to 100. The pauses grow from 2 s to a minute."""
    history_days: int = 90
    """How long ended operations, logs and events are kept, 1 to 36500."""
    history_events: int = 1_000_000
    """How many events are kept at most, 1000 to 1000000000."""
    held_up_after: float = 3600.0
    """People are told of a rollout that a disruption budget has held up for so long, 60 to 604800."""
    calls_per_second: int = 150
    """Calls of one principal, 1 to 100000; one that takes long counts as several."""
    mutations_per_second: int = 50
    """Calls of one principal that change something or ask a host, 1 to 100000."""
    streams_per_principal: int = 64
    """Open streams of one principal, 1 to 100000."""
    operations_in_flight: int = 10_000
    """Unfinished operations that users may start, 1 to 1000000; those that are queued or of a rollout do not count."""
    queued_per_host: int = 16
    """Operations that users may queue for one host, 1 to 1000."""
    unfinished_rollouts: int = 1_000
    """Rollouts that run, wait, are paused or are halted, 1 to 100000."""
    notify: tuple[NotifySettings, ...] = ()
    """Whom to tell of what happens. In the file only."""
    audit_sink: tuple[AuditSinkSettings, ...] = ()
    """Where audit records are sent. In the file only."""
    host_ca: tuple[HostCaSettings, ...] = ()
    """Who signs the certificates of hosts. In the file only."""
    client_certificate: tuple[ClientCertificateSettings, ...] = ()
    """The roles of clients with certificates. In the file only."""
    oidc_issuer: tuple[OidcIssuerSettings, ...] = ()
    """Issuers of JWTs that are credentials. In the file only."""
    wave_hook: tuple[WaveHookSettings, ...] = ()
    """What to run between waves. In the file only."""
    ssh_key: bytes | None = field(default=None, repr=False)
    """A private key for hosts whose configuration names none, from TENDHOST_SSH_KEY (base64)."""


_BOUNDS: Mapping[str, tuple[float, float]] = {
    "operations_at_once": (1, 10_000),
    "connect_timeout": (0.1, 600),
    "login_timeout": (0.1, 600),
    "query_timeout": (1, 86_400),
    "apply_timeout": (1, 86_400),
    "lock_timeout": (0, 86_400),
    "reboot_timeout": (1, 86_400),
    "verify_timeout": (1, 86_400),
    "gone_timeout": (1, 86_400),
    "operation_timeout": (1, 604_800),
    "operation_log_limit": (65_536, 1_073_741_824),
    "calls_per_second": (1, 100_000),
    "mutations_per_second": (1, 100_000),
    "streams_per_principal": (1, 100_000),
    "operations_in_flight": (1, 1_000_000),
    "queued_per_host": (1, 1_000),
    "unfinished_rollouts": (1, 100_000),
    "attempts": (1, 100),
    "history_days": (1, 36_500),
    "history_events": (1_000, 1_000_000_000),
    "held_up_after": (60, 604_800),
    "per_minute": (1, 600),
    "timeout": (0.1, 86_400),
    "max_size": (65_536, 1_000_000_000_000),
    "keep": (1, 1_000),
    "leeway": (0, 300),
}
_CHOICES: Mapping[str, tuple[str, ...]] = {
    "log_level": ("debug", "info", "warning", "error"),
    "auth": ("required", "none"),
}
_FROM_ENVIRONMENT_ONLY = "ssh_key"
_NAMES = tuple(f.name for f in fields(Settings) if f.name != _FROM_ENVIRONMENT_ONLY)
_TABLES: Mapping[str, type[Any]] = {
    "notify": NotifySettings,
    "audit_sink": AuditSinkSettings,
    "host_ca": HostCaSettings,
    "wave_hook": WaveHookSettings,
    "client_certificate": ClientCertificateSettings,
    "oidc_issuer": OidcIssuerSettings,
}
_SECRET = ("url", "urls", "command", "store")
WEB_URL = "an http or https URL"
_WHEN = ("before_wave", "after_wave")


def load_settings(
    *, file: Path | None, environment: Mapping[str, str], options: Mapping[str, Any]
) -> Settings:
    """The settings of this run.

    `file` None means $XDG_CONFIG_HOME/tendhost/tendhostd.toml if there is one. Variables are
    `TENDHOST_` with a setting's name in upper case. Options that are None are not given. Raises
    SettingError, for an unknown key too.
    """
    settings = Settings(state_dir=_folder(environment, "XDG_STATE_HOME", ".local/state"))
    settings = replace(settings, **_from_file(file, environment))
    settings = replace(settings, **_from_environment(environment))
    if settings.listen == Settings().listen:
        socket = runtime_socket(environment, settings.state_dir)
        settings = replace(settings, listen=(f"unix:{socket}", DEFAULT_PORT))
    given = {k: _value(Settings, k, v, k) for k, v in options.items() if v is not None}
    return replace(settings, **given)


def _from_file(file: Path | None, environment: Mapping[str, str]) -> dict[str, Any]:
    path = file or _folder(environment, "XDG_CONFIG_HOME", ".config") / "tendhostd.toml"
    try:
        text = read_given(path, most=LARGEST_CONFIG).data.decode("utf-8")
    except FileUnusable as error:
        if file is None and isinstance(error, FileMissing):
            return {}
        raise SettingError(
            setting="config", value=str(path), expected=f"a TOML file (it {error})"
        ) from error
    except UnicodeDecodeError as error:
        raise SettingError(
            setting="config", value=str(path), expected=f"a TOML file in UTF-8 ({error})"
        ) from error
    try:
        table = tomllib.loads(text)
    except (
        ValueError,
        RecursionError,
    ) as error:  # TOMLDecodeError, too many digits, too many brackets
        raise SettingError(
            setting="config", value=str(path), expected=f"a TOML file ({error})"
        ) from error
    _require_known(table, _NAMES, str(path))
    return {
        key: _records(_TABLES[key], value, f"{path}: {key}")
        if key in _TABLES
        else _value(Settings, key, value, f"{path}: {key}")
        for key, value in table.items()
    }


def _require_known(table: Mapping[str, Any], names: tuple[str, ...], source: str) -> None:
    for key in table:
        if key not in names:
            near = difflib.get_close_matches(key, names, n=1)
            known = f"a known key; did you mean {near[0]!r}?" if near else ""
            expected = known or f"one of {', '.join(names)}"
            raise SettingError(setting=source, value=key, expected=expected)


def _records(kind: type[T], tables: Any, source: str) -> tuple[T, ...]:
    """Tables of an array of tables. Each is known by its name, of which there is but one."""
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        key = source.rpartition(" ")[2]
        # It may hold secrets wherever it stands, so it is not repeated.
        raise SettingError(setting=source, value="…", expected=f"tables headed [[{key}]]")
    found: dict[str, T] = {}
    for number, table in enumerate(tables, start=1):
        name = table.get("name")
        known = isinstance(name, str) and name != ""
        record = _record(kind, table, f"{source} {name!r}" if known else f"{source} {number}")
        if name in found:
            raise SettingError(setting=source, value=name, expected="a name of its own for each")
        found[str(name)] = record
    return tuple(found.values())


def _record(kind: type[T], table: Mapping[str, Any], source: str) -> T:
    columns = fields(kind)  # type: ignore[arg-type]
    _require_known(table, tuple(column.name for column in columns), source)
    for column in columns:
        if column.default is MISSING and not table.get(column.name):
            raise SettingError(setting=source, value="", expected=f"a {column.name!r}")
    values = {key: _value(kind, key, value, f"{source}: {key}") for key, value in table.items()}
    record = kind(**values)
    if isinstance(record, WaveHookSettings):
        _require_hook(record, source)
    return record


def _require_hook(hook: WaveHookSettings, source: str) -> None:
    if hook.when not in _WHEN:
        raise SettingError(setting=f"{source}: when", value=hook.when, expected=" or ".join(_WHEN))
    if bool(hook.command) == bool(hook.url):
        raise SettingError(setting=source, value=hook.name, expected="either a command or a url")
    if hook.url and not is_web_url(hook.url):
        raise SettingError(setting=f"{source}: url", value="…", expected=WEB_URL)


def is_web_url(url: str) -> bool:
    """Whether a document can be posted to `url`."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        return usable and url.isascii()
    except ValueError:
        return False


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in (name for name in _NAMES if name not in _TABLES):
        variable = f"TENDHOST_{name.upper()}"
        if environment.get(variable):
            found[name] = _value(Settings, name, environment[variable], variable)
    if environment.get("TENDHOST_SSH_KEY"):
        found[_FROM_ENVIRONMENT_ONLY] = _key(environment["TENDHOST_SSH_KEY"])
    return found


def _key(text: str) -> bytes:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except ValueError:
        # The value is a secret, so it is not repeated.
        raise SettingError(
            setting="TENDHOST_SSH_KEY", value="…", expected="a private key in base64"
        ) from None


def _value(owner: type[Any], name: str, value: Any, source: str) -> Any:
    kind = get_type_hints(owner)[name]
    if name == "listen" and isinstance(value, str):
        value = [address.strip() for address in value.split(",")]
    if kind == tuple[str, ...]:
        return _texts(name, value, source)
    if name in _CHOICES and value not in _CHOICES[name]:
        raise SettingError(setting=source, value=value, expected=" or ".join(_CHOICES[name]))
    if kind in (Path, Path | None, str):
        if not isinstance(value, str | Path):
            shown = "…" if name in _SECRET else value
            raise SettingError(setting=source, value=shown, expected="text")
        return value if kind is str else _path(value, source)
    if kind is bool:
        if not isinstance(value, bool):
            raise SettingError(setting=source, value=value, expected="true or false")
        return value
    low, high = _BOUNDS[name]
    word = "whole number" if kind is int else "number of seconds"
    expected = f"a {word} from {low:g} to {high:g}"
    try:
        number = kind(value)
    except (TypeError, ValueError, OverflowError):
        raise SettingError(setting=source, value=value, expected=expected) from None
    cut = kind is int and isinstance(value, float)
    if cut or isinstance(value, bool) or not low <= number <= high:
        raise SettingError(setting=source, value=value, expected=expected)
    return number


def _texts(name: str, value: Any, source: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(part, str) for part in value):
        shown = "…" if name in _SECRET else value
        raise SettingError(setting=source, value=shown, expected="a list of text")
    if name == "listen" and not value:
        raise SettingError(setting=source, value=value, expected="at least one address")
    return tuple(value)


def _path(value: str | Path, source: str) -> Path:
    if value == "" or "\0" in str(value):
        raise SettingError(setting=source, value=value, expected="a path")
    return Path(value).expanduser().absolute()


def runtime_socket(environment: Mapping[str, str], state_dir: Path) -> Path:
    """The unix socket of a server without a setting `listen`, which `tendhost` looks for, too.

    In the folder that systemd made (RuntimeDirectory=, see systemd.exec(5)), in $XDG_RUNTIME_DIR, in /run for
    root; else in the folder of the database, since a folder below /tmp might be somebody else's.
    """
    systemd = environment.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    if systemd:
        return Path(systemd) / SOCKET
    base = environment.get("XDG_RUNTIME_DIR", "")
    if Path(base).is_absolute():
        return Path(base) / "tendhost" / SOCKET
    return (Path("/run/tendhost") if os.geteuid() == 0 else state_dir) / SOCKET


def _folder(environment: Mapping[str, str], variable: str, fallback: str) -> Path:
    base = environment.get(variable)
    # The specification: relative paths in these variables are to be ignored.
    root = Path(base) if base and Path(base).is_absolute() else Path.home() / fallback
    return root / "tendhost"
