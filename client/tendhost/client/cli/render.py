"""What the command prints for people: tables, one host, one operation, one result."""

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from tendhost.client import (
    AfterInterruption,
    HealthResult,
    Host,
    Inventory,
    Operation,
    PackageChange,
    PendingPackage,
    ProjectChange,
    RebootOutcome,
    RestartServices,
    UpdateResult,
    UpdateScope,
)
from tendhost.client.cli.console import (
    Cell,
    coloured,
    draw,
    say,
    say_incomplete,
    shortened,
    show,
    table,
)
from tendhost.client.cli.formatting import ago, counted, duplicate_words, lasting, window_words
from tendhost.client.cli.render_health import checks_words, hooks_words
from tendhost.client.cli.session import clean


def hosts(found: Sequence[Host]) -> None:
    """The fleet."""
    if not found:
        say("no hosts")
        return
    columns = ("NAME", "STATE", "PENDING", "SECURITY", "REBOOT", "UPDATED", "TAGS", "PROBLEM")
    draw(table(columns, (_host_row(host) for host in found)))
    say_incomplete(*((host.name, host.incomplete) for host in found))


def _host_row(host: Host) -> tuple[Cell, ...]:
    known = host.queried_at is not None
    return (
        host.name,
        coloured(str(host.state)),
        str(host.pending_updates) if known else "?",
        _count(host.pending_security_updates) if known else "?",
        {"needed": "needed", "not_needed": "no"}.get(str(host.reboot.need), "?"),
        ago(host.last_updated),
        ",".join(host.tags),
        shortened(host.error),
    )


def _count(number: int | None) -> str:
    return "?" if number is None else str(number)


def _security_words(number: int | None) -> str:
    if number is None:
        return "how many of them are security updates is not known"
    return f"{number} of them security"


def host(found: Host) -> None:
    """All that is known of one host."""
    reboot = str(found.reboot.need).replace("_", " ")
    if found.reboot.reason:
        reboot += f" ({found.reboot.reason})"
    pending = "never asked"
    if found.queried_at is not None:
        pending = f"{found.pending_updates}, {_security_words(found.pending_security_updates)}"
        pending += f" (asked {ago(found.queried_at)})"
    lines: dict[str, Cell] = {
        "name": found.name,
        "state": coloured(str(found.state)),
        "address": found.addr if found.addr == "local" else _address(found),
        "host key": found.host_key_fingerprint or "none",
        "system": found.os_name or "not known yet",
        "tags": ", ".join(found.tags) or "none",
        "groups": ", ".join(found.groups) or "none",
        "compose stacks": ", ".join(found.compose_paths) or "none",
        "pending": pending,
        "reboot": reboot,
        "may reboot by itself": "yes" if found.auto_reboot else "no",
        "after an interruption": {
            AfterInterruption.UPGRADE: "repair it, and upgrade once more",
            AfterInterruption.REPAIR: "repair it only",
        }.get(found.after_interruption, "not known"),
        "may be changed": " or ".join(map(window_words, found.maintenance_windows))
        or "as its groups and the fleet say",
        "updates change": scope_words(found.scope),
        "outdated services": {
            RestartServices.NEVER: "listed only",
            RestartServices.LISTED: "restarted after an update",
            RestartServices.REBOOT: "a reason to reboot",
        }.get(found.restart_services, "not known"),
        "snapshot before": str(found.snapshots).replace("_", " "),
        "hooks": hooks_words(found.hooks),
        "healthy when": checks_words(found.health_checks),
        "taken back": "when unhealthy" if str(found.rollback) == "unhealthy" else "never",
        "healthy": {None: "never checked", True: "yes", False: "no"}[found.healthy],
        "updated": ago(found.last_updated),
    }
    if found.duplicate_of:
        others = "; ".join(map(duplicate_words, found.duplicate_of))
        lines["duplicate of"] = Text(others, "yellow")
    if found.error:
        lines["last problem"] = found.error
    show(lines)
    say_incomplete((found.name, found.incomplete))
    if found.failure is None:
        return
    failure = found.failure
    retries = f", retried {counted(failure.retry_count, 'time')}" if failure.retry_count else ""
    when = f" in step {failure.step}, {ago(failure.failed_at)}{retries}: "
    say("")
    say(coloured("failed"), when, failure.problem.message)
    seen = f"seen by {failure.acknowledged_by}" if failure.acknowledged_by else "not seen yet"
    say(f"  {seen}; once it is mended, `tendhost retry {found.name}` goes on with it")


def scope_words(scope: UpdateScope) -> str:
    """What of the pending updates is wanted, in words."""
    words = ["security updates" if scope.security_only else "everything"]
    if scope.include:
        words.append(f"only {', '.join(scope.include)}")
    if scope.exclude:
        words.append(f"not {', '.join(scope.exclude)}")
    if scope.allow_removals:
        words.append("removals allowed")
    if scope.autoremove:
        words.append("unneeded packages removed")
    if scope.download_first:
        words.append("fetched first")
    return ", ".join(words)


