"""The `tendhost` command."""

import io
import os
import sys
from collections.abc import Sequence

_ANYWHERE = ("--output", "--server")
"""Options of the command as a whole that may stand behind a subcommand, too."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit; see `tendhost --help` for the exit statuses."""
    # gRPC writes of failed handshakes to stderr itself, many times; the error says it once.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from tendhost.client.cli.app import app
    from tendhost.client.cli.session import REFUSED, print_error

    given = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that cannot show a letter shows a question mark: no reason to fail.
            stream.reconfigure(errors="replace")
    for word in given:
        if not word.isascii() and "\N{REPLACEMENT CHARACTER}" in _decoded(word):
            print_error(f"error: {_decoded(word)!r} is not UTF-8")
            sys.exit(REFUSED)
    app(args=_global_first(given), prog_name="tendhost")


def _decoded(word: str) -> str:
    return word.encode(errors="surrogateescape").decode(errors="replace")


def _global_first(arguments: list[str]) -> list[str]:
    first: list[str] = []
    rest: list[str] = []
    waiting = iter(arguments)
    for word in waiting:
        if word == "--":
            return [*first, *rest, word, *waiting]
        if word in _ANYWHERE:
            first.append(word)
            value = next(waiting, None)
            if value is not None:
                first.append(value)
        elif word.startswith(tuple(f"{option}=" for option in _ANYWHERE)):
            first.append(word)
        else:
            rest.append(word)
    return [*first, *rest]
