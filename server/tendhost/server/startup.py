"""What the layers are started with, made of the settings."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TypeAlias

from tendhost.server.audit_sink_settings import audit_sink, require_own_files
from tendhost.server.certificates import (
    CA,
    CLIENT_NAME,
    LARGEST,
    SERVER,
    SERVER_KEY,
    CertificateProblem,
    info_of,
    names_client,
    read_authorities,
    read_pair,
)
from tendhost.server.config import HostCaSettings, NotifySettings, Settings
from tendhost.server.domain.access.call_limits import CallLimits
from tendhost.server.domain.access.certificate_expiry import CertificateExpiry, CertificateUse
from tendhost.server.domain.access.issuers import TrustedIssuer
from tendhost.server.domain.access.listen import (
    LISTEN_FORMS,
    Listener,
    Security,
    is_loopback,
    listener_of,
)
from tendhost.server.domain.access.roles import Role
from tendhost.server.domain.hosts.host_authorities import (
    EXPECTED,
    AuthorityKey,
    HostAuthority,
    authority_keys,
)
from tendhost.server.domain.leases import LEASE
from tendhost.server.domain.notifications.notices import CHOOSABLE, NoticeKind
from tendhost.server.domain.notifications.target import NotifyTarget
from tendhost.server.domain.notifications.templates import template
from tendhost.server.domain.operations.log_limit import LogLimit
from tendhost.server.domain.request_errors import ConfigurationError
from tendhost.server.domain.rollouts.wave_hooks import WaveHook, WaveMoment
from tendhost.server.engine.certificate_watch import ReadExpiries
from tendhost.server.engine.engine import EngineSettings
from tendhost.server.engine.operations.manager import OperationSettings
from tendhost.server.engine.retention import Retention
from tendhost.server.engine.rollouts.wave_hooks import WaveHooks
from tendhost.server.engine.steps.context import StepSettings
from tendhost.server.given_files import FileUnusable, read_given
from tendhost.server.outbound.apprise import AppriseSender, NotificationSender
from tendhost.server.outbound.audit_sink import AuditSink
from tendhost.server.outbound.key_sets import KeySetSource
from tendhost.server.remote.ssh import SshSettings
from tendhost.server.rpc.tls import TlsFiles

TLS_FOLDER = "tls"
"""Below the state folder: where `tendhostd tls` keeps certificates."""
Sinks: TypeAlias = Sequence[tuple[str, AuditSink]]
Targets: TypeAlias = Sequence[tuple[NotifyTarget, NotificationSender]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Where the server listens, and by what it knows its callers, beside its tokens."""

    listeners: Sequence[Listener]
    tls: TlsFiles | None
    certificates: Mapping[str, frozenset[Role]]
    """Roles of clients with certificates, by name."""
    issuers: Sequence[tuple[TrustedIssuer, KeySetSource]]


def listeners_of(settings: Settings, files: TlsFiles | None) -> Sequence[Listener]:
    """The addresses to listen on. Raises ConfigurationError, also where one needs `files`, and they cannot be used."""
    listeners: list[Listener] = []
    for address in settings.listen:
        try:
            listener = listener_of(address)
        except ValueError:
            raise ConfigurationError(field="listen", value=address, expected=LISTEN_FORMS) from None
        if listener.encrypted:
            _require_tls(settings, address, listener, files)
        if listener.address in (known.address for known in listeners if _port_of(known) != "0"):
            raise ConfigurationError(field="listen", value=address, expected="each address once")
        listeners.append(listener)
    return listeners


def _require_tls(
    settings: Settings, address: str, listener: Listener, files: TlsFiles | None
) -> None:
    """Raise ConfigurationError unless TLS can be served at `address`."""
    if settings.auth == "none":
        raise ConfigurationError(
            field="auth",
            value="none",
            expected=f"required, for calls to {address} go through TLS; none is for unix:/path and loopback"
            " addresses in plain text",
        )
    if files is None:
        raise ConfigurationError(field="listen", value=address, expected=_expected_of(listener))
    files.require_usable(clients=listener.security is Security.MUTUAL_TLS)


