"""What all errors of tendhost have in common: a reason, facts, and words made of them."""

import re
from collections.abc import Mapping
from typing import ClassVar

MOST_NAMED = 5
"""So many are named of what an error is about."""


class TendhostError(Exception):
    """The root of all errors that are meant for a user.

    `reason` is the name of the class in UPPER_SNAKE: `HostNotFound` has HOST_NOT_FOUND. Programs compare it,
    so a class that was released is not renamed.
    """

    reason: ClassVar[str] = "INTERNAL"

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.reason = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", cls.__name__).upper()

    def facts(self) -> Mapping[str, str]:
        """The error's fields as text, for programs: they are never removed or renamed."""
        return {name: _text(value) for name, value in vars(self).items() if name[0] != "_"}


def _text(value: object) -> str:
    if value is None:
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)
