"""Entries of a filter that match no host: a misspelt host, tag or group would select, or exclude, nothing.

In a rollout that is planned or started such an entry is an error. Schedules, saved selections and group
policies warn of it, since the fleet may change before they are used. Lists and watches ignore it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from tendhost.server.domain.hosts.selection import HostFilter, is_glob
from tendhost.server.domain.request_errors import FieldViolation

MOST_WARNINGS = 20
"""Warnings that name an entry each; a last one counts the rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownNames:
    """The names, tags and groups of a filter that hosts have. With globs `names` holds every host."""

    names: frozenset[str] = frozenset()
    tags: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()


def unmatched(selection: HostFilter, known: KnownNames) -> Iterator[FieldViolation]:
    """A violation for each entry that matches no host, without those of a saved selection."""
    for field in ("names", "exclude_hosts"):
        for number, entry in enumerate(getattr(selection, field)):
            if not _has_host(entry, known.names):
                words = "matches no host" if is_glob(entry) else "is no host"
                yield FieldViolation(f"{field}[{number}]", f"{entry!r} {words}")
    labels = (("all_tags", known.tags), ("any_tags", known.tags), ("groups", known.groups))
    for field, there in labels:
        for number, label in enumerate(getattr(selection, field)):
            if label not in there:
                words = "is a group that no host is in" if field == "groups" else "is on no host"
                yield FieldViolation(f"{field}[{number}]", f"{label!r} {words}")


def warnings_of(found: Sequence[FieldViolation]) -> tuple[str, ...]:
    """The violations as warnings, one sentence each."""
    words = [f"{one.field}: {one.description}" for one in found[:MOST_WARNINGS]]
    more = len(found) - MOST_WARNINGS
    return (*words, f"and {more} more") if more > 0 else tuple(words)


def _has_host(entry: str, names: frozenset[str]) -> bool:
    if is_glob(entry):
        return any(fnmatchcase(name, entry) for name in names)
    return entry in names
