"""Scopes: the hosts that a credential is bound to. Whoever calls with it sees and touches no others."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, fields, replace

from tendhost.server.domain.hosts.host import Host
from tendhost.server.domain.hosts.selection import HostFilter
from tendhost.server.domain.request_errors import FieldViolation, InvalidArgument


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """A filter of labels, which admins give to hosts: every part that is not empty must match.

    A host cannot change by itself whether it matches, as it could with a filter of states. Names are no part of it:
    whoever removes a host and registers another one under its name would give the other one away.
    """

    all_tags: tuple[str, ...] = ()
    any_tags: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()

    @property
    def filter(self) -> HostFilter:
        """The hosts of the scope."""
        return HostFilter(all_tags=self.all_tags, any_tags=self.any_tags, groups=self.groups)

    def narrow(self, asked: HostFilter) -> HostFilter:
        """Those of the hosts that `asked`, which is resolved, selects that the scope has, too."""
        also = self.filter if asked.also is None else self.narrow(asked.also)
        return replace(asked, also=also)

    def has(self, host: Host) -> bool:
        """Whether the scope has `host` as it is now."""
        return self.has_labels(groups=host.config.groups, tags=host.config.tags)

    def has_labels(self, *, groups: Collection[str], tags: Collection[str]) -> bool:
        """Whether the scope has a host with these labels."""
        return (
            all(tag in tags for tag in self.all_tags)
            and (not self.any_tags or any(tag in tags for tag in self.any_tags))
            and (not self.groups or any(group in groups for group in self.groups))
        )

    def within(self, other: "Scope | None") -> bool:
        """Whether `other` is sure to have every host that this scope has, however hosts are labelled; None has all.

        It may be False where `other` has all of them by chance, or in a roundabout way.
        """
        if other is None:
            return True
        return (
            set(other.all_tags) <= set(self.all_tags)
            and _part_of(self.groups, other.groups)
            and (
                _part_of(self.any_tags, other.any_tags)
                or not set(self.all_tags).isdisjoint(other.any_tags)
            )
        )

    def __str__(self) -> str:
        """As errors name it: "groups web, db; all of the tags prod"."""
        return "; ".join(
            f"{words} {', '.join(getattr(self, field))}"
            for field, words in _WORDS.items()
            if getattr(self, field)
        )


def _part_of(some: Collection[str], others: Collection[str]) -> bool:
    """Whether whoever has one of `some` has one of `others`; empty: no label is asked for."""
    return not others or (bool(some) and set(some) <= set(others))


_WORDS: Mapping[str, str] = {
    "groups": "groups",
    "all_tags": "all of the tags",
    "any_tags": "any of the tags",
}


def scope_of(asked: HostFilter) -> Scope:
    """The scope that a filter asks for. Raises InvalidArgument: it has other parts than labels, or none."""
    violations = list(_violations(asked))
    if violations:
        raise InvalidArgument(*violations)
    return Scope(**{field: tuple(dict.fromkeys(getattr(asked, field))) for field in _WORDS})


def _violations(asked: HostFilter) -> Iterator[FieldViolation]:
    empty = HostFilter()
    for part in fields(HostFilter):
        if part.name not in _WORDS and getattr(asked, part.name) != getattr(empty, part.name):
            words = "cannot bind a token: only groups, all_tags and any_tags can, which admins alone change"
            yield FieldViolation(f"scope.{part.name}", words)
    if not any(getattr(asked, field) for field in _WORDS):
        words = "names no group and no tag; leave it out for a token that is bound to no hosts"
        yield FieldViolation("scope", words)