def _port_of(listener: Listener) -> str:
    return listener.address.rpartition(":")[2]


def _expected_of(listener: Listener) -> str:
    """What is missing for an address that needs TLS where there is no certificate."""
    host = listener.address.rpartition(":")[0].removeprefix("[").removesuffix("]")
    wanted = (
        "a certificate for TLS"
        if is_loopback(host)
        else "a loopback address or unix:/path, for calls from other machines need TLS"
    )
    return f"{wanted}; make a certificate: tendhostd tls init NAME"


def tls_files(settings: Settings) -> TlsFiles | None:
    """The certificates that are configured, or else those of `tendhostd tls init`; None: there are none."""
    made = settings.state_dir / TLS_FOLDER
    certificate = settings.tls_certificate or made / SERVER
    client_ca = settings.tls_client_ca or made / CA
    if settings.tls_certificate is None and not certificate.exists():
        return None
    return TlsFiles(
        certificate=certificate,
        key=settings.tls_key or made / SERVER_KEY,
        client_ca=client_ca if settings.tls_client_ca or client_ca.exists() else None,
    )


def expiries_reader(files: TlsFiles | None, listeners: Sequence[Listener]) -> ReadExpiries | None:
    """Reads when the certificates expire that the addresses of `listeners` need; None: they need none."""
    if files is None or not any(listener.encrypted for listener in listeners):
        return None
    pair, client_ca = (files.certificate, files.key), files.client_ca
    if all(listener.security is not Security.MUTUAL_TLS for listener in listeners):
        client_ca = None

    def read() -> Sequence[CertificateExpiry]:
        server = _expiry(CertificateUse.SERVER, files.certificate, lambda: read_pair(*pair))
        if client_ca is None:
            return [server]
        ca = _expiry(CertificateUse.CLIENT_CA, client_ca, lambda: read_authorities(client_ca))
        return [server, ca]

    return read


def _expiry(use: CertificateUse, file: Path, check: Callable[[], object]) -> CertificateExpiry:
    """When the certificates of a file expire, and whether `check` finds that they cannot be used."""
    try:
        found = info_of(file)
    except CertificateProblem as error:
        return CertificateExpiry(use=use, file=str(file), problem=error.problem)
    problem = ""
    try:
        check()
    except CertificateProblem as error:
        problem = error.problem if error.path == file else str(error)
    return CertificateExpiry(
        use=use,
        file=str(file),
        expires_at=found.not_after,
        valid_from=found.not_before,
        problem=problem,
    )


def certificate_roles(settings: Settings) -> Mapping[str, frozenset[Role]]:
    """The roles of clients with certificates, by name. Raises ConfigurationError."""
    found: dict[str, frozenset[Role]] = {}
    for table in settings.client_certificate:
        if not names_client(table.name):
            raise ConfigurationError(
                field="client_certificate: name", value=table.name, expected=CLIENT_NAME
            )
        if table.name in found:
            raise ConfigurationError(
                field="client_certificate: name",
                value=table.name,
                expected="a name that no other of these tables has",
            )
        try:
            found[table.name] = frozenset(map(Role, table.roles))
        except ValueError as error:
            raise ConfigurationError(
                field=f"client_certificate {table.name!r}: roles",
                value=", ".join(table.roles),
                expected=f"some of {', '.join(Role)}",
            ) from error
    return found


def call_limits(settings: Settings) -> CallLimits:
    """What one principal may ask of the server."""
    default = CallLimits()
    return replace(
        default,
        calls=replace(default.calls, per_second=settings.calls_per_second),
        mutations=replace(default.mutations, per_second=settings.mutations_per_second),
        streams=settings.streams_per_principal,
    )


def notify_targets(settings: Settings) -> Targets:
    """The configured targets of notifications, each with the way to it. Raises ConfigurationError."""
    return [(_target(table), AppriseSender(table.name, table.urls)) for table in settings.notify]


def audit_sinks(settings: Settings, environment: Mapping[str, str]) -> Sinks:
    """The configured audit sinks, each with its name. Raises ConfigurationError."""
    folder = _credentials(environment)
    require_own_files(settings.audit_sink)
    return [(table.name, audit_sink(table, folder)) for table in settings.audit_sink]


