"""What every subcommand runs in: which server, which output, and how an error reaches the user."""

import asyncio
import json
import sys
from collections.abc import Callable, Coroutine
from dataclasses import asdict, dataclass, is_dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NoReturn

import typer

if TYPE_CHECKING:
    from tendhost.client import Client, TendhostError

DONE, HOST_FAILED, REFUSED, UNREACHABLE, INTERRUPTED = 0, 1, 2, 3, 130


class Output(StrEnum):
    """How to print what was found out."""

    TABLE = "table"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Session:
    """One run of the command."""

    server: str
    output: Output

    @property
    def json(self) -> bool:
        """Whether a program reads what is printed."""
        return self.output is Output.JSON

    def run(
        self,
        work: "Callable[[Client], Coroutine[Any, Any, int | None]]",
        *,
        interrupted: Callable[[], str] = lambda: "interrupted",
    ) -> NoReturn:
        """Do `work` with an open client and exit with what it returns, or with an error's status."""
        try:
            status = asyncio.run(self._opened(work))
        except KeyboardInterrupt:
            print(f"\n{interrupted()}", file=sys.stderr)
            status = INTERRUPTED
        except BrokenPipeError:
            # Whoever read us has seen enough. Nothing may be flushed into the pipe at exit, either.
            sys.stdout = None
            status = DONE
        raise typer.Exit(status or DONE)

    async def _opened(self, work: "Callable[[Client], Coroutine[Any, Any, int | None]]") -> int:
        from tendhost.client import Client, TendhostError

        try:
            async with Client(self.server) as client:
                return await work(client) or DONE
        except TendhostError as error:
            return _told(error)

    def print_json(self, value: object) -> None:
        """Print one document, on one line."""
        print(json.dumps(plain(value), ensure_ascii=False), flush=True)


def refuse(text: str) -> NoReturn:
    """Say what is wrong with the command line, and exit."""
    print(f"error: {text}", file=sys.stderr)
    raise typer.Exit(REFUSED)


def _told(error: "TendhostError") -> int:
    from tendhost.client import ServerUnreachable

    if error.violations:
        for violation in error.violations:
            field = violation.field.removeprefix("config.").removeprefix("spec.")
            print(f"error: {field}: {violation.description}", file=sys.stderr)
    else:
        print(f"error: {error.message}", file=sys.stderr)
    return UNREACHABLE if isinstance(error, ServerUnreachable) else REFUSED


def plain(value: object) -> object:
    """`value` as JSON can hold it: times as RFC 3339 in UTC, durations as seconds."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, StrEnum):
        return str(value)
    return value