def _address(found: Host) -> str:
    addr = f"[{found.addr}]" if ":" in found.addr else found.addr
    return f"{found.user}@{addr}:{found.port}"


def inventory(found: Inventory) -> None:
    """What is installed and pending on a host."""
    say(
        f"{found.os_name}, kernel {found.kernel}, {found.architecture};"
        f" asked {ago(found.collected_at)}"
    )
    if found.pending_updates:
        say("")
        rows = (
            (
                p.name,
                p.from_version or "(new)",
                p.to_version,
                {True: "security", False: "", None: "?"}[p.security],
                "" if str(p.withheld) == "no" else str(p.withheld).replace("_", " "),
            )
            for p in found.pending_updates
        )
        draw(table(("PENDING", "FROM", "TO", "", "WITHHELD"), rows))
    say("")
    draw(table(("INSTALLED", "VERSION"), ((p.name, p.version) for p in found.packages)))
    say_incomplete((found.host, found.incomplete))


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
    columns = ("ID", "HOST", "KIND", "STATUS", "BEGUN", "TOOK", "PROBLEM")
    draw(table(columns, rows))
    say_incomplete(*((o.id, o.incomplete) for o in found))


def _kind(found: Operation) -> str:
    return f"{found.kind} (dry run)" if found.dry_run else str(found.kind)


def operation(found: Operation) -> None:
    """One operation with its steps and its result."""
    say(f"{found.id}  {found.host}  {_kind(found)}  ", coloured(str(found.status)))
    by = f" by {found.created_by}" if found.created_by else ""
    rollout = f", rollout {found.rollout_id}" if found.rollout_id else ""
    say(f"asked for {ago(found.created_at)}{by}{rollout}")
    for step in found.steps:
        took = lasting(step.started_at, step.ended_at)
        status = coloured(str(step.status))
        status.pad_right(10 - len(status))
        tries = f" (attempt {step.attempts})" if step.attempts > 1 else ""
        say(Text(f"  {step.name:<13}"), status, Text(f" {took:>7}  "), step.detail, tries)
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
        (c.name, "well" if c.healthy else "failed", f"{c.failures}/{c.tries}", c.message)
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
    elif found.reboot_outcome is not None and _reboot_sentence(found):
        say(name, _reboot_sentence(found))
    elif found.health is not None:
        say(
            name,
            Text("" if found.health.healthy else "unhealthy: ", "bold red"),
            found.health.message,
        )
    elif found.update is not None:
        say(name, update_sentence(found.update, dry_run=found.dry_run))
    else:
        say(name, found.steps[-1].detail if found.steps else str(found.status))
    if found.update is not None:
        _update_details(found.update, dry_run=found.dry_run)
    say_incomplete((found.id, found.incomplete))


def _reboot_sentence(found: Operation) -> str:
    """What became of a reboot that was wanted only if required; empty: of any other one."""
    why = found.reboot_reason
    match found.reboot_outcome:
        case RebootOutcome.NOT_NEEDED:
            return "no reboot needed"
        case RebootOutcome.NOT_KNOWN:
            why = f": {why}" if why else ""
            return f"not known whether a reboot is needed{why}; nothing was done"
        case _:
            return f"rebooted ({why})" if why else ""


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
        parts.append("nothing would be done" if dry_run else "nothing to do")
    if update.projects:
        done = sum(1 for project in update.projects if str(project.outcome) == "updated")
        if done:
            parts.append(f"{counted(done, 'compose project')} updated")
    if update.rolled_back:
        parts.append("taken back again")
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
        (f"  {p.name}", p.from_version, "→", p.to_version, f"left alone: {_why(p)}")
        for p in update.withheld
    ]
    if rows:
        made = Table.grid(padding=(0, 2))
        for row in rows:
            made.add_row(*map(clean, row))
        draw(made)
    for project in update.projects:
        say(f"  {project.path}  {_project_words(project)}")
    for difference in update.differences:
        say(f"  differs from the plan: {difference}")
    if update.restarted_services:
        say(f"  restarted: {', '.join(update.restarted_services)}")
    if update.snapshot:
        say(f"  the snapshot before it: {update.snapshot}")
    for path in update.kept_conffiles:
        say(f"  {path}  kept as it was, although its package ships another one")


def _project_words(project: ProjectChange) -> str:
    words = {
        "unchanged": "nothing to do",
        "updated": "updated",
        "put_back": "put back to its former images",
        "failed": "not updated",
    }.get(str(project.outcome), str(project.outcome))
    moved = [s.service for s in project.services if s.before != s.after]
    if moved and str(project.outcome) == "updated":
        words += f": {', '.join(moved)}"
    return f"{words}: {project.problem}" if project.problem else words


def _why(package: PendingPackage) -> str:
    return {
        "held": "held by the administrator",
        "kept_back": "kept back, it would remove another package",
        "phased": "phased, this host's turn has not come",
        "excluded": "not wanted",
    }.get(str(package.withheld), str(package.withheld))
