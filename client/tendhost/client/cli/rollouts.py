"""`tendhost rollout …`."""

from typing import Annotated, Any

import typer

from tendhost.client.cli.session import DONE, HOST_FAILED, Session
from tendhost.client.cli.words import duration

app = typer.Typer(no_args_is_help=True)

Id = Annotated[str, typer.Argument(metavar="ID", help="The rollout's id.")]


@app.command()
def start(
    context: typer.Context,
    tag: Annotated[list[str] | None, typer.Option(help="A tag that hosts must have.")] = None,
    group: Annotated[list[str] | None, typer.Option(help="One of these groups.")] = None,
    exclude: Annotated[list[str] | None, typer.Option(help="A host to leave out.")] = None,
    batch_size: Annotated[int, typer.Option(help="How many hosts at a time.")] = 2,
    delay: Annotated[str, typer.Option(help="The pause between batches: 30s, 5m, 0.")] = "30s",
    dry_run: Annotated[bool, typer.Option(help="Only find out what it would do.")] = False,
    follow: Annotated[bool, typer.Option(help="Watch it to its end.")] = False,
) -> None:
    """Begin to update every host that has all the tags, a batch at a time.

    tendhost rollout start --tag web --batch-size 2 --delay 30s
    """
    session: Session = context.obj
    pause = duration(delay, "--delay")

    async def work(client: Any) -> int:
        rollout = await client.start_rollout(
            tags=tag or (),
            groups=group or (),
            exclude_hosts=exclude or (),
            batch_size=batch_size,
            delay=pause,
            dry_run=dry_run,
        )
        if follow:
            return await _watched(session, client, rollout.id)
        if session.json:
            session.print_json(rollout)
        else:
            hosts = rollout.progress.total_hosts
            print(f"rollout {rollout.id} has begun: {hosts} hosts in {rollout.batches} batches")
            print(f"watch it with: tendhost rollout watch {rollout.id}")
        return DONE

    session.run(work, interrupted=lambda: "the rollout goes on without you")


@app.command()
def watch(context: typer.Context, id: Id) -> None:
    """Follow a rollout to its end. With --output json, a line whenever it has changed."""
    session: Session = context.obj
    session.run(
        lambda client: _watched(session, client, id),
        interrupted=lambda: (
            f"the rollout goes on without you; stop it with: tendhost rollout cancel {id}"
        ),
    )


async def _watched(session: Session, client: Any, id: str) -> int:
    from tendhost.client.cli import live

    if session.json:
        failed = 0
        async for update in client.watch_rollout(id):
            session.print_json(update)
            failed = update.rollout.progress.failed
        return HOST_FAILED if failed else DONE
    rollout = await live.rollout(client, id)
    return HOST_FAILED if rollout.progress.failed else DONE


@app.command(name="list")
def list_(context: typer.Context) -> None:
    """Show the rollouts, newest first."""
    session: Session = context.obj

    async def work(client: Any) -> None:
        from tendhost.client.cli import render

        found = [rollout async for rollout in client.rollouts()]
        if session.json:
            session.print_json(found)
        else:
            render.rollouts(found)

    session.run(work)


@app.command()
def show(context: typer.Context, id: Id) -> None:
    """Show a rollout with its hosts."""
    session: Session = context.obj

    async def work(client: Any) -> None:
        from tendhost.client.cli import render
        from tendhost.client.cli.session import plain

        rollout = await client.get_rollout(id)
        members = [member async for member in client.rollout_hosts(id)]
        if session.json:
            shown = plain(rollout)
            assert isinstance(shown, dict)
            session.print_json({**shown, "hosts": members})
        else:
            render.rollout(rollout, members)

    session.run(work)


@app.command()
def pause(context: typer.Context, id: Id) -> None:
    """Start nothing new; what runs goes on."""
    _steer(context.obj, id, "pause_rollout")


@app.command()
def resume(context: typer.Context, id: Id) -> None:
    """Go on with a paused rollout."""
    _steer(context.obj, id, "resume_rollout")


@app.command()
def cancel(context: typer.Context, id: Id) -> None:
    """Start nothing new any more; what runs goes on to its end."""
    _steer(context.obj, id, "cancel_rollout")


def _steer(session: Session, id: str, call: str) -> None:
    async def work(client: Any) -> None:
        rollout = await getattr(client, call)(id)
        if session.json:
            session.print_json(rollout)
        else:
            print(f"rollout {rollout.id} is {rollout.status}")

    session.run(work)
