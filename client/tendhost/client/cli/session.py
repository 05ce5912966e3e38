"""The session of a subcommand: server, output format, and messages of errors."""

import asyncio
import json
import os
import re
import sys
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, NoReturn

import typer

from tendhost.client import Client, ServerFailed, TendhostError
from tendhost.client.cli.field_options import option_of

DONE, NOT_SUCCEEDED, REFUSED, NO_SERVER, INTERRUPTED = 0, 1, 2, 3, 130


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
        work: Callable[[Client], Coroutine[Any, Any, int | None]],
        *,
        interrupted: Callable[[], str] = lambda: "interrupted",
    ) -> NoReturn:
        """Do `work` with an open client and exit with what it returns, or with an error's status."""
        try:
            status = asyncio.run(self._opened(work))
            sys.stdout.flush()
        except KeyboardInterrupt:
            print(f"\n{interrupted()}", file=sys.stderr)
            status = INTERRUPTED
        except BrokenPipeError:
            # Whoever read us has seen enough. What is still buffered must not fail at exit, either.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            status = DONE
        raise typer.Exit(status)

    async def _opened(self, work: Callable[[Client], Coroutine[Any, Any, int | None]]) -> int:

        try:
            async with Client(self.server) as client:
                return await work(client) or DONE
        except TendhostError as error:
            return tell(error)

    def print_json(self, value: object) -> None:
        """Print one document, on one line."""
        print(json.dumps(plain(value), ensure_ascii=False), flush=True)


def refuse(text: str) -> NoReturn:
    """Say what is wrong with the command line, and exit."""
    print(f"error: {text}", file=sys.stderr)
    raise typer.Exit(REFUSED)


def warn(warnings: Sequence[str]) -> None:
    """Say what may be a mistake, beside the answer."""
    for warning in warnings:
        field, _, description = warning.partition(": ")
        option = option_of(f"filter.{field}")  # warnings about fields are about a filter's
        line = f"{option}: {description}" if option.startswith("--") else warning
        print(f"warning: {clean(line)}", file=sys.stderr)


def tell(error: TendhostError) -> int:
    """Tell the user of an error, in one line for each thing that is wrong; gives the exit status."""

    lines = [f"{option_of(v.field)}: {v.description}" for v in error.violations]
    for line in lines or [error.message]:
        print(f"error: {clean(line)}", file=sys.stderr)
    return NO_SERVER if isinstance(error, ServerFailed) else REFUSED


def clean(text: str) -> str:
    """`text` on one line, without anything that could steer a terminal: hosts have a say in it."""
    on_one_line = re.sub(r"\s*[\t\n\v\f\r]\s*", " ", text)
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in on_one_line)


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
