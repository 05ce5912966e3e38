"""Changes of the policy of a group or of the fleet."""

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
"""Freeze periods that the contract allows in one policy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FreezeChange:
    """Freeze periods to add, which replace those of the same name, and names of those to remove."""

    added: tuple[FreezePeriod, ...] = ()
    removed: tuple[str, ...] = ()

    def of(self, former: tuple[FreezePeriod, ...], now: datetime) -> tuple[FreezePeriod, ...]:
        """The freeze periods after the change, without past ones, new ones last."""
        gone = {*self.removed, *(freeze.name for freeze in self.added)}
        kept = (f for f in former if f.name not in gone and f.ends_at > now)
        return (*kept, *self.added)

    def unsound(self, former: tuple[FreezePeriod, ...], now: datetime) -> Iterator[FieldViolation]:
        """Violations for freeze periods that cannot be added or removed; a misspelt name must not stay unnoticed."""
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
    """None: every field, or, if something is added or removed, no field."""
    windows: WindowChange = WindowChange()
    freezes: FreezeChange = FreezeChange()
    etag: str = ""
    """The etag that the policy must have; empty: any."""

    @property
    def paths(self) -> tuple[str, ...]:
        """The fields that are changed."""
        if self.mask is not None:
            return self.mask
        return FIELDS if (self.windows, self.freezes) == (WindowChange(), FreezeChange()) else ()

    def of(self, former: GroupPolicy, now: datetime) -> GroupPolicy:
        """The changed policy. Raises InvalidArgument, which names every invalid field."""
        expected = ", ".join(CHANGEABLE)
        unknown = [
            FieldViolation("update_mask", f"{path!r} cannot be changed; expected {expected}")
            for path in self.paths
            if path not in CHANGEABLE
        ]
        if unknown:
            raise InvalidArgument(*unknown)
        policy = former
        for path in self.paths:
            policy = taken(path, policy, self.given)
        policy = replace(policy, hooks=policy.hooks.completed(former.hooks))
        wrong = (*self.windows.unsound(policy.windows), *self.freezes.unsound(policy.freezes, now))
        if wrong:
            raise InvalidArgument(*wrong)
        if self.windows != WindowChange():
            policy = replace(policy, windows=self.windows.of(policy.windows))
        if self.freezes != FreezeChange():
            policy = replace(policy, freezes=self.freezes.of(policy.freezes, now))
        _require_sound(policy, former, now)
        return policy


def _require_sound(policy: GroupPolicy, former: GroupPolicy, now: datetime) -> None:
    """Raise InvalidArgument for what no rule of the contract can see."""
    freezes = unsound_freezes(policy.freezes, now, known=former.freezes)
    found = [
        *((f"windows{field}", words) for field, words in unsound_windows(policy.windows)),
        *((f"freezes{field}", words) for field, words in freezes),
        *((f"hooks.{field}", words) for field, words in policy.hooks.unsound()),
        *((f"health_checks.{field}", words) for field, words in unusable(policy.health_checks)),
    ]
    if found:
        raise InvalidArgument(*(FieldViolation(f"policy.{f}", words) for f, words in found))
