"""What the command prints for people: tables, one host, one operation, one result."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tendhost.client.cli.words import ago, lasting

if TYPE_CHECKING:
    from tendhost.client import (
        Host,
        Inventory,
        MaintenanceWindow,
        Operation,
        Rollout,
        RolloutHost,
        UpdateResult,
    )

console = Console(highlight=False, soft_wrap=True)

_COLOURS = {
    "idle": "green",
    "succeeded": "green",
    "completed": "green",
    "pending_updates": "yellow",
    "waiting_reboot": "yellow",
    "queued": "yellow",
    "paused": "yellow",
    "skipped": "yellow",
    "failed": "bold red",
    "cancelled": "magenta",
    "querying": "cyan",
    "updating": "cyan",
    "rebooting": "cyan",
    "verifying": "cyan",
    "running": "cyan",
    "in_progress": "cyan",
}


def coloured(word: str) -> str:
    """A state in its colour."""
    colour = _COLOURS.get(word)
    return f"[{colour}]{word}[/]" if colour else word


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """A table without frames, for eyes and for cut(1)."""
    made = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for position, column in enumerate(columns):
        made.add_column(column, no_wrap=position == 0)
    for row in rows:
        made.add_row(*row)
    return made


def hosts(found: Sequence["Host"]) -> None:
    """The fleet."""
    if not found:
        console.print("no hosts")
        return
    columns = ("NAME", "STATE", "PENDING", "SECURITY", "REBOOT", "UPDATED", "TAGS", "PROBLEM")
    console.print(table(columns, (_host_row(host) for host in found)))


def _host_row(host: "Host") -> tuple[str, ...]:
    known = host.queried_at is not None
    return (
        host.name,
        coloured(str(host.state)),
        str(host.pending_updates) if known else "?",
        str(host.pending_security_updates) if known else "?",
        {"needed": "needed", "not_needed": "no"}.get(str(host.reboot.need), "?"),
        ago(host.last_updated),
        escape(",".join(host.tags)),
        escape(host.error[:60]),
    )


def host(found: "Host") -> None:
    """All that is known of one host."""
    reboot = str(found.reboot.need).replace("_", " ")
    if found.reboot.reason:
        reboot += f" ({found.reboot.reason})"
    pending = "never asked"
    if found.queried_at is not None:
        pending = f"{found.pending_updates}, {found.pending_security_updates} of them security"
        pending += f" (asked {ago(found.queried_at)})"
    lines = {
        "name": found.name,
        "state": coloured(str(found.state)),
        "address": escape(f"{found.user}@{found.addr}:{found.port}"),
        "host key": found.host_key_fingerprint,
        "system": escape(found.os_name) or "not known yet",
        "tags": escape(", ".join(found.tags)) or "none",
        "groups": escape(", ".join(found.groups)) or "none",
        "pending": pending,
        "reboot": escape(reboot),
        "may reboot by itself": "yes" if found.auto_reboot else "no",
        "window": _window(found.maintenance_window),
        "healthy": {None: "never checked", True: "yes", False: "no"}[found.healthy],
        "updated": ago(found.last_updated),
    }
    if found.error:
        lines["last problem"] = escape(found.error)
    width = max(map(len, lines))
    for name, value in lines.items():
        console.print(f"{name:<{width}}  {value}")
    if found.failure is not None:
        failure = found.failure
        console.print(
            f"\n[bold red]failed[/] in step {failure.step}, {ago(failure.failed_at)},"
            f" after {failure.retry_count} retries: {escape(failure.problem.message)}"
        )
        seen = f"seen by {failure.acknowledged_by}" if failure.acknowledged_by else "not seen yet"
        console.print(f"  {escape(seen)}; `tendhost retry {found.name}` does it once more")


def _window(window: "MaintenanceWindow | None") -> str:
    if window is None:
        return "always"
    days = ",".join(window.days) or "daily"
    return f"{days} {window.start}-{window.end} {window.time_zone}"


def inventory(found: "Inventory") -> None:
    """What is installed and pending on a host."""
    system = f"{found.os_name}, kernel {found.kernel}, {found.architecture}"
    console.print(f"{escape(system)}; asked {ago(found.collected_at)}")
    if found.pending_updates:
        console.print()
        rows = (
            (
                escape(p.name),
                p.from_version or "(new)",
                p.to_version,
                "security" if p.security else "",
                "" if str(p.withheld) == "no" else str(p.withheld).replace("_", " "),
            )
            for p in found.pending_updates
        )
        console.print(table(("PENDING", "FROM", "TO", "", "WITHHELD"), rows))
    console.print()
    console.print(table(("INSTALLED", "VERSION"), ((p.name, p.version) for p in found.packages)))


def operations(found: Sequence["Operation"]) -> None:
    """Operations, newest first."""
    if not found:
        console.print("no operations")
        return
    rows = (
        (
            o.id,
            escape(o.host),
            str(o.kind) + (" (dry run)" if o.dry_run else ""),
            coloured(str(o.status)),
            ago(o.created_at),
            lasting(o.started_at, o.ended_at),
            escape(o.problem.message[:60] if o.problem else ""),
        )
        for o in found
    )
    columns = ("ID", "HOST", "KIND", "STATUS", "BEGUN", "TOOK", "PROBLEM")
    console.print(table(columns, rows))


def operation(found: "Operation") -> None:
    """One operation with its steps and its result."""
    kind = f"{found.kind} (dry run)" if found.dry_run else str(found.kind)
    console.print(f"{found.id}  {escape(found.host)}  {kind}  {coloured(str(found.status))}")
    by = f" by {found.created_by}" if found.created_by else ""
    rollout = f", rollout {found.rollout_id}" if found.rollout_id else ""
    console.print(f"asked for {ago(found.created_at)}{escape(by)}{rollout}")
    for step in found.steps:
        console.print(
            f"  {step.name:<13}{coloured(str(step.status))}"
            f"  {lasting(step.started_at, step.ended_at):>7}  {escape(step.detail)}"
        )
    result(found)


def result(found: "Operation") -> None:
    """What came of an operation, in a sentence, with the packages."""
    name = escape(found.host)
    if found.problem is not None:
        failed = next((s.name for s in found.steps if str(s.status) == "failed"), "")
        at = f" in step {failed}" if failed else ""
        console.print(f"{name}: [bold red]failed[/]{at}: {escape(found.problem.message)}")
    elif str(found.status) == "cancelled":
        console.print(f"{name}: cancelled")
    elif found.health is not None:
        console.print(f"{name}: {escape(found.health.message)}")
    elif found.update is not None:
        console.print(f"{name}: {_update_sentence(found.update, dry_run=found.dry_run)}")
    elif found.status.ended:
        detail = found.steps[-1].detail if found.steps else str(found.status)
        console.print(f"{name}: {escape(detail)}")
    if found.update is not None:
        _update_details(found.update, dry_run=found.dry_run)


def _update_sentence(update: "UpdateResult", *, dry_run: bool) -> str:
    count = len(update.packages)
    noun = "package" if count == 1 else "packages"
    if dry_run:
        return f"an update would change {count} {noun}" if count else "an update would do nothing"
    words = [f"{count} {noun} changed" if count else "nothing to update"]
    if update.rebooted:
        words.append("rebooted")
    if update.reboot_required:
        words.append("[yellow]a reboot is still needed[/]")
    return ", ".join(words)


def _update_details(update: "UpdateResult", *, dry_run: bool) -> None:
    for change in update.packages:
        was = change.from_version or "(new)"
        now = change.to_version or "(removed)"
        console.print(f"  {escape(change.name)}  {was} → {now}")
    for package in update.withheld:
        why = str(package.withheld).replace("_", " ")
        verb = "would be" if dry_run else "was"
        console.print(f"  {escape(package.name)}  {package.to_version} {verb} left alone: {why}")
    for path in update.kept_conffiles:
        console.print(f"  {escape(path)}  kept as it was, although the package ships another")


def rollouts(found: Sequence["Rollout"]) -> None:
    """Rollouts, newest first."""
    if not found:
        console.print("no rollouts")
        return
    columns = ("ID", "STATUS", "BATCH", "HOSTS", "DONE", "FAILED", "SKIPPED", "BEGUN")
    rows = (
        (
            r.id,
            coloured(str(r.status)),
            f"{r.batch}/{r.batches}",
            str(r.progress.total_hosts),
            str(r.progress.completed),
            str(r.progress.failed),
            str(r.progress.skipped),
            ago(r.created_at),
        )
        for r in found
    )
    console.print(table(columns, rows))


def rollout(found: "Rollout", members: Sequence["RolloutHost"]) -> None:
    """One rollout with its hosts."""
    kind = " (dry run)" if found.dry_run else ""
    console.print(f"{found.id}{kind}  {coloured(str(found.status))}  {rollout_sentence(found)}")
    console.print(members_table(members))


def rollout_sentence(found: "Rollout") -> str:
    """The numbers of a rollout."""
    progress = found.progress
    parts = {
        "pending": progress.pending,
        "in progress": progress.in_progress,
        "completed": progress.completed,
        "failed": progress.failed,
        "skipped": progress.skipped,
    }
    counts = ", ".join(f"{count} {word}" for word, count in parts.items() if count)
    return f"batch {found.batch} of {found.batches}; {progress.total_hosts} hosts: {counts}"


def members_table(members: Sequence["RolloutHost"]) -> Table:
    """The hosts of a rollout."""
    rows = ((m.host, str(m.batch), coloured(str(m.status)), escape(m.detail)) for m in members)
    return table(("HOST", "BATCH", "STATUS", ""), rows)
