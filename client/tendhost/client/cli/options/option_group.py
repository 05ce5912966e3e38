"""Groups of options that several commands share, each declared once by the function that parses it."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")
Command = Callable[..., None]


def option_group(parse: Callable[..., T], parameter: str) -> Callable[[Command], Command]:
    """A decorator that gives a command the options of `parse` besides its own."""

    def decorated(command: Command) -> Command:
        declared = inspect.signature(command, eval_str=True).parameters
        shared = inspect.signature(parse, eval_str=True).parameters

        @functools.wraps(command)
        def run(**given: Any) -> None:
            parsed = parse(**{name: given.pop(name) for name in shared})
            command(**{parameter: parsed}, **given)

        merged = [
            each.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            for name, own in declared.items()
            for each in (shared.values() if name == parameter else (own,))
        ]
        # typer makes options of both.
        run.__signature__ = inspect.Signature(merged)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in merged}
        return run

    return decorated
