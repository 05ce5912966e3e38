"""`tendhostd`: reads the settings, connects the layers, and serves until it is stopped.

`tendhostd backup` and `tendhostd restore` copy the database instead, `check-config` validates the settings,
and `notify-test` sends a test message to a notification target.
"""

import asyncio
import gc
import logging
import os
import pwd
import signal
import sys
from collections.abc import Callable, Sequence
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path

from tendhost.server.certificates import CertificateProblem
from tendhost.server.clock import SystemClock
from tendhost.server.command_line import parser
from tendhost.server.config import SettingError, Settings, load_settings
from tendhost.server.database_commands import DATABASE_COMMANDS, DatabaseRequest
from tendhost.server.domain.errors import TendhostError
from tendhost.server.domain.hosts.host_authorities import HostAuthority
from tendhost.server.domain.notifications.templates import Message, Urgency
from tendhost.server.domain.request_errors import ConfigurationError
from tendhost.server.domain.secret_texts import without_secrets
from tendhost.server.engine.engine import running_engine
from tendhost.server.engine.loop_monitor import LoopMonitor
from tendhost.server.engine.rollouts.wave_hooks import WaveHooks
from tendhost.server.failpoints import UnknownFailpoint, arm
from tendhost.server.log import configure_logging
from tendhost.server.oidc_settings import trusted_issuers
from tendhost.server.outbound.apprise import NotDelivered
from tendhost.server.remote.connector import RoutingConnector
from tendhost.server.remote.probes import NetworkProber
from tendhost.server.rpc.server import serving
from tendhost.server.service_manager import READY, STOPPING, ServiceManager
from tendhost.server.startup import (
    Access,
    Sinks,
    Targets,
    audit_sinks,
    call_limits,
    certificate_roles,
    engine_settings,
    expiries_reader,
    host_authorities,
    listeners_of,
    notify_targets,
    ssh_settings,
    tls_files,
    wave_hooks,
)
from tendhost.server.store import audit_export
from tendhost.server.store.audit_export import AuditFailed
from tendhost.server.store.backup import CopyFailed
from tendhost.server.store.opening import open_configured
from tendhost.server.store.transfer import TransferFailed
from tendhost.server.tls_commands import TLS_COMMANDS, TlsAnswer

logger = logging.getLogger(__name__)

