"""Changes of parts of a value: fields that an update mask names, and entries added to lists or removed from them."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from tendhost.server.domain.policy.windows import MaintenanceWindow, unsound_windows
from tendhost.server.domain.request_errors import FieldViolation

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

V = TypeVar("V", bound="DataclassInstance")
MOST_WINDOWS = 32
"""Windows that the contract allows in a list."""


def taken(path: str, value: V, new: V) -> V:
    """`value` with the field at `path` taken from `new`."""
    field, _, rest = path.partition(".")
    changed = getattr(new, field)
    if rest:
        changed = taken(rest, getattr(value, field), changed)
    return replace(value, **{field: changed})


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelChange:
    """Tags or groups to add and to remove. Adding a present one, or removing an absent one, changes nothing."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    def of(self, former: Sequence[str]) -> tuple[str, ...]:
        """The labels after the change, in order."""
        return tuple(sorted({*former, *self.added} - {*self.removed}))

    def unsound(self, what: str) -> Iterator[FieldViolation]:
        """A violation for each label that is both added and removed."""
        for number, label in enumerate(self.removed):
            if label in self.added:
                words = f"{label!r} is also in add_{what}; leave one of the two out"
                yield FieldViolation(f"remove_{what}[{number}]", words)


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowChange:
    """Windows to add and to remove."""

    added: tuple[MaintenanceWindow, ...] = ()
    removed: tuple[MaintenanceWindow, ...] = ()

    def of(self, former: Iterable[MaintenanceWindow]) -> tuple[MaintenanceWindow, ...]:
        """The windows after the change, new ones last."""
        kept = dict.fromkeys(window for window in former if window not in self.removed)
        return tuple({**kept, **dict.fromkeys(self.added)})

    def unsound(self, former: Sequence[MaintenanceWindow]) -> Iterator[FieldViolation]:
        """Violations for windows that cannot be added or removed; a misspelt one must not stay unnoticed."""
        for field, words in unsound_windows(self.added):
            yield FieldViolation(f"add_windows{field}", words)
        for number, window in enumerate(self.removed):
            field = f"remove_windows[{number}]"
            if window in self.added:
                words = f"'{window}' is also in add_windows; leave one of the two out"
                yield FieldViolation(field, words)
            elif window not in former:
                known = "; ".join(map(str, former))
                rest = f"expected one of: {known}" if known else "there are no windows"
                yield FieldViolation(field, f"there is no window '{window}'; {rest}")
        if self.added and len(self.of(former)) > MOST_WINDOWS:
            yield FieldViolation("add_windows", f"there would be more than {MOST_WINDOWS} windows")
