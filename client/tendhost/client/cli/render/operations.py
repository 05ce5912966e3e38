"""Operations and their results, formatted for people."""

from collections.abc import Sequence

from rich.table import Table

from tendhost.client import (
    HealthResult,
    Operation,
    PackageChange,
    PendingPackage,
    ProjectChange,
    UpdateResult,
)
from tendhost.client.cli.console import (
    coloured,
    draw,
    say,
    say_incomplete,
    shortened,
    styled,
    table,
)
from tendhost.client.cli.formatting import ago, counted, lasting
from tendhost.client.cli.render.hosts import reboot_sentence
from tendhost.client.cli.session import clean


def operations(found: Sequence[Operation]) -> None:
    """Operations, newest first."""
    if not found:
        say("no operations")
        return
    rows = (
        (
            o.id,
            o.host,
            _kind(o),
            coloured(str(o.status)),
            ago(o.created_at),
            lasting(o.started_at, o.ended_at),
            shortened(o.problem.message if o.problem else ""),
        )
        for o in found
    )
    columns = ("ID", "HOST", "KIND", "STATUS", "CREATED", "DURATION", "PROBLEM")
    draw(table(columns, rows))
    say_incomplete(*((o.id, o.incomplete) for o in found))


def _kind(found: Operation) -> str:
    return f"{found.kind} (dry run)" if found.dry_run else str(found.kind)


def operation(found: Operation) -> None:
    """One operation with its steps and its result."""
    say(f"{found.id}  {found.host}  {_kind(found)}  ", coloured(str(found.status)))
    by = f" by {found.created_by}" if found.created_by else ""
    rollout = f", rollout {found.rollout_id}" if found.rollout_id else ""
    say(f"created {ago(found.created_at)}{by}{rollout}")
    for step in found.steps:
        took = lasting(step.started_at, step.ended_at)
        status = coloured(str(step.status))
        status.pad_right(10 - len(status))
        tries = f" (attempt {step.attempts})" if step.attempts > 1 else ""
        say(styled(f"  {step.name:<13}"), status, styled(f" {took:>7}  "), step.detail, tries)
    checks(found.health or (found.update.health if found.update else None))
    if found.ended:
        result(found)
    else:
        say_incomplete((found.id, found.incomplete))


def checks(found: HealthResult | None) -> None:
    """What each check found, where there was more to look at than every host's units."""
    if found is None or len(found.checks) < 2:
        return
    say("")
    rows = (
        (c.name, "passed" if c.healthy else "failed", f"{c.failures}/{c.attempts}", c.message)
        for c in found.checks
    )
    draw(table(("CHECK", "", "FAILED", "FOUND"), rows))


def result(found: Operation) -> None:
    """What came of an operation: a sentence, and the packages."""
    name = f"{found.host}: "
    if found.problem is not None:
        message = found.problem.message
        failed = (s for s in found.steps if str(s.status) in ("failed", "interrupted"))
        by_cause = sorted(failed, key=lambda step: step.detail != message)
        step = by_cause[0].name if by_cause else ""
        at = f" in step {step}: " if step else ": "
        say(name, coloured("failed"), at, found.problem.message)
    elif str(found.status) == "cancelled":
        say(name, "cancelled")
    elif found.reboot_outcome is not None and reboot_sentence(found):
        say(name, reboot_sentence(found))
    elif found.health is not None:
        say(
            name,
            styled("" if found.health.healthy else "unhealthy: ", "bold red"),
            found.health.message,
        )
    elif found.update is not None:
        say(name, update_sentence(found.update, dry_run=found.dry_run))
    else:
        say(name, found.steps[-1].detail if found.steps else str(found.status))
    if found.update is not None:
        _update_details(found.update, dry_run=found.dry_run)
    say_incomplete((found.id, found.incomplete))


def update_sentence(update: UpdateResult, *, dry_run: bool) -> str:
    """What an update did or would do, in a sentence."""
    verb = " would be" if dry_run else ""
    counts = {"upgraded": 0, "installed": 0, "removed": 0}
    for change in update.packages:
        counts[_verb(change)] += 1
    parts = [
        f"{counted(count, 'package')}{verb} {participle}"
        for participle, count in counts.items()
        if count
    ]
    if not parts:
        parts.append("nothing would be changed" if dry_run else "nothing to do")
    if update.projects:
        done = sum(1 for project in update.projects if str(project.outcome) == "updated")
        if done:
            parts.append(f"{counted(done, 'compose project')} updated")
        deferred = sum(1 for project in update.projects if str(project.outcome) == "deferred")
        if deferred:
            parts.append(f"{counted(deferred, 'compose project')} deferred")
    if update.rolled_back:
        parts.append("rolled back")
    if update.rebooted:
        parts.append("rebooted")
    if update.reboot_required:
        parts.append("a reboot is needed")
    return ", ".join(parts)


def _verb(change: PackageChange) -> str:
    if not change.from_version:
        return "installed"
    return "upgraded" if change.to_version else "removed"


def _update_details(update: UpdateResult, *, dry_run: bool) -> None:
    rows: list[tuple[str, ...]] = [
        (f"  {c.name}", c.from_version or "(new)", "→", c.to_version or "(removed)", "")
        for c in update.packages
    ]
    rows += [
        (f"  {p.name}", p.from_version, "→", p.to_version, f"withheld: {_why(p)}")
        for p in update.withheld
    ]
    rows += [
        (
            f"  {u.name}",
            u.from_version,
            "→",
            u.to_version or "(removed)",
            f"did not happen: {u.reason}" if u.reason else "did not happen",
        )
        for u in update.undone
    ]
    if rows:
        made = Table.grid(padding=(0, 2))
        for row in rows:
            made.add_row(*map(clean, row))
        draw(made)
    for project in update.projects:
        say(f"  {project.path}  {_project_words(project)}")
    for difference in update.plan_differences:
        say(f"  differs from the plan: {difference}")
    if update.restarted_services:
        say(f"  restarted: {', '.join(update.restarted_services)}")
    if update.snapshot:
        say(f"  snapshot before the update: {update.snapshot}")
    for path in update.kept_conffiles:
        say(f"  {path}  kept, although its package ships another version")
    for path in update.saved_conffiles:
        say(f"  {path}  is the former local version; the package replaced or removed it")


def _project_words(project: ProjectChange) -> str:
    words = {
        "unchanged": "nothing to do",
        "updated": "updated",
        "rolled_back": "rolled back to its former images",
        "deferred": "deferred to the next update",
        "failed": "not updated",
    }.get(str(project.outcome), str(project.outcome))
    moved = [s.service for s in project.services if s.from_image_id != s.to_image_id]
    if moved and str(project.outcome) == "updated":
        words += f": {', '.join(moved)}"
    return f"{words}: {project.problem}" if project.problem else words


def _why(package: PendingPackage) -> str:
    return {
        "held": "held by the administrator",
        "kept_back": "kept back, because it would remove another package",
        "phased": "phased, not yet released for this host",
        "excluded": "excluded",
        "downgrade": "a downgrade that the host's pins ask for",
        "pinned": "a security update that the host's pins keep out",
    }.get(str(package.withheld), str(package.withheld))
