"""Saved selections, formatted for people."""

from collections.abc import Sequence

from tendhost.client import HostFilter, Selection
from tendhost.client.cli.console import draw, say, say_incomplete, table
from tendhost.client.cli.formatting import ago


def selections(found: Sequence[Selection]) -> None:
    """Saved selections, by name."""
    if not found:
        say("no saved selections")
        return
    rows = ((s.name, words(s.filter), ago(s.changed_at), s.changed_by) for s in found)
    draw(table(("NAME", "HOSTS", "CHANGED", "BY"), rows))
    say_incomplete(*((s.name, s.incomplete) for s in found))


def saved(found: Selection) -> None:
    """One saved selection."""
    say(f"selection {found.name}: {words(found.filter)}")
    say_incomplete((found.name, found.incomplete))


def words(selection: HostFilter) -> str:
    """Which hosts a filter is about."""
    kinds = (
        ("named", " or ", selection.names),
        ("with", " and ", selection.all_tags),
        ("with", " or ", selection.any_tags),
        ("in", " or ", selection.groups),
        ("that are", " or ", tuple(str(state) for state in selection.states)),
        ("without", " and ", selection.exclude_hosts),
    )
    parts = [f"{word} {joined.join(names)}" for word, joined, names in kinds if names]
    if selection.reboot_needed is not None:
        parts.append("that need a reboot" if selection.reboot_needed else "that need no reboot")
    if selection.name_prefix:
        parts.append(f"whose names begin with {selection.name_prefix}")
    return "hosts " + ", ".join(parts) if parts else "every host"
