"""`tendhost rollout …`."""

from collections.abc import Awaitable, Callable
from typing import Annotated

import typer

from tendhost.client import Client, Rollout, RolloutSpec
from tendhost.client.cli.commands.reports import report
from tendhost.client.cli.formatting import counted
from tendhost.client.cli.options.rollout import spec_of, with_spec
from tendhost.client.cli.session import DONE, NOT_SUCCEEDED, Session, refuse

app = typer.Typer(no_args_is_help=True)

Id = Annotated[str, typer.Argument(metavar="ID", help="The rollout's id.")]


@app.command()
@with_spec
def plan(context: typer.Context, spec: RolloutSpec) -> None:
    """Show what a rollout would do, without touching a host.

    \b
      tendhost rollout plan --tag web --waves 1,5,20%,rest --max-failures 2

    The hosts with their waves and what is expected of them, who is left out and why, and how long it
    would take. Begin exactly this with: tendhost rollout start --plan ID
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
            "--plan", metavar="ID", help="Carry out this plan, if the fleet is still as it was."
        ),
    ] = "",
    follow: Annotated[bool, typer.Option("--follow", help="Watch it to its end.")] = False,
    spec: RolloutSpec,
) -> None:
    """Begin to update many hosts, a wave at a time.

    \b
      tendhost rollout start --tag web --waves 1,5,20%,rest --max-failures 2 --follow
      tendhost rollout start --stage canary:1 --stage production:10% --approve-waves
      tendhost rollout start --dependency 'db before app' --max-unavailable '1 per zone'
      tendhost rollout start --group production --exclude db1 --dry-run --follow

    The hosts are those that have all the tags and are in one of the groups; without any of these,
    the whole fleet. The exit status of --follow is 1 where a host failed or the rollout did not come
    to its end.
    """
    session: Session = context.obj
    if plan_id and spec != spec_of():
        refuse("--plan: a plan says what is rolled out; no other options go with it")
    begun: list[str] = []

    async def work(client: Client) -> int:
        rollout = await client.start_rollout(spec, plan_id=plan_id)
        begun.append(rollout.id)
        if not session.json:
            hosts = counted(rollout.progress.total_hosts, "host")
            print(
                f"rollout {rollout.id} has begun: {hosts} in {counted(rollout.wave_count, 'wave')}"
            )
        if follow:
            return await _watched(session, client, rollout.id)
        if session.json:
            session.print_json(rollout)
        else:
            print(f"watch it with: tendhost rollout watch {rollout.id}")
        return DONE

    session.run(work, interrupted=lambda: _goes_on(begun))


@app.command()
def watch(context: typer.Context, id: Id) -> None:
    """Follow a rollout to its end.

    It ends when the rollout has ended or has halted. The exit status is 1 unless every host that was
    not skipped succeeded. With --output json, a line
    whenever it has changed: the rollout, and those of its hosts that changed.
    """
    session: Session = context.obj
    session.run(lambda client: _watched(session, client, id), interrupted=lambda: _goes_on([id]))


def _goes_on(begun: list[str]) -> str:
    if not begun:
        return "interrupted"
    (id,) = begun
    return (
        "the rollout goes on without you\n"
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
    limit: Annotated[int, typer.Option(min=1, metavar="NUMBER", help="At most so many.")] = 50,
) -> None:
    """Show the rollouts, newest first."""
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
    """Start nothing new; what runs goes on."""
    _steer(context.obj, lambda client: client.pause_rollout(id))


@app.command()
def resume(
    context: typer.Context,
    id: Id,
    max_failures: Annotated[
        str,
        typer.Option(metavar="NUMBER|PERCENT%", help="Another failure budget from now on."),
    ] = "",
) -> None:
    """Go on with a rollout that is paused or has halted."""
    _steer(context.obj, lambda client: client.resume_rollout(id, max_failures=max_failures))


@app.command()
def approve(
    context: typer.Context,
    id: Id,
    wave: Annotated[int, typer.Argument(min=1, metavar="WAVE", help="The wave's number.")],
) -> None:
    """Let the next wave begin."""
    _steer(context.obj, lambda client: client.approve_wave(id, wave))


@app.command()
def skip(
    context: typer.Context,
    id: Id,
    host: Annotated[str, typer.Argument(metavar="HOST", help="The host to leave out.")],
) -> None:
    """Leave out a host that has not begun."""
    _steer(context.obj, lambda client: client.skip_rollout_host(id, host))


@app.command()
def retry(context: typer.Context, id: Id) -> None:
    """Try the failed hosts again, each from the step that failed.

    While the rollout has not ended, in it; a rollout that had halted goes on then. Else in a new one.
    """
    _steer(context.obj, lambda client: client.retry_rollout(id))


@app.command()
def cancel(context: typer.Context, id: Id) -> None:
    """Start nothing new any more; what runs goes on to its end."""
    _steer(context.obj, lambda client: client.cancel_rollout(id))


app.command()(report)


def _steer(session: Session, ask: Callable[[Client], Awaitable[Rollout]]) -> None:
    async def work(client: Client) -> None:
        rollout = await ask(client)
        if session.json:
            session.print_json(rollout)
        else:
            print(f"rollout {rollout.id} is {rollout.status}")

    session.run(work)