def _target(table: NotifySettings) -> NotifyTarget:
    where = f"notify {table.name!r}"
    for event in table.events:
        if event not in CHOOSABLE:
            expected = f"one of {', '.join(CHOOSABLE)}"
            raise ConfigurationError(field=f"{where}: events", value=event, expected=expected)
    return NotifyTarget(
        name=table.name,
        kinds=tuple(map(NoticeKind, table.events)) or CHOOSABLE,
        groups=table.groups,
        tags=table.tags,
        title=template(table.title, setting=f"{where}: title") if table.title else None,
        body=template(table.body, setting=f"{where}: body") if table.body else None,
        per_minute=table.per_minute,
    )


def wave_hooks(settings: Settings, environment: Mapping[str, str]) -> WaveHooks:
    """The configured wave hooks. Raises ConfigurationError."""
    hooks = [
        WaveHook(
            name=table.name,
            when=WaveMoment(table.when),
            command=table.command,
            url=table.url,
            timeout=timedelta(seconds=table.timeout),
        )
        for table in settings.wave_hook
    ]
    return WaveHooks(hooks, environment=environment)


def host_authorities(settings: Settings) -> tuple[HostAuthority, ...]:
    """The configured authorities that sign the certificates of hosts. Raises ConfigurationError."""
    return tuple(
        HostAuthority(name=table.name, keys=_authority_keys(table), groups=table.groups)
        for table in settings.host_ca
    )


def _authority_keys(table: HostCaSettings) -> tuple[AuthorityKey, ...]:
    try:
        return authority_keys(read_given(table.file, most=LARGEST).data.decode("utf-8"))
    except (FileUnusable, ValueError) as error:
        problem = f"it {error}" if isinstance(error, FileUnusable) else str(error)
        if isinstance(error, UnicodeDecodeError):
            problem = "it is not text"
        raise ConfigurationError(
            field=f"host_ca {table.name!r}: file",
            value=table.file,
            expected=f"{EXPECTED} ({problem})",
        ) from error


def engine_settings(settings: Settings) -> EngineSettings:
    """The settings of the engine."""
    return EngineSettings(
        operations=OperationSettings(
            at_once=settings.operations_at_once,
            in_flight=settings.operations_in_flight,
            queued_per_host=settings.queued_per_host,
            log_limit=LogLimit(size=settings.operation_log_limit),
            time_limit=timedelta(seconds=settings.operation_timeout),
            retry=replace(OperationSettings().retry, attempts=settings.attempts),
            gone_timeout=timedelta(seconds=settings.gone_timeout),
        ),
        steps=StepSettings(
            query_timeout=timedelta(seconds=settings.query_timeout),
            apply_timeout=timedelta(seconds=settings.apply_timeout),
            lock_timeout=timedelta(seconds=settings.lock_timeout),
            reboot_timeout=timedelta(seconds=settings.reboot_timeout),
            verify_timeout=timedelta(seconds=settings.verify_timeout),
            gone_timeout=timedelta(seconds=settings.gone_timeout),
        ),
        # On SQLite one process has the database.
        lease=LEASE if settings.store else None,
        held_up_after=timedelta(seconds=settings.held_up_after),
        unfinished_rollouts=settings.unfinished_rollouts,
        retention=Retention(
            history=timedelta(days=settings.history_days), events=settings.history_events
        ),
    )


def ssh_settings(
    settings: Settings, environment: Mapping[str, str], authorities: tuple[HostAuthority, ...]
) -> SshSettings:
    """How hosts are logged in to."""
    return SshSettings(
        credentials=_credentials(environment),
        host_authorities=authorities,
        connect_timeout=timedelta(seconds=settings.connect_timeout),
        login_timeout=timedelta(seconds=settings.login_timeout),
        private_key=settings.ssh_key,
    )


def _credentials(environment: Mapping[str, str]) -> Path | None:
    """The folder of the service's credentials: systemd.exec(5), "Credentials"."""
    folder = environment.get("CREDENTIALS_DIRECTORY")
    return Path(folder) if folder else None
