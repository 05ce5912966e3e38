"""The session of a subcommand: server, output format, messages of errors, and all that is printed beside tables.

Hosts have a say in nearly all that is printed. So nothing of the command prints by itself, but through this module
and `console`, which leave nothing in a text that could steer a terminal.
"""

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
from tendhost.client.connection import Connection

DONE, NOT_SUCCEEDED, REFUSED, NO_SERVER, INTERRUPTED = 0, 1, 2, 3, 130


class Output(StrEnum):
    """How to print what was found out."""

    TABLE = "table"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Session:
    """One run of the command."""

    connection: Connection
    output: Output

    @property
    def server(self) -> str:
        """The address of the server."""
        return self.connection.server

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
            print_error("", *interrupted().split("\n"))
            status = INTERRUPTED
        except BrokenPipeError:
            # Whoever read us has seen enough. What is still buffered must not fail at exit, either.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            status = DONE
        raise typer.Exit(status)

    async def _opened(self, work: Callable[[Client], Coroutine[Any, Any, int | None]]) -> int:

        try:
            async with Client(self.connection) as client:
                return await work(client) or DONE
        except TendhostError as error:
            return tell(error)

    def print_json(self, value: object) -> None:
        """Print one document, on one line."""
        print(_escaped(json.dumps(plain(value), ensure_ascii=False)), flush=True)


def print_line(text: str) -> None:
    """Print one line, at once."""
    print(clean(text), flush=True)


def print_error(*lines: str) -> None:
    """Print lines for people, beside what the command prints for programs."""
    for line in lines:
        print(clean(line), file=sys.stderr)


def print_text(text: str) -> None:
    """Print lines as they come, the last of which may not be whole yet."""
    print("\n".join(map(_shown, text.split("\n"))), end="", flush=True)


def print_bytes(data: bytes) -> None:
    """Write what a host printed, byte for byte. Only for those who ask for it: it may steer a terminal."""
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def refuse(text: str) -> NoReturn:
    """Say what is wrong with the command line, and exit."""
    print_error(f"error: {text}")
    raise typer.Exit(REFUSED)


def warn(warnings: Sequence[str]) -> None:
    """Say what may be a mistake, beside the answer."""
    for warning in warnings:
        field, _, description = warning.partition(": ")
        option = option_of(f"filter.{field}")  # warnings about fields are about a filter's
        line = f"{option}: {description}" if option.startswith("--") else warning
        print_error(f"warning: {line}")


def tell(error: TendhostError) -> int:
    """Tell the user of an error, in one line for each thing that is wrong; gives the exit status."""

    lines = [f"{option_of(v.field)}: {v.description}" for v in error.violations]
    for line in lines or [error.message]:
        print_error(f"error: {line}")
    return NO_SERVER if isinstance(error, ServerFailed) else REFUSED


def clean(text: str) -> str:
    """`text` on one line, without anything that could steer a terminal: hosts have a say in it."""
    on_one_line = re.sub(r"\s*[\t\n\v\f\r]\s*", " ", text)
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in on_one_line)


def _shown(line: str) -> str:
    """A line with its tabs and blanks, without anything else that could steer a terminal."""
    if line.isprintable():
        return line
    return "".join(c if c.isprintable() or c == "\t" else "\N{REPLACEMENT CHARACTER}" for c in line)


def _escaped(document: str) -> str:
    """JSON in which only printable characters stand as they are; a reader of JSON gets the same value."""
    if document.isprintable():
        return document
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in document)


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
