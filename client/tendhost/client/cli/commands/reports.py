"""`tendhost why`, `tendhost compliance` and `tendhost rollout report`."""

from collections.abc import Sequence
from typing import Annotated

import typer

from tendhost.client import Client, Compliance, Explanation, HostFilter, ReportCause, RolloutReport
from tendhost.client.cli.console import coloured, draw, say, say_incomplete, table
from tendhost.client.cli.formatting import ago, counted, span
from tendhost.client.cli.options.selection import Saved
from tendhost.client.cli.render.rollouts import counts, reboots_left
from tendhost.client.cli.session import Session, clean, print_text


def why(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The host's name.")],
) -> None:
    """Explain why a host was, or was not, updated and rebooted.

    Lists the stored reasons in order of time, each with its operation or rollout.
    """
    session: Session = context.obj

    async def work(client: Client) -> None:
        found = await client.explain(name)
        if session.json:
            session.print_json(found)
        else:
            _explanation(name, found)

    session.run(work)


def compliance(
    context: typer.Context,
    tag: Annotated[
        list[str] | None,
        typer.Option(metavar="TAG", help="Count only hosts with all of these tags."),
    ] = None,
    group: Annotated[
        list[str] | None,
        typer.Option(metavar="GROUP", help="Count only hosts in one of these groups."),
    ] = None,
    saved: Saved = "",
    overdue: Annotated[
        int,
        typer.Option(
            min=1,
            max=3650,
            metavar="DAYS",
            help="List hosts without a successful update for more than this number of days.",
        ),
    ] = 30,
) -> None:
    """Show how up to date the fleet is."""
    session: Session = context.obj
    selection = HostFilter(all_tags=tuple(tag or ()), groups=tuple(group or ()), selection=saved)

    async def work(client: Client) -> None:
        found = await client.compliance(selection, overdue_days=overdue)
        if session.json:
            session.print_json(found)
        else:
            _compliance(found)

    session.run(work)


def report(
    context: typer.Context,
    id: Annotated[str, typer.Argument(metavar="ID", help="The rollout's id.")],
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print Markdown, for a ticket or a page.")
    ] = False,
) -> None:
    """Show the report of a rollout.

    Contains counts, durations, packages by version, reboots and failures by cause.
    """
    session: Session = context.obj

    async def work(client: Client) -> None:
        found = await client.rollout_report(id)
        if session.json:
            session.print_json(found)
        elif markdown:
            print_text(f"{as_markdown(found)}\n")
        else:
            _report(found)

    session.run(work)


def _explanation(name: str, found: Explanation) -> None:
    say(f"{name}: {found.update}")
    say(f"{name}: {found.reboot}")
    rows = (
        (
            f"{reason.at:%Y-%m-%d %H:%M}" if reason.at and reason.revision else "now",
            str(reason.kind).replace("_", " "),
            reason.message,
            reason.operation_id or reason.rollout_id,
        )
        for reason in found.reasons
    )
    if found.reasons:
        draw(table(("WHEN (UTC)", "WHAT", "WHY", "PROOF"), rows))
    say_incomplete((name, found.incomplete))


def _compliance(found: Compliance) -> None:
    say(f"last update of {counted(found.host_count, 'host')}: {_ages(found)}")
    say(
        f"security updates: {found.up_to_date_count} of {counted(found.host_count, 'host')} up to date,"
        f" {found.behind_count} behind, {found.unknown_count} unknown"
    )
    if found.overdue_hosts:
        rows = (
            (
                overdue.host,
                coloured(str(overdue.state)),
                "?"
                if overdue.pending_security_updates is None
                else str(overdue.pending_security_updates),
                ago(overdue.last_updated),
            )
            for overdue in found.overdue_hosts
        )
        draw(table(("HOST", "STATE", "SECURITY", "UPDATED"), rows))


def _ages(found: Compliance) -> str:
    within = [f"{count} within {days} d" for days, count in found.ages.items() if days and count]
    rest = found.ages.get(0, 0)
    longest = max(found.ages, default=0)
    return ", ".join([*within, *([f"{rest} not within {longest} d"] if rest else [])]) or "none"


def _report(found: RolloutReport) -> None:
    say(f"{found.rollout.id}  ", coloured(str(found.rollout.status)), f"  {_summary(found)}")
    if found.packages:
        rows = ((p.name, p.to_version or "removed", str(p.host_count)) for p in found.packages)
        draw(table(("PACKAGE", "VERSION", "HOSTS"), rows))
    for title, causes in (
        ("FAILED", found.failures),
        ("SKIPPED", found.skipped),
        ("STILL TO REBOOT", found.reboots_left),
    ):
        if causes:
            draw(table((title, "HOSTS", "", ""), (_cause_row(cause) for cause in causes)))
    say_incomplete((found.rollout.id, found.incomplete))


def _cause_row(cause: ReportCause) -> tuple[str, str, str, str]:
    return cause.reason, str(cause.host_count), ", ".join(cause.hosts[:5]), cause.example


def _summary(found: RolloutReport) -> str:
    total = counted(found.rollout.progress.total_hosts, "host")
    took = "still running" if found.duration is None else f"took {span(found.duration)}"
    words = f"{total}: {counts(found.rollout.progress)}; {took}; {counted(found.reboots, 'reboot')}"
    words += reboots_left(found.rollout)
    if found.longest_host:
        words += f"; the slowest host was {found.longest_host}, {span(found.longest)}"
    return words


def as_markdown(found: RolloutReport) -> str:
    """The report as a document."""
    rollout = found.rollout
    lines = [f"# Rollout {rollout.id}", "", f"**{rollout.status}**: {_summary(found)}."]
    lines += [f"Started by {rollout.created_by} at {rollout.created_at:%Y-%m-%d %H:%M} UTC.", ""]
    lines += _markdown_table(
        ("wave", "stage", "hosts", "completed", "failed", "skipped"),
        [
            (
                str(wave.number),
                wave.stage,
                str(wave.progress.total_hosts),
                str(wave.progress.completed),
                str(wave.progress.failed + wave.progress.rolled_back),
                str(wave.progress.skipped),
            )
            for wave in found.waves
        ],
    )
    if found.packages:
        lines += ["## Packages", ""]
        lines += _markdown_table(
            ("package", "version", "hosts"),
            [(p.name, p.to_version or "removed", str(p.host_count)) for p in found.packages],
        )
    for title, causes in (
        ("Failures", found.failures),
        ("Skipped", found.skipped),
        ("Still to reboot", found.reboots_left),
    ):
        if causes:
            lines += [f"## {title}", ""]
            rows = [(c.reason, str(c.host_count), ", ".join(c.hosts), c.example) for c in causes]
            lines += _markdown_table(("cause", "hosts", "which", "example"), rows)
    if found.incomplete:
        lines += [f"Incomplete: {found.incomplete}"]
    return "\n".join(lines).rstrip()


def _markdown_table(columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    drawn = [columns, ("---",) * len(columns), *rows]
    cells = (" | ".join(clean(cell).replace("|", "\\|") for cell in row) for row in drawn)
    return [*(f"| {line} |" for line in cells), ""]
