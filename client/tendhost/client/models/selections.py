"""Filters of hosts, and saved selections."""

from dataclasses import dataclass
from datetime import datetime

from tendhost.client.models.hosts import HostState


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFilter:
    """A selection of hosts: every part that is not empty must match.

    `names` and `exclude_hosts` may hold globs. In a rollout, what no host matches is an error.
    """

    names: tuple[str, ...] = ()
    all_tags: tuple[str, ...] = ()
    any_tags: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    states: tuple[HostState, ...] = ()
    exclude_hosts: tuple[str, ...] = ()
    reboot_needed: bool | None = None
    name_prefix: str = ""
    selection: str = ""
    """The name of a saved selection that hosts have to be in as well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """A selection that filters can name."""

    name: str
    filter: HostFilter
    changed_by: str
    changed_at: datetime | None
    revision: int
    etag: str
    """Of its filter."""
    warnings: tuple[str, ...] = ()
    """What it names and no host has; not told in lists."""
    incomplete: str = ""
    """Why it does not show everything that the server stores of it; empty: it does."""
