"""Options that select hosts."""

from typing import Annotated

import typer

Saved = Annotated[
    str,
    typer.Option(
        "--selection", metavar="NAME", help="Also require membership in this saved selection."
    ),
]


def without_empty(values: list[str] | None) -> tuple[str, ...] | None:
    """The values that were given: None without the option, and none at all for '' alone."""
    return None if values is None else tuple(value for value in values if value)
