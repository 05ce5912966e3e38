"""The scope of an update: which pending packages it takes, and the comparison with an agreed plan."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from fnmatch import fnmatchcase

from tendhost.server.domain.inventory.inventory import PackageChange, PendingPackage, Withheld


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateScope:
    """Which pending updates an update takes. The default is everything that a plain upgrade does.

    Names may hold the globs `*`, `?` and `[…]`; see fnmatch(3).
    """

    security_only: bool = False
    """Only known security updates."""
    include: tuple[str, ...] = ()
    """Only these packages; empty: all."""
    exclude: tuple[str, ...] = ()
    """Not these packages, and none that require them."""
    allow_removals: bool = False
    """Whether a package may be removed so that others can be upgraded."""
    autoremove: bool = False
    """Whether to remove packages that were installed for others only and are no longer needed."""
    download_first: bool = False
    """Whether to download everything before anything is changed."""

    @property
    def narrows(self) -> bool:
        """Whether it takes less than a plain upgrade does."""
        return self.security_only or bool(self.include or self.exclude)

    def wants(self, package: PendingPackage) -> bool:
        """Whether a package is wanted. One that may or may not be a security update is not one."""
        names = (package.name, *package.replaces)
        return (
            (not self.security_only or package.security is True)
            and (not self.include or any(matches(name, self.include) for name in names))
            and not any(matches(name, self.exclude) for name in names)
        )

    def absent(self, pending: Iterable[PendingPackage]) -> tuple[str, ...]:
        """Which of the `include` names nothing that is pending matches."""
        names = [name for package in pending for name in (package.name, *package.replaces)]
        return tuple(glob for glob in self.include if not any(matches(n, (glob,)) for n in names))


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeOverride:
    """The scope in a request, which applies over the host's policy; None: as the policy."""

    security_only: bool | None = None
    include: tuple[str, ...] = ()
    """Only these packages, in place of those of the policy; empty: those of the policy."""
    exclude: tuple[str, ...] = ()
    """Not these packages, nor those that the policy excludes."""
    ignore_policy_packages: bool = False
    """Whether the names of the policy do not count."""
    allow_removals: bool | None = None
    autoremove: bool | None = None
    download_first: bool | None = None

    @classmethod
    def exactly(cls, scope: UpdateScope) -> "ScopeOverride":
        """An override with exactly this scope, whatever the policy is."""
        said = {field.name: getattr(scope, field.name) for field in fields(scope)}
        return cls(**said, ignore_policy_packages=True)

    def over(self, policy: UpdateScope) -> UpdateScope:
        """The scope of an update on a host with this policy."""
        names = UpdateScope() if self.ignore_policy_packages else policy
        switches = ("security_only", "allow_removals", "autoremove", "download_first")
        said = {name: getattr(self, name) for name in switches}
        return replace(
            policy,
            include=self.include or names.include,
            exclude=tuple(dict.fromkeys((*names.exclude, *self.exclude))),
            **{name: value for name, value in said.items() if value is not None},
        )


def matches(name: str, globs: Iterable[str]) -> bool:
    """Whether any of the globs matches the name, with its architecture ("wine32:i386") or without."""
    bare = _ARCHITECTURE.sub("", name)
    return any(fnmatchcase(name, glob) or fnmatchcase(bare, glob) for glob in globs)


_ARCHITECTURE = re.compile(
    r"(?<=.)(?::[a-z0-9-]+|[.](?:i[3-6]86|x86_64|aarch64|armv[0-9a-z]+|noarch|ppc64le|s390x))\Z"
)
"""What names a foreign architecture: after a colon with dpkg, after a dot with rpm."""


def narrowed(pending: Iterable[PendingPackage], scope: UpdateScope) -> tuple[PendingPackage, ...]:
    """The pending packages, with those that are not wanted withheld as EXCLUDED.

    What would be newly installed follows from what needs it, so it is excluded by name only.
    """
    if not scope.narrows:
        return tuple(pending)
    return tuple(
        package if _stays(package, scope) else replace(package, withheld=Withheld.EXCLUDED)
        for package in pending
    )


def _stays(package: PendingPackage, scope: UpdateScope) -> bool:
    if package.withheld is not Withheld.NO:
        return True
    if package.is_new:
        return not (scope.security_only or scope.include or matches(package.name, scope.exclude))
    return scope.wants(package)


def planned(
    pending: Sequence[PendingPackage], changes: Sequence[PendingPackage]
) -> tuple[PendingPackage, ...]:
    """What is pending as a transaction would leave it, ordered by name: `changes` is what it does.

    A pending package that the transaction does not change although nobody excluded it is kept back.
    """
    known = {p.name: p for p in pending if p.withheld is not Withheld.PINNED}
    done = {change.name: _with_facts(change, known.get(change.name)) for change in changes}
    left = {
        name: replace(package, withheld=Withheld.KEPT_BACK)
        if package.withheld is Withheld.NO
        else package
        for name, package in known.items()
        if name not in done
    }
    # What pins keep out is above what the transaction installs of the same package, unless that is it.
    pinned = [
        p
        for p in pending
        if p.withheld is Withheld.PINNED
        and not (p.name in done and done[p.name].to_version == p.to_version)
    ]
    return tuple(sorted((*left.values(), *done.values(), *pinned), key=lambda p: p.name))


def _with_facts(change: PendingPackage, known: PendingPackage | None) -> PendingPackage:
    # The listing knows more of a package than the plan does, which alone is sure what it replaces.
    if known is None or known.to_version != change.to_version:
        return replace(change, withheld=Withheld.NO)
    return replace(known, withheld=Withheld.NO, replaces=change.replaces)


def unwanted(
    planned: Iterable[PendingPackage], removed: Iterable[tuple[str, str]], scope: UpdateScope
) -> tuple[str, ...]:
    """What a transaction would change or remove although the scope excludes it."""
    names = [package.name for package in planned if package.withheld is Withheld.NO]
    names += [name for name, _ in removed]
    return tuple(sorted({name for name in names if matches(name, scope.exclude)}))


def wanted(planned: Iterable[PendingPackage]) -> tuple[PackageChange, ...]:
    """What is to be changed, as changes."""
    return tuple(
        PackageChange(name=p.name, from_version=p.from_version, to_version=p.to_version)
        for p in planned
        if p.withheld is Withheld.NO
    )


def differences(agreed: Iterable[PackageChange], now: Iterable[PackageChange]) -> tuple[str, ...]:
    """How what would be done now differs from what was agreed to, one phrase for each package.

    Of a package with several versions, as a kernel, one may be installed and another one removed.
    """
    before, after = _ends(agreed), _ends(now)
    found = []
    for name in sorted(before.keys() | after.keys()):
        was, will = before.get(name, []), after.get(name, [])
        gone = ", ".join(end for end in was if end not in will)
        come = ", ".join(end for end in will if end not in was)
        if not will:
            found.append(f"{name} is not pending any more")
        elif come:
            found.append(f"{name} {come} {f'instead of {gone}' if gone else 'is new'}")
        elif gone:
            found.append(f"{name} {gone} is not pending any more")
    return tuple(found)


def _ends(changes: Iterable[PackageChange]) -> dict[str, list[str]]:
    """What becomes of each package: its versions, and "removed"."""
    found: dict[str, list[str]] = {}
    for change in changes:
        found.setdefault(change.name, []).append(change.to_version or "removed")
    return found
