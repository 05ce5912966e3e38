"""`tendhostd`: reads the settings, connects the layers, and serves until it is stopped.

`tendhostd backup` and `tendhostd restore` copy the database instead, `check-config` validates the settings,
and `notify-test` sends a test message to a notification target.
"""

import argparse
import asyncio
import gc
import getpass
import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias

from tendhost.server.certificates import (
    CA,
    SERVER,
    SERVER_KEY,
    CertificateProblem,
    info_of,
    issue_client,
    issue_server,
    make_authority,
)
from tendhost.server.clock import SystemClock
from tendhost.server.config import (
    HostCaSettings,
    NotifySettings,
    SettingError,
    Settings,
    load_settings,
)
from tendhost.server.domain.access.listen import LISTEN_FORMS, Listener, Security, listener_of
from tendhost.server.domain.access.roles import Role
from tendhost.server.domain.errors import TendhostError
from tendhost.server.domain.hosts.host_authorities import (
    EXPECTED,
    AuthorityKey,
    HostAuthority,
    authority_keys,
)
from tendhost.server.domain.notifications.notices import CHOOSABLE, NoticeKind
from tendhost.server.domain.notifications.target import NotifyTarget
from tendhost.server.domain.notifications.templates import Message, Urgency, template
from tendhost.server.domain.operations.log_limit import LogLimit
from tendhost.server.domain.request_errors import ConfigurationError
from tendhost.server.domain.rollouts.wave_hooks import WaveHook, WaveMoment
from tendhost.server.engine.engine import EngineSettings, running_engine
from tendhost.server.engine.loop_monitor import LoopMonitor
from tendhost.server.engine.operations.manager import OperationSettings
from tendhost.server.engine.retention import Retention
from tendhost.server.engine.rollouts.wave_hooks import WaveHooks
from tendhost.server.engine.steps.context import StepSettings
from tendhost.server.failpoints import UnknownFailpoint, arm
from tendhost.server.log import configure_logging
from tendhost.server.outbound.apprise import AppriseSender, NotDelivered, NotificationSender
from tendhost.server.remote.connector import RoutingConnector
from tendhost.server.remote.probes import NetworkProber
from tendhost.server.remote.ssh import SshSettings
from tendhost.server.rpc.server import serving
from tendhost.server.rpc.tls import TlsFiles
from tendhost.server.service_manager import READY, STOPPING, ServiceManager
from tendhost.server.store.backup import CopyFailed, back_up, restore
from tendhost.server.store.sqlite import open_store

logger = logging.getLogger(__name__)

