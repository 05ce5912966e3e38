"""Inventories, pending updates and rows of osquery, formatted for people."""

from collections.abc import Iterable, Mapping, Sequence

from tendhost.client import ComposeProject, Inventory, PendingEntry, PendingGrouping, PendingUpdates
from tendhost.client.cli.console import draw, say, say_incomplete, shortened, show, table
from tendhost.client.cli.formatting import ago, counted

MOST = 4
"""So many names stand in a cell; the others are counted."""


def pending(
    found: PendingUpdates, *, by: PendingGrouping, security_only: bool, by_fix: bool
) -> None:
    """The updates that wait over the fleet."""
    if found.entries:
        title = str(by).upper()
        rows = (_pending_row(entry, by) for entry in found.entries)
        other = "PACKAGES" if by is PendingGrouping.HOST else "HOSTS"
        draw(table((title, "VERSION", "SECURITY", "FIXES", other), rows))
        say_incomplete(*((entry.name, entry.incomplete) for entry in found.entries))
    else:
        say("no pending security updates" if security_only else "no pending updates")
    if found.hosts_unknown:
        say(f"not counted: {counted(found.hosts_unknown, 'host')} with unknown updates")
    if found.hosts_security_unknown:
        hosts = counted(found.hosts_security_unknown, "host")
        say(f"unknown: which updates of {hosts} are security updates")
    if found.hosts_fixes_unknown and (by_fix or by is PendingGrouping.ADVISORY):
        hosts = counted(found.hosts_fixes_unknown, "host")
        say(f"unknown: what the security updates of {hosts} fix; they are not in this list")


def _pending_row(entry: PendingEntry, by: PendingGrouping) -> tuple[str, ...]:
    word = {True: "security", False: "", None: "?"}[entry.security]
    if str(entry.severity) != "unknown":
        word = f"{word} ({entry.severity})"
    if by is PendingGrouping.HOST:
        others, count = entry.packages, entry.package_count
    else:
        others, count = entry.hosts, entry.host_count
    fixes = entry.cves if entry.cves or by is PendingGrouping.ADVISORY else entry.advisories
    return (entry.name, entry.version, word, _some(fixes, len(fixes)), _some(others, count))


def _some(names: Sequence[str], count: int) -> str:
    shown = ", ".join(names[:MOST])
    return f"{shown} and {count - MOST} more" if count > MOST else shown


def inventory(found: Inventory) -> None:
    """The machine, its file systems, network and containers."""
    lines = {
        "system": f"{found.os_name}, kernel {found.kernel}, {found.architecture}",
        "queried": ago(found.collected_at),
        "package manager": found.package_manager or "not supported",
    }
    machine = found.hardware
    if machine is not None:
        lines["machine"] = " ".join(filter(None, (machine.vendor, machine.model))) or "unknown"
        lines["processor"] = f"{machine.cpu or 'unknown'}, {counted(machine.threads, 'thread')}"
        lines["memory"] = (
            f"{_size(machine.memory_bytes)}, {_size(machine.available_bytes)} available"
        )
    outdated = found.outdated_services
    lines["outdated services"] = "unknown" if outdated is None else ", ".join(outdated) or "none"
    show(lines)
    _sentences("concluded:", found.concluded)
    _sentences("unknown:", found.missing)
    _table(
        # The path last: it may be long, and only the last column wraps.
        ("DEVICE", "TYPE", "SIZE", "FREE", "MOUNT"),
        (
            (m.device, m.type, _size(m.size_bytes), _size(m.free_bytes), m.path)
            for m in found.mounts
        ),
    )
    _table(
        ("INTERFACE", "MAC", "ADDRESSES"),
        ((i.name, i.mac, ", ".join(i.addresses)) for i in found.interfaces),
    )
    _table(
        ("CONTAINER", "IMAGE", "STATE", "HEALTH"),
        ((c.name, c.image, c.state, c.health) for c in found.containers),
    )
    _table(
        ("IMAGE", "ID", "SIZE"),
        ((", ".join(i.tags) or "(none)", i.id[:19], _size(i.size_bytes)) for i in found.images),
    )
    _table(
        ("PROJECT", "SERVICE", "IMAGE", "STATE", "PROBLEM"),
        (row for project in found.compose_projects for row in _project_rows(project)),
    )
    if found.sources:
        say("")
        say("from: " + ", ".join(f"{part} {source}" for part, source in found.sources.items()))
    say_incomplete((found.host, found.incomplete))


def _project_rows(project: ComposeProject) -> Iterable[tuple[str, ...]]:
    if not project.services:
        yield (project.path, "", "", "", shortened(project.problem))
    for service in project.services:
        image = f"{service.image} (pinned)" if service.pinned else service.image
        state = f"{service.state} ({service.health})" if service.health else service.state
        yield (project.path, service.name, image, state or "missing", shortened(project.problem))


def _sentences(title: str, sentences: Sequence[str]) -> None:
    if sentences:
        say("")
        say(title)
    for sentence in sentences:
        say(f"  {sentence}")


def _table(columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    found = tuple(rows)
    if found:
        say("")
        draw(table(columns, found))


def _size(count: int) -> str:
    for unit, size in (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count // 1024} KiB"


def rows(found: Sequence[Mapping[str, str]]) -> None:
    """What osquery answered."""
    if not found:
        say("no rows")
        return
    columns = tuple(dict.fromkeys(column for row in found for column in row))
    draw(table(columns, (tuple(row.get(column, "") for column in columns) for row in found)))
