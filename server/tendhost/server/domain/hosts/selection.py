"""Filters of hosts, and saved selections."""

from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from functools import lru_cache

from tendhost.server.domain.etags import etag_of
from tendhost.server.domain.hosts.host import Host
from tendhost.server.domain.hosts.states import HostState
from tendhost.server.domain.inventory.inventory import RebootNeed

_GLOB = frozenset("*?[")


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFilter:
    """A selection of hosts. Every part that is not empty must match; an empty filter selects all.

    `names` and `exclude_hosts` may hold the globs `*`, `?` and `[…]`, as fnmatch(3) without special treatment of dots.
    """

    names: tuple[str, ...] = ()
    all_tags: tuple[str, ...] = ()
    any_tags: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    """The host is in at least one of them."""
    states: tuple[HostState, ...] = ()
    exclude_hosts: tuple[str, ...] = ()
    reboot_needed: bool | None = None
    name_prefix: str = ""
    """A prefix of the name."""
    selection: str = ""
    """Name of a saved selection that must also match; empty: none."""
    also: "HostFilter | None" = None
    """The filter of `selection` when it was resolved."""

    def excludes(self, name: str) -> bool:
        """Whether `exclude_hosts` has `name` or a glob that matches it."""
        exact, globs = _sorted_out(self.exclude_hosts)
        return name in exact or any(fnmatchcase(name, glob) for glob in globs)

    def names_match(self, name: str) -> bool:
        """Whether `names` has `name` or a glob that matches it."""
        exact, globs = _sorted_out(self.names)
        return name in exact or any(fnmatchcase(name, glob) for glob in globs)

    def may_match(self, name: str) -> bool:
        """Whether the filter may match a host of this name."""
        return (
            name.startswith(self.name_prefix)
            and not self.excludes(name)
            and (not self.names or self.names_match(name))
            and (self.also is None or self.also.may_match(name))
        )

    @property
    def exact_names(self) -> frozenset[str] | None:
        """The only names that may match; None: the filter does not list them."""
        exact, globs = _sorted_out(self.names)
        return exact if exact and not globs else None

    @property
    def is_of_names(self) -> bool:
        """Whether the filter depends on the name of a host only."""
        others = self.all_tags or self.any_tags or self.groups or self.states
        return (
            not others
            and self.reboot_needed is None
            and (self.also is None or self.also.is_of_names)
        )

    def matches(self, host: Host) -> bool:
        """Whether `host` is selected."""
        config, status = host.config, host.status
        needs_reboot = status.reboot.need is RebootNeed.NEEDED
        return (
            self.may_match(host.name)
            and all(tag in config.tags for tag in self.all_tags)
            and (not self.any_tags or any(tag in config.tags for tag in self.any_tags))
            and (not self.groups or any(group in config.groups for group in self.groups))
            and (not self.states or status.state in self.states)
            and (self.reboot_needed is None or self.reboot_needed is needs_reboot)
            and (self.also is None or self.also.matches(host))
        )


def is_glob(entry: str) -> bool:
    """Whether an entry of `names` or `exclude_hosts` is a glob, and no name."""
    return not _GLOB.isdisjoint(entry)


@lru_cache(maxsize=256)
def _sorted_out(names: tuple[str, ...]) -> tuple[frozenset[str], tuple[str, ...]]:
    """The names, and the globs among them. A retry of a large rollout names thousands of hosts."""
    globs = tuple(filter(is_glob, names))
    return frozenset(names).difference(globs), globs


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedSelection:
    """A selection that requests can name."""

    name: str
    filter: HostFilter
    """Names no other saved selection."""
    changed_at: datetime
    changed_by: str = ""
    revision: int = 0

    @property
    def etag(self) -> str:
        """Changes with the filter."""
        return etag_of(self.filter)
