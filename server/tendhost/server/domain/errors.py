"""What all errors of tendhost have in common: a reason, facts, and words made of them."""

from collections.abc import Mapping

MOST_NAMED = 5
"""So many are named of what an error is about."""


class TendhostError(Exception):
    """The root of all errors that are meant for a user. `reason` is UPPER_SNAKE and never changes."""

    reason = "INTERNAL"

    def facts(self) -> Mapping[str, str]:
        """The error's fields as text, for programs: they are never removed or renamed."""
        return {name: _text(value) for name, value in vars(self).items() if name[0] != "_"}


def _text(value: object) -> str:
    if value is None:
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)
