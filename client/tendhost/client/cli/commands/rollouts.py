"""`tendhost rollout …`."""

from collections.abc import Awaitable, Callable
from typing import Annotated

import typer

from tendhost.client import Client, Rollout, RolloutSpec
from tendhost.client.cli.commands.reports import report
from tendhost.client.cli.formatting import counted
from tendhost.client.cli.options.rollout import spec_of, with_spec
from tendhost.client.cli.session import DONE, NOT_SUCCEEDED, Session, print_line, refuse

app = typer.Typer(no_args_is_help=True)

Id = Annotated[str, typer.Argument(metavar="ID", help="The rollout's id.")]


@app.command()
@with_spec
def plan(context: typer.Context, spec: RolloutSpec) -> None:
    """Plan a rollout: show what it would do, without touching a host.

    \b
      tendhost rollout plan --tag web --waves 1,5,20%,rest --max-failures 2

    Shows the hosts with their waves and what to expect of them, the excluded hosts with the reason, and
    the expected duration. To start exactly this rollout: tendhost rollout start --plan ID
    """
    session: Session = context.obj

    async def work(client: Client) -> None:
        from tendhost.client.cli.render import rollouts as render_rollouts
        from tendhost.client.cli.session import plain

        made = await client.plan_rollout(spec)
        hosts = [host async for host in client.planned_hosts(made.id)]
        if session.json:
            shown = plain(made)
            assert isinstance(shown, dict)
            session.print_json({**shown, "hosts": hosts})
        else:
            render_rollouts.plan(made, hosts)

    session.run(work)


@app.command()
@with_spec
def start(
    context: typer.Context,
    *,
    plan_id: Annotated[
        str,
        typer.Option(
            "--plan", metavar="ID", help="Execute this plan, if the fleet has not changed since."
        ),
    ] = "",
    follow: Annotated[
        bool, typer.Option("--follow", help="Watch the rollout until it has ended.")
    ] = False,
    spec: RolloutSpec,
) -> None:
    """Start a rollout: update many hosts in waves.

    \b
      tendhost rollout start --tag web --waves 1,5,20%,rest --max-failures 2 --follow
      tendhost rollout start --stage canary:1 --stage production:10% --approve-waves
      tendhost rollout start --dependency 'db before app' --max-unavailable '1 per zone'
      tendhost rollout start --group production --exclude db1 --dry-run --follow

    A host must match all given kinds of options: names, tags, groups, states. Without any of these, the
    rollout updates the whole fleet. With --follow the exit status is 1 if a host failed or the rollout was
    not completed.
    """
    session: Session = context.obj
    if plan_id and spec != spec_of():
        refuse("--plan cannot be combined with options of a rollout: the plan contains them")
    begun: list[str] = []

    async def work(client: Client) -> int:
        rollout = await client.start_rollout(spec, plan_id=plan_id)
        begun.append(rollout.id)
        if not session.json:
            from tendhost.client.cli.render import rollouts as render_rollouts

            hosts = counted(rollout.progress.total_hosts, "host")
            print_line(
                f"started rollout {rollout.id}: {hosts} in {counted(rollout.wave_count, 'wave')}"
            )
            render_rollouts.say_notes(rollout.notes)
        if follow:
            return await _watched(session, client, rollout.id)
        if session.json:
            session.print_json(rollout)
        else:
            print_line(f"to watch it: tendhost rollout watch {rollout.id}")
        return DONE

    session.run(work, interrupted=lambda: _goes_on(begun))


@app.command()
def watch(context: typer.Context, id: Id) -> None:
    """Watch a rollout until it has ended or halted.

    The exit status is 1 unless every host that was not skipped succeeded. With --output json, prints a line
    for each change: the rollout, and the hosts that changed.
    """
    session: Session = context.obj
    session.run(lambda client: _watched(session, client, id), interrupted=lambda: _goes_on([id]))


def _goes_on(begun: list[str]) -> str:
    if not begun:
        return "interrupted"
    (id,) = begun
    return (
        "the rollout continues on the server\n"
        f"  tendhost rollout watch {id}   to watch it again\n"
        f"  tendhost rollout cancel {id}  to start no further hosts"
    )