DATABASE = "tendhost.db"
TLS_FOLDER = "tls"
"""Below the state folder: where `tendhostd tls` keeps certificates."""
VERSION = version("tendhost")
TEST_MESSAGE = Message(
    title="tendhost: test message",
    body="This notification target works.",
    urgency=Urgency.INFO,
)
Targets: TypeAlias = Sequence[tuple[NotifyTarget, NotificationSender]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the server, or another command of `tendhostd`.

    Exit status: 0 stopped when told to, or done; 1 could not serve, or it was not done; 2 bad settings.
    """
    options = vars(_parser().parse_args(arguments))
    file, command, copy = options.pop("config"), options.pop("command"), options.pop("file", None)
    tls, names = options.pop("tls_command", None), options.pop("names", [])
    force, target = options.pop("force", False), options.pop("target", "")
    try:
        settings = load_settings(file=file, environment=os.environ, options=options)
        arm(os.environ)
    except (SettingError, UnknownFailpoint) as error:
        print(f"tendhostd: {error}", file=sys.stderr)
        return 2
    database = settings.state_dir / DATABASE
    if command == "backup":
        return _told(lambda: _back_up(database, copy, force=force))
    if command == "restore":
        return _told(lambda: _restore(copy, database))
    if command == "tls":
        return _told(lambda: _TLS_COMMANDS[tls](settings, names))
    try:
        targets = notify_targets(settings)
        hooks = wave_hooks(settings, os.environ)
        authorities = host_authorities(settings)
        listeners = listeners_of(settings)
        certificate_roles(settings)
    except ConfigurationError as error:
        print(f"tendhostd: {error}", file=sys.stderr)
        return 2
    if command == "check-config":
        return _told(lambda: "the configuration is valid")
    if command == "notify-test":
        return _told(lambda: asyncio.run(_sent_to(target, targets)))
    configure_logging(settings.log_level)
    failures: list[BaseException] = []
    try:
        asyncio.run(_serve(settings, listeners, targets, hooks, authorities))
    except* TendhostError as group:
        failures = _leaves(group)
    for failure in failures:
        print(f"tendhostd: {failure}", file=sys.stderr)
    return 1 if failures else 0


def _told(work: Callable[[], str]) -> int:
    """Do `work` and print what it says; the exit status."""
    try:
        print(work())
    except (CertificateProblem, CopyFailed, NotDelivered, TendhostError) as error:
        print(f"tendhostd: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("tendhostd: interrupted; nothing was changed", file=sys.stderr)
        return 1
    return 0


def _back_up(database: Path, file: Path, *, force: bool) -> str:
    copy = back_up(database, file, now=SystemClock().now(), force=force)
    clear = "hooks and health checks are in it in clear text, with any secrets in them"
    return f"copied {database} to {file}: {copy.size} bytes, revision {copy.revision}; {clear}"


def _restore(file: Path, database: Path) -> str:
    done = restore(file, database, now=SystemClock().now())
    kept = f"; the former database is {done.former}" if done.former else ""
    created_at = done.copy.created_at.isoformat(timespec="seconds")
    return f"restored {file} of {created_at}, revision {done.copy.revision}{kept}"


def _tls_init(settings: Settings, names: Sequence[str]) -> str:
    folder, now = settings.state_dir / TLS_FOLDER, SystemClock().now()
    if not (folder / CA).exists():
        make_authority(folder, now=now)
    issue_server(folder, names, now=now)
    return (
        f"wrote {folder / SERVER} for {', '.join(names)}; clients need {folder / CA}:"
        f" tendhost login --server {names[0]}:PORT --ca {CA}"
    )


def _tls_client(settings: Settings, names: Sequence[str]) -> str:
    (name,) = names
    certificate, key = issue_client(settings.state_dir / TLS_FOLDER, name, now=SystemClock().now())
    return f"wrote {certificate} and {key} for {name}"


def _tls_show(settings: Settings, names: Sequence[str]) -> str:
    files = tls_files(settings)
    if files is None:
        raise CertificateProblem(
            settings.state_dir / TLS_FOLDER, "no certificate; make one: tendhostd tls init NAME"
        )
    now, lines = SystemClock().now(), []
    for path in filter(None, (files.certificate, files.client_ca)):
        found = info_of(path)
        left = (found.not_after - now).days
        when = f"expires in {left} days" if left >= 0 else "HAS EXPIRED"
        names_shown = ", ".join(found.names) or found.subject
        lines.append(
            f"{path}: {names_shown}, from {found.issuer}, {when} ({found.not_after:%Y-%m-%d})"
        )
    return "\n".join(lines)


_TLS_COMMANDS: Mapping[str, Callable[[Settings, Sequence[str]], str]] = {
    "init": _tls_init,
    "client": _tls_client,
    "show": _tls_show,
}


async def _sent_to(name: str, targets: Targets) -> str:
    for target, sender in targets:
        if target.name == name:
            await sender.send(TEST_MESSAGE, set())
            return f"{name} accepted the message"
    known = ", ".join(target.name for target, _ in targets) or "none is configured"
    raise ConfigurationError(field="notify-test", value=name, expected=f"a target ({known})")


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found.extend(_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    return found


async def _serve(
    settings: Settings,
    listeners: Sequence[Listener],
    targets: Targets,
    hooks: WaveHooks,
    authorities: tuple[HostAuthority, ...],
) -> None:
    service_manager = ServiceManager(os.environ)
    told_to_stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, told_to_stop.set)
    store = await open_store(settings.state_dir / DATABASE)
    connector = RoutingConnector(ssh=_ssh_settings(settings, os.environ, authorities))
    prober = NetworkProber()
    monitor = LoopMonitor()
    try:
        async with (
            running_engine(
                store=store,
                connector=connector,
                prober=prober,
                clock=SystemClock(),
                settings=_engine_settings(settings),
                targets=targets,
                wave_hooks=hooks,
                loop_monitor=monitor,
            ) as engine,
            serving(
                engine,
                listeners=listeners,
                tls=tls_files(settings),
                socket_owner=getpass.getuser(),
                open_access=settings.auth == "none",
                certificates=certificate_roles(settings),
            ) as addresses,
        ):
            _calm_the_collector()
            with monitor.watching():
                # For whoever started it with port 0, and for people: a line that says it is ready.
                print(f"tendhostd {VERSION} listening on {', '.join(addresses)}", flush=True)
                if settings.auth == "none":
                    logger.warning("no call needs a credential: auth is none")
                service_manager.tell(READY)
                await told_to_stop.wait()
                service_manager.tell(STOPPING)
                logger.info("stopping")
    finally:
        prober.close()
        await connector.aclose()
        await store.aclose()


def _calm_the_collector() -> None:
    """Collect cyclic garbage less often, and never look at what was loaded at the start again.

    Python's defaults walk the young objects every 700 allocations, which a server with many short
    connections pays for with a sixth of its time; reference counts free nearly all of it anyway.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def _engine_settings(settings: Settings) -> EngineSettings:
    return EngineSettings(
        operations=OperationSettings(
            at_once=settings.operations_at_once,
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
        held_up_after=timedelta(seconds=settings.held_up_after),
        retention=Retention(
            history=timedelta(days=settings.history_days), events=settings.history_events
        ),
    )


def listeners_of(settings: Settings) -> Sequence[Listener]:
    """The addresses to listen on. Raises ConfigurationError."""
    listeners = []
    for address in settings.listen:
        try:
            listener = listener_of(address)
        except ValueError:
            raise ConfigurationError(field="listen", value=address, expected=LISTEN_FORMS) from None
        encrypted = listener.security in (Security.TLS, Security.MUTUAL_TLS)
        if encrypted and settings.auth == "none":
            raise ConfigurationError(
                field="auth",
                value="none",
                expected=f"required, for {address} can be reached from other machines",
            )
        if encrypted and tls_files(settings) is None:
            raise ConfigurationError(
                field="listen",
                value=address,
                expected="a loopback address or unix:/path, for calls from other machines need TLS; make a"
                " certificate: tendhostd tls init NAME",
            )
        listeners.append(listener)
    return listeners


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


def certificate_roles(settings: Settings) -> Mapping[str, frozenset[Role]]:
    """The roles of clients with certificates, by name. Raises ConfigurationError."""
    found: dict[str, frozenset[Role]] = {}
    for table in settings.client_certificate:
        try:
            found[table.name] = frozenset(map(Role, table.roles))
        except ValueError as error:
            raise ConfigurationError(
                field=f"client_certificate {table.name!r}: roles",
                value=", ".join(table.roles),
                expected=f"some of {', '.join(Role)}",
            ) from error
    return found


def notify_targets(settings: Settings) -> Targets:
    """The configured targets of notifications, each with the way to it. Raises ConfigurationError."""
    return [(_target(table), AppriseSender(table.name, table.urls)) for table in settings.notify]


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
        return authority_keys(Path(table.file).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        problem = "it is not text" if isinstance(error, UnicodeDecodeError) else error
        raise ConfigurationError(
            field=f"host_ca {table.name!r}: file",
            value=table.file,
            expected=f"{EXPECTED} ({problem})",
        ) from error


def _ssh_settings(
    settings: Settings, environment: Mapping[str, str], authorities: tuple[HostAuthority, ...]
) -> SshSettings:
    # systemd.exec(5), "Credentials".
    credentials = environment.get("CREDENTIALS_DIRECTORY")
    return SshSettings(
        credentials=Path(credentials) if credentials else None,
        host_authorities=authorities,
        connect_timeout=timedelta(seconds=settings.connect_timeout),
        login_timeout=timedelta(seconds=settings.login_timeout),
        private_key=settings.ssh_key,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tendhostd",
        description="The tendhost server: keeps a fleet of Linux hosts patched over SSH.",
        epilog="Every option can also be set in the configuration file, or in the environment as TENDHOST_<NAME>.",
    )
    parser.add_argument("--version", action="version", version=f"tendhostd {VERSION}")
    _add_place(parser)
    parser.add_argument(
        "--listen",
        metavar="ADDRESSES",
        help="addresses, separated by commas: unix:/path, HOST:PORT, tls://HOST:PORT or mtls://HOST:PORT"
        " (a unix socket of your own, and 127.0.0.1:50051)",
    )
    parser.add_argument(
        "--auth", metavar="MODE", help="required, or none: no call needs a credential (required)"
    )
    parser.add_argument(
        "--log-level",
        metavar="LEVEL",
        help="lowest level to log: debug, info, warning or error (info)",
    )
    parser.add_argument(
        "--operations-at-once", metavar="N", help="number of concurrent operations (64)"
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    backing_up = commands.add_parser(
        "backup", help="copy the database, with or without a running server"
    )
    backing_up.add_argument("file", type=Path, metavar="FILE", help="path of the copy")
    backing_up.add_argument("--force", action="store_true", help="replace FILE if it exists")
    restoring = commands.add_parser(
        "restore", help="replace the database with a copy, while no server runs"
    )
    restoring.add_argument("file", type=Path, metavar="FILE", help="path of the copy")
    checking = commands.add_parser("check-config", help="validate the configuration")
    testing = commands.add_parser(
        "notify-test", help="send a test message to a notification target"
    )
    testing.add_argument(
        "target", metavar="NAME", help="name of the target in the configuration file"
    )
    for command in (backing_up, restoring, checking, testing, *_add_tls(commands)):
        _add_place(command, default=argparse.SUPPRESS)
    return parser


def _add_tls(commands: Any) -> list[argparse.ArgumentParser]:
    tls = commands.add_parser("tls", help="make and show certificates")
    tls_commands = tls.add_subparsers(
        dest="tls_command", metavar="COMMAND", title="commands", required=True
    )
    init = tls_commands.add_parser(
        "init", help="make a private CA, unless there is one, and a server certificate"
    )
    init.add_argument(
        "names",
        nargs="+",
        metavar="NAME",
        help="name or IP address by which clients call the server",
    )
    client = tls_commands.add_parser(
        "client", help="issue a client certificate, for mtls:// addresses"
    )
    client.add_argument("names", nargs=1, metavar="NAME", help="name of the client")
    show = tls_commands.add_parser("show", help="show the certificates and when they expire")
    return [tls, init, client, show]


def _add_place(parser: argparse.ArgumentParser, *, default: str | None = None) -> None:
    """What says where the database is; before a command or after it."""
    parser.add_argument(
        "--config", type=Path, metavar="FILE", default=default, help="TOML file with settings"
    )
    parser.add_argument(
        "--state-dir",
        metavar="DIR",
        default=default,
        help="folder of the database ($XDG_STATE_HOME/tendhost)",
    )


if __name__ == "__main__":
    sys.exit(main())
