"""`tendhost schedule …`."""

from collections.abc import Awaitable, Callable
from typing import Annotated

import typer

from tendhost.client import Client, MissedRuns, RolloutSpec, Schedule, ScheduleSpec
from tendhost.client.cli.formatting import duration
from tendhost.client.cli.options.rollout import with_spec
from tendhost.client.cli.options.times import moment
from tendhost.client.cli.session import Session, print_line, refuse, warn

app = typer.Typer(no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The schedule's name.")]
_MISSED = {"skip": MissedRuns.SKIP, "run-once": MissedRuns.RUN_ONCE}


@app.command()
@with_spec
def create(
    context: typer.Context,
    name: Name,
    *,
    cron: Annotated[
        str,
        typer.Option(
            metavar="'M H D M W'",
            help="Cron expression: minute, hour, day, month and weekday, as in crontab(5).",
        ),
    ] = "",
    rrule: Annotated[
        str,
        typer.Option(
            metavar="RULE",
            help="Recurrence rule instead of --cron, such as 'FREQ=MONTHLY;BYDAY=2TU;BYHOUR=22'.",
        ),
    ] = "",
    time_zone: Annotated[
        str, typer.Option(metavar="ZONE", help="Time zone of the schedule, such as Europe/Berlin.")
    ] = "UTC",
    starts_at: Annotated[
        str,
        typer.Option(
            metavar="TIME",
            help="Earliest run, such as 2026-12-01T00:00[Europe/Berlin]; a recurrence rule counts from it.",
        ),
    ] = "",
    offset_days: Annotated[
        int,
        typer.Option(
            metavar="DAYS",
            min=-366,
            max=366,
            help="Days from each date of the rule to the run, such as 10 with BYDAY=4TU; -1: the day before.",
        ),
    ] = 0,
    missed: Annotated[
        str,
        typer.Option(
            metavar="POLICY",
            help="What to do after missed runs: skip them, or run-once for all of them.",
        ),
    ] = "skip",
    grace: Annotated[
        str,
        typer.Option(metavar="DURATION", help="Time after which a run counts as missed: 15m, 2h."),
    ] = "15m",
    spec: RolloutSpec,
) -> None:
    """Create a schedule that starts rollouts by calendar.

    \b
      tendhost schedule create weekly --cron '0 3 * * 6' --time-zone Europe/Berlin --tag web
      tendhost schedule create patchday --rrule 'FREQ=MONTHLY;BYDAY=2TU;BYHOUR=22' --waves 1,20%

    The options of the rollout are those of tendhost rollout start. Hosts are selected when a run starts. A
    run is skipped while the rollout of an earlier run has not ended.
    """
    session: Session = context.obj
    wanted = ScheduleSpec(
        name=name,
        cron=cron,
        rrule=rrule,
        time_zone=time_zone,
        starts_at=moment(starts_at, "--starts-at")[0] if starts_at else None,
        offset_days=offset_days,
        missed=_policy(missed),
        grace=duration(grace, "--grace"),
        rollout=spec,
    )
    _tell(session, lambda client: client.create_schedule(wanted))


@app.command(name="set")
def set_(
    context: typer.Context,
    name: Name,
    cron: Annotated[
        str | None, typer.Option(metavar="'M H D M W'", help="Cron expression; replaces a rule.")
    ] = None,
    rrule: Annotated[
        str | None,
        typer.Option(metavar="RULE", help="Recurrence rule; replaces a cron expression."),
    ] = None,
    time_zone: Annotated[
        str | None, typer.Option(metavar="ZONE", help="Time zone of the schedule.")
    ] = None,
    starts_at: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Earliest run; a recurrence rule counts from it."),
    ] = None,
    offset_days: Annotated[
        int | None,
        typer.Option(
            metavar="DAYS", min=-366, max=366, help="Days from each date of the rule to the run."
        ),
    ] = None,
    missed: Annotated[
        str | None,
        typer.Option(metavar="POLICY", help="What to do after missed runs: skip, or run-once."),
    ] = None,
    grace: Annotated[
        str | None,
        typer.Option(metavar="DURATION", help="Time after which a run counts as missed."),
    ] = None,
) -> None:
    """Change the times of a schedule. Options that are not given keep their values.

    \b
      tendhost schedule set nightly --cron '0 4 * * *'
      tendhost schedule set nightly --missed run-once --grace 1h

    A changed rule or time zone counts from now, unless the schedule starts in the future.
    """
    session: Session = context.obj
    asked = {
        "cron": cron,
        "rrule": rrule,
        "time_zone": time_zone,
        "starts_at": moment(starts_at, "--starts-at")[0] if starts_at is not None else None,
        "offset_days": offset_days,
        "missed": _policy(missed) if missed is not None else None,
        "grace": duration(grace, "--grace") if grace is not None else None,
    }
    if all(value is None for value in asked.values()):
        refuse("nothing to change; see `tendhost schedule set --help`")
    _tell(session, lambda client: client.update_schedule(name, **asked))  # type: ignore[arg-type]


def _policy(text: str) -> MissedRuns:
    if text not in _MISSED:
        refuse(f"--missed: invalid policy {text!r}; use {', '.join(_MISSED)}")
    return _MISSED[text]


@app.command(name="list")
def list_(context: typer.Context) -> None:
    """List the schedules."""
    session: Session = context.obj

    async def work(client: Client) -> None:
        from tendhost.client.cli.render import schedules as render_schedules

        found = [schedule async for schedule in client.schedules(page_size=1000)]
        if session.json:
            session.print_json(found)
        else:
            render_schedules.schedules(found)

    session.run(work)


@app.command()
def show(context: typer.Context, name: Name) -> None:
    """Show a schedule with its next runs and its last run."""
    session: Session = context.obj

    async def work(client: Client) -> None:
        from tendhost.client.cli.render import schedules as render_schedules

        found = await client.get_schedule(name)
        warn(found.warnings)
        if session.json:
            session.print_json(found)
        else:
            render_schedules.schedule(found)

    session.run(work)


@app.command()
def pause(context: typer.Context, name: Name) -> None:
    """Pause a schedule: start no further runs. A running rollout continues."""
    _tell(context.obj, lambda client: client.pause_schedule(name))


@app.command()
def resume(context: typer.Context, name: Name) -> None:
    """Resume a schedule. Runs that were due during the pause are not caught up."""
    _tell(context.obj, lambda client: client.resume_schedule(name))


@app.command()
def delete(context: typer.Context, name: Name) -> None:
    """Delete a schedule; its rollouts are kept."""
    session: Session = context.obj

    async def work(client: Client) -> None:
        await client.delete_schedule(name)
        if session.json:
            session.print_json({"name": name, "deleted": True})
        else:
            print_line(f"deleted schedule {name}")

    session.run(work)


def _tell(session: Session, ask: Callable[[Client], Awaitable[Schedule]]) -> None:
    async def work(client: Client) -> None:
        from tendhost.client.cli.render import schedules as render_schedules

        found = await ask(client)
        warn(found.warnings)
        if session.json:
            session.print_json(found)
            return
        print_line(f"schedule {found.name} is {found.status}")
        render_schedules.next_runs(found)

    session.run(work)