async def _watched(session: Session, client: Client, id: str) -> int:
    from tendhost.client.cli.render import live as render_live

    if session.json:
        latest = None
        async for update in client.watch_rollout(id):
            session.print_json(update)
            latest = update.rollout
            if render_live.is_at_rest(latest):
                break
    else:
        latest = await render_live.rollout(client, id)
    return DONE if latest and _went_well(latest) else NOT_SUCCEEDED


def _went_well(rollout: Rollout) -> bool:
    failures = rollout.progress.failed + rollout.progress.rolled_back
    return str(rollout.status) == "completed" and failures == 0


@app.command(name="list")
def list_(
    context: typer.Context,
    limit: Annotated[
        int, typer.Option(min=1, metavar="NUMBER", help="Largest number of rollouts to show.")
    ] = 50,
) -> None:
    """List rollouts, newest first."""
    session: Session = context.obj

    async def work(client: Client) -> None:
        from tendhost.client.cli.render import rollouts as render_rollouts

        found: list[Rollout] = []
        async for rollout in client.rollouts(page_size=min(limit, 1000)):
            found.append(rollout)
            if len(found) == limit:
                break
        if session.json:
            session.print_json(found)
        else:
            render_rollouts.rollouts(found)

    session.run(work)


@app.command()
def show(context: typer.Context, id: Id) -> None:
    """Show a rollout with its hosts."""
    session: Session = context.obj

    async def work(client: Client) -> None:
        from tendhost.client.cli.render import rollouts as render_rollouts
        from tendhost.client.cli.session import plain

        rollout = await client.get_rollout(id)
        members = [member async for member in client.rollout_hosts(id)]
        if session.json:
            shown = plain(rollout)
            assert isinstance(shown, dict)
            session.print_json({**shown, "hosts": members})
        else:
            render_rollouts.rollout(rollout, members)

    session.run(work)


@app.command()
def pause(context: typer.Context, id: Id) -> None:
    """Pause a rollout: start no further hosts. Running updates continue."""
    _steer(context.obj, lambda client: client.pause_rollout(id))


@app.command()
def resume(
    context: typer.Context,
    id: Id,
    max_failures: Annotated[
        str,
        typer.Option(metavar="NUMBER|PERCENT%", help="Replace the failure budget."),
    ] = "",
    ignore_reboots_left: Annotated[
        bool,
        typer.Option(
            "--ignore-reboots-left",
            help="Continue although hosts still need a reboot: end --require-rebooted.",
        ),
    ] = False,
) -> None:
    """Resume a paused or halted rollout."""
    _steer(
        context.obj,
        lambda client: client.resume_rollout(
            id, max_failures=max_failures, ignore_reboots_left=ignore_reboots_left
        ),
    )


@app.command()
def approve(
    context: typer.Context,
    id: Id,
    wave: Annotated[int, typer.Argument(min=1, metavar="WAVE", help="Number of the wave.")],
) -> None:
    """Approve the next wave of a rollout."""
    _steer(context.obj, lambda client: client.approve_wave(id, wave))


@app.command()
def skip(
    context: typer.Context,
    id: Id,
    host: Annotated[str, typer.Argument(metavar="HOST", help="Name of the host.")],
) -> None:
    """Skip a host of a rollout that has not started."""
    _steer(context.obj, lambda client: client.skip_rollout_host(id, host))


@app.command()
def retry(context: typer.Context, id: Id) -> None:
    """Retry the failed hosts of a rollout, each from the failed step.

    A rollout that has not ended continues, also if it had halted because of the failures. If the rollout has
    ended, the failed hosts get a new one. Hosts that were skipped because these had to succeed before them start
    after them.
    """
    _steer(context.obj, lambda client: client.retry_rollout(id))


@app.command()
def cancel(context: typer.Context, id: Id) -> None:
    """Cancel a rollout: start no further hosts. Running updates continue to their end."""
    _steer(context.obj, lambda client: client.cancel_rollout(id))


app.command()(report)


def _steer(session: Session, ask: Callable[[Client], Awaitable[Rollout]]) -> None:
    async def work(client: Client) -> None:
        rollout = await ask(client)
        if session.json:
            session.print_json(rollout)
        else:
            print_line(f"rollout {rollout.id} is {rollout.status}")

    session.run(work)
