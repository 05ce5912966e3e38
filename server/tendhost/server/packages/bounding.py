"""Limits what parsers return to the bounds of `domain.bounds`."""

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar, get_type_hints

from tendhost.server.domain.bounds import bounded_as

P = ParamSpec("P")
T = TypeVar("T")


def parser(parse: Callable[P, T]) -> Callable[P, T]:
    """Bounds what `parse` makes of a host's output, by the type that it is annotated with."""
    kind: list[Any] = []

    @wraps(parse)
    def within_bounds(*args: P.args, **named: P.kwargs) -> T:
        if not kind:
            kind.append(get_type_hints(parse)["return"])
        return bounded_as(kind[0], parse(*args, **named))

    within_bounds.__dict__["bounded"] = True
    return within_bounds
