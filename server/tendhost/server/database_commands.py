"""Commands of `tendhostd` on a whole database: copies, their restoration, and the move to another database."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tendhost.server.clock import SystemClock
from tendhost.server.config import Settings
from tendhost.server.domain.request_errors import ConfigurationError
from tendhost.server.store.backup import back_up, restore
from tendhost.server.store.moving import is_address, mark_restored, move, shown


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseRequest:
    """What a command names."""

    file: Path | None = None
    """Of a copy."""
    force: bool = False
    source: str = ""
    """Of a move, and its target: a postgresql:// address, or the path of a file."""
    target: str = ""


def _back_up(_: Settings, database: Path, request: DatabaseRequest) -> str:
    assert request.file is not None
    copy = back_up(database, request.file, now=SystemClock().now(), force=request.force)
    clear = "hooks and health checks are in it in clear text, with any secrets in them"
    return (
        f"copied {database} to {request.file}: {copy.size} bytes, revision {copy.revision}; {clear}"
    )


def _restore(_: Settings, database: Path, request: DatabaseRequest) -> str:
    assert request.file is not None
    done = restore(request.file, database, now=SystemClock().now())
    kept = f"; the former database is {done.former}" if done.former else ""
    created_at = done.copy.created_at.isoformat(timespec="seconds")
    return f"restored {request.file} of {created_at}, revision {done.copy.revision}{kept}"


def _migrate(settings: Settings, database: Path, request: DatabaseRequest) -> str:
    target, source = request.target, request.source
    if not source:
        # The settings may name the new database already.
        source = settings.store if settings.store not in ("", target) else str(database)
    moved = asyncio.run(move(source, target))
    setting = f'with store = "{shown(target)}"' if is_address(target) else "without `store`"
    return (
        f"{shown(target)} has everything of {shown(source)}: {moved.rows} rows, revision {moved.revision},"
        f" each row compared; start tendhostd {setting}; {shown(source)} is left as it is, and no server opens it"
    )


def _restored(settings: Settings, _: Path, __: DatabaseRequest) -> str:
    if not settings.store:
        raise ConfigurationError(
            field="store",
            value="",
            expected="a postgresql:// address; for SQLite there is: tendhostd restore FILE",
        )
    at = asyncio.run(mark_restored(settings.store, now=SystemClock().now()))
    return (
        f"{shown(settings.store)} is marked as restored from a backup of {at.isoformat(timespec='seconds')}:"
        " the next start ends what was unfinished then, and pauses the rollouts"
    )


DATABASE_COMMANDS: Mapping[str, Callable[[Settings, Path, DatabaseRequest], str]] = {
    "backup": _back_up,
    "restore": _restore,
    "migrate": _migrate,
    "restored": _restored,
}
"""By their names; each gives what it prints. `Path` is the file of a server without `store`."""
