"""What all errors of tendhost have in common: a reason, facts, and a message made of them."""

import copyreg
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, dataclass_transform

from tendhost.server.domain.secret_texts import without_secrets

MOST_NAMED = 5
"""A message names at most this many of the things that an error is about."""


@dataclass_transform(kw_only_default=True, eq_default=False)
class StructuredError(Exception):
    """An exception whose message is made of its facts.

    Each subclass becomes a dataclass whose fields are its facts, given by keyword. `template` is the message with
    the names of facts in braces; a class whose message has a condition overrides `message` instead.
    """

    template: ClassVar[str] = ""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        dataclass(eq=False, repr=False, kw_only=True)(cls)

    def __post_init__(self) -> None:
        super().__init__(without_secrets(self.message()))

    def message(self) -> str:
        """What failed, with the value, why, and what to do next. `str(error)` gives this text without secrets."""
        return self.template.format_map(self.facts())

    def facts(self) -> Mapping[str, str]:
        """The fields as text, for programs, without secrets."""
        names = [field.name for field in fields(self)]  # type: ignore[arg-type]
        return {name: without_secrets(_text(getattr(self, name))) for name in names}

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
        # An exception is copied and unpickled by its positional arguments: these have none.
        return copyreg.__newobj__, (type(self), *self.args), vars(self)  # type: ignore[attr-defined]


class TendhostError(StructuredError):
    """The root of all errors that are meant for a user.

    `reason` is the name of the class in UPPER_SNAKE: `HostNotFound` has HOST_NOT_FOUND. Programs compare reasons
    and read facts, so after a release neither a class nor a field is renamed.
    """

    reason: ClassVar[str] = "INTERNAL"

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.reason = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", cls.__name__).upper()


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
