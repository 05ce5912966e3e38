"""Which fields of a value changed, as events tell it: their paths, and short values before and after.

What may hold a secret is told by its path alone: scripts of hooks, and commands and URLs of health checks.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime, timedelta

MAY_BE_SECRET = frozenset({"hooks", "health_checks"})
"""Fields below which nothing but paths is told."""
LONGEST = 200
"""Characters of a value that is told; of a longer one only that it changed."""
MOST = 50
"""So many changes are told: a change of everything has fewer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldChange:
    """A field that changed. None: its value is not told, because it is long or may hold a secret."""

    path: str
    """As in an update mask, such as "policy.auto_reboot"."""
    old: str | None = None
    new: str | None = None


def changes_of(
    old: object, new: object, *, renamed: Mapping[str, str] | None = None
) -> tuple[FieldChange, ...]:
    """What differs between two values of one dataclass; `renamed` gives paths their name in the contract."""
    names = renamed or {}
    found = tuple(_changes(old, new, "", told=True))[:MOST]
    return tuple(
        FieldChange(path=names.get(one.path, one.path), old=one.old, new=one.new) for one in found
    )


def _changes(old: object, new: object, path: str, *, told: bool) -> Iterator[FieldChange]:
    if old == new:
        return
    if is_dataclass(old) and is_dataclass(new) and type(old) is type(new):
        for field in fields(old):
            below = f"{path}.{field.name}" if path else field.name
            was, now = getattr(old, field.name), getattr(new, field.name)
            yield from _changes(was, now, below, told=told and field.name not in MAY_BE_SECRET)
        return
    if told:
        yield FieldChange(path=path, old=_text(old), new=_text(new))
    else:
        yield FieldChange(path=path)


def _text(value: object) -> str | None:
    """A value in words; None where it is too long, or has no words of its own."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        words: str | None = value.isoformat()
    elif isinstance(value, str | int | float | timedelta):
        words = str(value)
    elif isinstance(value, Iterable):
        parts = [_text(part) for part in value]
        words = None if None in parts else ", ".join(filter(None, parts))
    else:
        # Windows and freezes have words; other values would show how they are made.
        words = str(value) if type(value).__str__ is not object.__str__ else None
    return words if words is None or len(words) <= LONGEST else None
