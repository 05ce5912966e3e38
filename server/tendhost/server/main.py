"""`tendhostd`: reads the settings, puts the layers together, serves until it is told to stop."""

import argparse
import asyncio
import gc
import logging
import os
import signal
import sys
from collections.abc import Sequence
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path

from tendhost.server.clock import SystemClock
from tendhost.server.config import SettingError, Settings, load_settings
from tendhost.server.domain.errors import TendhostError
from tendhost.server.engine.engine import EngineSettings, running_engine
from tendhost.server.engine.retention import Retention
from tendhost.server.engine.steps import StepSettings
from tendhost.server.failpoints import UnknownFailpoint, arm
from tendhost.server.log import configure_logging
from tendhost.server.remote.connect import RoutingConnector
from tendhost.server.remote.ssh import SshSettings
from tendhost.server.rpc.server import serving
from tendhost.server.store.sqlite import open_store

logger = logging.getLogger(__name__)

DATABASE = "tendhost.db"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the server. Exit status: 0 stopped when told to, 1 could not serve, 2 bad settings."""
    options = vars(_parser().parse_args(arguments))
    file = options.pop("config")
    try:
        settings = load_settings(file=file, environment=os.environ, options=options)
        arm(os.environ)
    except (SettingError, UnknownFailpoint) as error:
        print(f"tendhostd: {error}", file=sys.stderr)
        return 2
    configure_logging(settings.log_level)
    failures: list[BaseException] = []
    try:
        asyncio.run(_serve(settings))
    except* TendhostError as group:
        failures = _leaves(group)
    for failure in failures:
        print(f"tendhostd: {failure}", file=sys.stderr)
    return 1 if failures else 0


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found.extend(_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    return found


async def _serve(settings: Settings) -> None:
    told_to_stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, told_to_stop.set)
    store = await open_store(settings.state_dir / DATABASE)
    connector = RoutingConnector(ssh=_ssh_settings(settings))
    try:
        async with (
            running_engine(
                store=store,
                connector=connector,
                clock=SystemClock(),
                settings=_engine_settings(settings),
            ) as engine,
            serving(engine, settings.listen) as address,
        ):
            _calm_the_collector()
            # For whoever started it with port 0, and for people: a line that says it is ready.
            print(f"tendhostd {version('tendhost')} serves at {address}", flush=True)
            await told_to_stop.wait()
            logger.info("stopping")
    finally:
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
        operations_at_once=settings.operations_at_once,
        steps=StepSettings(
            query_timeout=timedelta(seconds=settings.query_timeout),
            apply_timeout=timedelta(seconds=settings.apply_timeout),
            lock_timeout=timedelta(seconds=settings.lock_timeout),
            reboot_timeout=timedelta(seconds=settings.reboot_timeout),
            verify_timeout=timedelta(seconds=settings.verify_timeout),
        ),
        retention=Retention(
            history=timedelta(days=settings.history_days), events=settings.history_events
        ),
    )


def _ssh_settings(settings: Settings) -> SshSettings:
    return SshSettings(
        connect_timeout=timedelta(seconds=settings.connect_timeout),
        login_timeout=timedelta(seconds=settings.login_timeout),
        private_key=settings.ssh_key,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tendhostd",
        description="The tendhost server: keeps a fleet of Linux hosts patched over SSH.",
        epilog="Every option can be set as TENDHOST_<NAME> in the environment or in the file.",
    )
    parser.add_argument("--version", action="version", version=f"tendhostd {version('tendhost')}")
    parser.add_argument("--config", type=Path, metavar="FILE", help="a TOML file of settings")
    parser.add_argument(
        "--listen", metavar="ADDRESS", help="HOST:PORT on loopback, or unix:/path (127.0.0.1:50051)"
    )
    parser.add_argument(
        "--state-dir", metavar="DIR", help="the database's folder ($XDG_STATE_HOME/tendhost)"
    )
    parser.add_argument("--log-level", metavar="LEVEL", help="debug, info, warning or error (info)")
    parser.add_argument(
        "--operations-at-once", metavar="N", help="operations that run side by side (64)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
