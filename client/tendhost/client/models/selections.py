"""Filters of hosts, and saved selections."""

from dataclasses import dataclass
from datetime import datetime

from tendhost.client.models.hosts import HostState


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFilter:
    """Filter of hosts: a host must match every field that is not empty.

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
    """Name of a saved selection that hosts must also match."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Saved selection, which filters can name."""

    name: str
    filter: HostFilter
    changed_by: str
    changed_at: datetime | None
    revision: int
    etag: str
    """Changes with the filter."""
    warnings: tuple[str, ...] = ()
    """Names in the filter that match nothing; not set in lists."""
    incomplete: str = ""
    """Why this value does not show everything that the server stores; empty: it does."""