DATABASE = "tendhost.db"
VERSION = version("tendhost")
ON_POSTGRESQL = (
    "this command reads and writes SQLite databases, and the database is PostgreSQL (store); copy it with pg_dump, and"
    " restore it with pg_restore"
)
TEST_MESSAGE = Message(
    title="tendhost: test message",
    body="This notification target works.",
    urgency=Urgency.INFO,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the server, or another command of `tendhostd`.

    Exit status: 0 stopped when told to, or done; 1 could not serve, or it was not done; 2 bad settings.
    """
    options = vars(parser().parse_args(arguments))
    file, command, copy = options.pop("config"), options.pop("command"), options.pop("file", None)
    tls, names = options.pop("tls_command", None), options.pop("names", [])
    audit, key = options.pop("audit_command", None), options.pop("key", "")
    force, target = options.pop("force", False), options.pop("target", "")
    source, to = options.pop("source", ""), options.pop("to", "")
    try:
        settings = load_settings(file=file, environment=os.environ, options=options)
        arm(os.environ)
    except (SettingError, UnknownFailpoint) as error:
        print(f"tendhostd: {without_secrets(str(error))}", file=sys.stderr)
        return 2
    database = settings.state_dir / DATABASE
    if settings.store and (command in ("backup", "restore") or audit in ("verify", "export")):
        print(f"tendhostd: {ON_POSTGRESQL}", file=sys.stderr)
        return 2
    if command in DATABASE_COMMANDS:
        request = DatabaseRequest(file=copy, force=force, source=source, target=to)
        return _told(lambda: DATABASE_COMMANDS[command](settings, database, request))
    if command == "audit":
        return _told(lambda: _audit(audit, settings, copy, key))
    if command == "tls":
        return _tls(lambda: TLS_COMMANDS[tls](settings, names))
    try:
        targets = notify_targets(settings)
        sinks = audit_sinks(settings, os.environ)
        hooks = wave_hooks(settings, os.environ)
        authorities = host_authorities(settings)
        files = tls_files(settings)
        access = Access(
            listeners=listeners_of(settings, files),
            tls=files,
            certificates=certificate_roles(settings),
            issuers=trusted_issuers(settings),
        )
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
        asyncio.run(_serve(settings, access, targets, sinks, hooks, authorities))
    except* TendhostError as group:
        failures = _leaves(group)
    for failure in failures:
        print(f"tendhostd: {failure}", file=sys.stderr)
    return 1 if failures else 0


_NOT_DONE = (
    AuditFailed,
    CertificateProblem,
    CopyFailed,
    NotDelivered,
    TransferFailed,
    TendhostError,
)


def _told(work: Callable[[], str]) -> int:
    """Do `work` and print what it says; the exit status."""
    try:
        print(work())
    except _NOT_DONE as error:
        print(f"tendhostd: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("tendhostd: interrupted; nothing was changed", file=sys.stderr)
        return 1
    return 0


def _tls(work: Callable[[], TlsAnswer]) -> int:
    """As _told, for commands whose answer may be bad news."""
    answers: list[TlsAnswer] = []

    def text() -> str:
        answers.append(work())
        return answers[0].text

    return _told(text) or answers[0].exit_status


def _audit(command: str, settings: Settings, file: Path | None, key: str) -> str:
    database, signer = settings.state_dir / DATABASE, settings.state_dir / audit_export.KEY
    if command == "show-key":
        return audit_export.public_key(signer)
    if command == "export" and file is not None:
        found = audit_export.export(database, file, signer)
        return f"wrote records {found.start.number + 1} to {found.head.number} to {file}"
    if file is None:
        found, what = audit_export.verify_database(database), str(database)
    else:
        found, what = audit_export.verify_export(file, expected_key=key), str(file)
        if database.exists():
            history = timedelta(days=settings.history_days)
            now = SystemClock().now()
            audit_export.require_contained(database, found, history=history, now=now)
    signed = f", signed with {found.public_key}" if found.public_key else ""
    return (
        f"{what}: records {found.start.number + 1} to {found.head.number} are as they were written{signed};"
        f" the hash of the last is {found.head.hash}"
    )


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
    access: Access,
    targets: Targets,
    sinks: Sinks,
    hooks: WaveHooks,
    authorities: tuple[HostAuthority, ...],
) -> None:
    service_manager = ServiceManager(os.environ)
    told_to_stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, told_to_stop.set)
    store = await open_configured(settings.store, settings.state_dir / DATABASE)
    connector = RoutingConnector(ssh=ssh_settings(settings, os.environ, authorities))
    prober = NetworkProber()
    monitor = LoopMonitor()
    try:
        async with (
            running_engine(
                store=store,
                connector=connector,
                prober=prober,
                clock=SystemClock(),
                settings=engine_settings(settings),
                targets=targets,
                sinks=sinks,
                wave_hooks=hooks,
                issuers=access.issuers,
                read_expiries=expiries_reader(access.tls, access.listeners),
                loop_monitor=monitor,
            ) as engine,
            serving(
                engine,
                listeners=access.listeners,
                tls=access.tls,
                socket_owner=_own_name(),
                open_access=settings.auth == "none",
                certificates=access.certificates,
                limits=call_limits(settings),
            ) as addresses,
        ):
            _calm_the_collector()
            _switch_threads_often()
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


def _own_name() -> str:
    """The name of the user who runs the server; the environment has no say in it."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return f"uid {os.geteuid()}"


def _switch_threads_often() -> None:
    """Let the event loop have the interpreter soon when another thread decodes rows.

    By Python's default it waits 5 ms each time, and a call takes several steps: while one caller read long lists,
    others' calls took ten times as long (measured).
    """
    sys.setswitchinterval(0.0005)


def _calm_the_collector() -> None:
    """Collect cyclic garbage less often, and never look at what was loaded at the start again.

    Python's defaults walk the young objects every 700 allocations, which a server with many short
    connections pays for with a sixth of its time; reference counts free nearly all of it anyway.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


if __name__ == "__main__":
    sys.exit(main())
