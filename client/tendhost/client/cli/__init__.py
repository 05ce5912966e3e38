"""The `tendhost` command."""

import sys
from collections.abc import Sequence

_ANYWHERE = {"--output": 1, "--server": 1}
"""Options of the command as a whole that may stand behind a subcommand, too."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit: 0 done, 1 something failed on a host, 2 refused, 3 no server."""
    from tendhost.client.cli.app import app

    given = list(sys.argv[1:] if arguments is None else arguments)
    app(args=_global_first(given), prog_name="tendhost")


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
        elif word.partition("=")[0] in _ANYWHERE:
            first.append(word)
        else:
            rest.append(word)
    return [*first, *rest]


if __name__ == "__main__":
    main()
