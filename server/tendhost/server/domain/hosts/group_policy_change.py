"""What is to be said otherwise of a group or of the fleet, and what comes of it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from tendhost.server.domain.hosts.amendments import WindowChange, taken
from tendhost.server.domain.hosts.group_policy import GroupPolicy
from tendhost.server.domain.policy.freezes import FreezePeriod, unsound_freezes
from tendhost.server.domain.policy.health_checks import unusable
from tendhost.server.domain.policy.windows import unsound_windows
from tendhost.server.domain.request_errors import FieldViolation, InvalidArgument

FIELDS = ("windows", "freezes", "hooks", "health_checks")
CHANGEABLE = (
    "windows",
    "freezes",
    "hooks",
    "hooks.pre",
    "hooks.post",
    "health_checks",
    "health_checks.checks",
    "health_checks.settle",
)
"""The paths that an update mask may hold."""
MOST_FREEZES = 100
"""As the contract allows for a group, and for the fleet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FreezeChange:
    """Freezes to add, in the place of those of their names, and names of those to lift."""

    added: tuple[FreezePeriod, ...] = ()
    removed: tuple[str, ...] = ()

    def of(self, former: tuple[FreezePeriod, ...], now: datetime) -> tuple[FreezePeriod, ...]:
        """Those that are left, without those that have passed, new ones last."""
        gone = {*self.removed, *(freeze.name for freeze in self.added)}
        kept = (f for f in former if f.name not in gone and f.ends_at > now)
        return (*kept, *self.added)

    def unsound(self, former: tuple[FreezePeriod, ...], now: datetime) -> Iterator[FieldViolation]:
        """What cannot be added or removed. A misspelt name must not leave a freeze in force unnoticed."""
        for field, words in unsound_freezes(self.added, now, known=former):
            yield FieldViolation(f"add_freezes{field}", words)
        names, added = [f.name for f in former], {f.name for f in self.added}
        for number, name in enumerate(self.removed):
            field = f"remove_freezes[{number}]"
            if name in added:
                words = f"{name!r} is also in add_freezes; leave one of the two out"
                yield FieldViolation(field, words)
            elif name not in names:
                known = ", ".join(map(repr, names))
                rest = f"expected one of: {known}" if known else "there are no freezes"
                yield FieldViolation(field, f"there is no freeze {name!r}; {rest}")
        if self.added and len(self.of(former, now)) > MOST_FREEZES:
            yield FieldViolation("add_freezes", f"there would be more than {MOST_FREEZES} freezes")


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupPolicyChange:
    """New values for the fields that `mask` names, then the lists."""

    given: GroupPolicy
    mask: tuple[str, ...] | None = None
    """None: every field; but none where something is added or removed."""
    windows: WindowChange = WindowChange()
    freezes: FreezeChange = FreezeChange()
    etag: str = ""
    """The etag that the defaults must have; empty: any."""

    @property
    def paths(self) -> tuple[str, ...]:
        """The fields that are changed."""
        if self.mask is not None:
            return self.mask
        return FIELDS if (self.windows, self.freezes) == (WindowChange(), FreezeChange()) else ()

    def of(self, former: GroupPolicy, now: datetime) -> GroupPolicy:
        """What is to be said. Raises InvalidArgument, which names every invalid field."""
        expected = ", ".join(CHANGEABLE)
        unknown = [
            FieldViolation("update_mask", f"{path!r} cannot be changed; expected {expected}")
            for path in self.paths
            if path not in CHANGEABLE
        ]
        if unknown:
            raise InvalidArgument(*unknown)
        said = former
        for path in self.paths:
            said = taken(path, said, self.given)
        wrong = (*self.windows.unsound(said.windows), *self.freezes.unsound(said.freezes, now))
        if wrong:
            raise InvalidArgument(*wrong)
        if self.windows != WindowChange():
            said = replace(said, windows=self.windows.of(said.windows))
        if self.freezes != FreezeChange():
            said = replace(said, freezes=self.freezes.of(said.freezes, now))
        _require_sound(said, former, now)
        return said


def _require_sound(wish: GroupPolicy, former: GroupPolicy, now: datetime) -> None:
    """Raise InvalidArgument for what no rule of the contract can see."""
    freezes = unsound_freezes(wish.freezes, now, known=former.freezes)
    found = [
        *((f"windows{field}", words) for field, words in unsound_windows(wish.windows)),
        *((f"freezes{field}", words) for field, words in freezes),
        *((f"health_checks.{field}", words) for field, words in unusable(wish.health_checks)),
    ]
    if found:
        raise InvalidArgument(*(FieldViolation(f"policy.{f}", words) for f, words in found))
