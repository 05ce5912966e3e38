"""What a filter names that nobody has: a misspelt host, tag or group selects, or spares, nobody unnoticed.

In a rollout that is planned or started such an entry is an error. What is kept for later (schedules, saved
selections, policies of groups) warns of it, for the fleet may change until then. Lists and watches answer
with what is there.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from tendhost.server.domain.hosts.selection import HostFilter, is_glob
from tendhost.server.domain.request_errors import FieldViolation

MOST_TOLD = 20
"""So many warnings name an entry each; of more it is said how many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownNames:
    """Of what a filter names, what hosts have. With globs `names` holds every host."""

    names: frozenset[str] = frozenset()
    tags: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()


def unmatched(selection: HostFilter, known: KnownNames) -> Iterator[FieldViolation]:
    """A violation for each entry that no host has; what a saved selection names is not looked at."""
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


def told(found: Sequence[FieldViolation]) -> tuple[str, ...]:
    """The same as warnings, a sentence each."""
    words = [f"{one.field}: {one.description}" for one in found[:MOST_TOLD]]
    more = len(found) - MOST_TOLD
    return (*words, f"and {more} more") if more > 0 else tuple(words)


def _has_host(entry: str, names: frozenset[str]) -> bool:
    if is_glob(entry):
        return any(fnmatchcase(name, entry) for name in names)
    return entry in names
