"""Schedules, formatted for people."""

from collections.abc import Sequence

from tendhost.client import Schedule, ScheduledRun
from tendhost.client.cli.console import Cell, coloured, draw, say, say_incomplete, show, table
from tendhost.client.cli.formatting import ago, at_time, in_zone, local_time, span
from tendhost.client.cli.render import rollouts as render_rollouts
from tendhost.client.cli.render.tokens import scope


def schedules(found: Sequence[Schedule]) -> None:
    """Schedules, by name."""
    if not found:
        say("no schedules")
        return
    columns = ("NAME", "RULE", "TIME ZONE", "STATUS", "NEXT RUN", "LAST RUN")
    rows = (
        (
            s.name,
            when(s),
            s.spec.time_zone,
            coloured(str(s.status)),
            at_time(s.next_runs[0], s.spec.time_zone, named=False) if s.next_runs else "",
            f"{s.last_run.outcome} {ago(s.last_run.at)}" if s.last_run is not None else "",
        )
        for s in found
    )
    draw(table(columns, rows))
    say_incomplete(*((s.name, s.incomplete) for s in found))


def schedule(found: Schedule) -> None:
    """One schedule."""
    spec, run, rollout = found.spec, found.last_run, found.last_rollout
    lines: dict[str, Cell] = {
        "name": found.name,
        "status": coloured(str(found.status)),
        "rule": when(found),
        "time zone": spec.time_zone,
        "missed runs": f"{spec.missed}, after {span(spec.grace)}",
        "created": f"{ago(found.created_at)} by {found.created_by}",
    }
    if spec.starts_at is not None:
        lines["starts"] = local_time(spec.starts_at, spec.time_zone)
    if found.bound_to is not None:
        lines["bound to hosts of"] = scope(found.bound_to)
    lines["last run"] = _run(run, spec.time_zone) if run is not None else "none"
    if rollout is not None:
        lines["last rollout"] = (
            f"{rollout.id} {rollout.status}: {render_rollouts.sentence(rollout)}"
        )
    show(lines)
    next_runs(found)
    say_incomplete((found.name, found.incomplete))
    if rollout is not None:
        say_incomplete((rollout.id, rollout.incomplete))


def when(found: Schedule) -> str:
    """Its rule."""
    spec = found.spec
    days = spec.offset_days
    offset = f" {days:+d} {'day' if abs(days) == 1 else 'days'}" if days else ""
    return f"{spec.cron or spec.rrule}{offset}"


def next_runs(found: Schedule) -> None:
    """Its next runs, with their weekdays, in its own time zone."""
    zone = found.spec.time_zone
    if found.next_runs:
        rows = ((f"{in_zone(at, zone):%a} {at_time(at, zone)}",) for at in found.next_runs)
        draw(table(("NEXT RUNS",), rows))


def _run(run: ScheduledRun, time_zone: str) -> str:
    due = f"{run.outcome}, due {local_time(run.due_at, time_zone)}" if run.due_at else run.outcome
    rollout = f", rollout {run.rollout_id}" if run.rollout_id else ""
    return f"{due}{rollout}{': ' if run.detail else ''}{run.detail}"
