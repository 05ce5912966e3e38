"""Options whose values are names of an enum, as the contract knows them."""

from collections.abc import Sequence
from enum import StrEnum
from typing import TypeVar

from tendhost.client.cli.session import refuse

E = TypeVar("E", bound=StrEnum)


def chosen(kind: type[E], values: Sequence[str], option: str) -> tuple[E, ...]:
    """The members that `values` name; refuses any other value as one of `option`.

    "unrecognized" is none: it stands for members of a newer server's, and cannot be asked for.
    """
    known = {str(member): member for member in kind if member.name != "UNRECOGNIZED"}
    for value in values:
        if value not in known:
            noun = option.removeprefix("--")
            refuse(f"{option}: invalid {noun} {value!r}; use {', '.join(known)}")
    return tuple(known[value] for value in values)
