"""`tendhost rollout …`."""

from collections.abc import Awaitable, Callable
from typing import Annotated

import typer

from tendhost.client import Client, Rollout
from tendhost.client.cli.scope import (
    Autoremove,
    DownloadFirst,
    Only,
    Removals,
    Security,
    Without,
    scope_of,
)
from tendhost.client.cli.session import DONE, NOT_SUCCEEDED, Session
from tendhost.client.cli.words import counted, duration

app = typer.Typer(no_args_is_help=True)

Id = Annotated[str, typer.Argument(metavar="ID", help="The rollout's id.")]


@app.command()
def start(
    context: typer.Context,
    tag: Annotated[
        list[str] | None, typer.Option(metavar="TAG", help="A tag that hosts must have.")
    ] = None,
    group: Annotated[
        list[str] | None,
        typer.Option(metavar="GROUP", help="A group that hosts may be in; one of them suffices."),
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A host to leave out.")
    ] = None,
    batch_size: Annotated[
        int, typer.Option(min=1, max=10_000, metavar="NUMBER", help="How many hosts at a time.")
    ] = 2,
    delay: Annotated[
        str,
        typer.Option(
            metavar="DURATION",
            help="The pause after a batch has ended: 30s, 5m, 1h30m or 0.",
        ),
    ] = "30s",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only find out what the updates would do.")
    ] = False,
    security: Security = None,
    package: Only = None,
    exclude_package: Without = None,
    allow_removals: Removals = None,
    autoremove: Autoremove = None,
    download_first: DownloadFirst = None,
    follow: Annotated[bool, typer.Option("--follow", help="Watch it to its end.")] = False,
) -> None:
    """Begin to update many hosts, a batch at a time.

    \b
      tendhost rollout start --tag web --batch-size 2 --delay 30s
      tendhost rollout start --group production --exclude db1 --dry-run --follow
      tendhost rollout start --security --follow

    The hosts are those that have all the tags and are in one of the groups; without any of these,
    the whole fleet. A host that fails does not stop the others; the exit status of --follow is 1
    then.
    """
    session: Session = context.obj
    pause = duration(delay, "--delay")
    scope = scope_of(security, package, exclude_package, allow_removals, autoremove, download_first)
    begun: list[str] = []

    async def work(client: Client) -> int:
        rollout = await client.start_rollout(
            tags=tag or (),
            groups=group or (),
            exclude_hosts=exclude or (),
            batch_size=batch_size,
            delay=pause,
            dry_run=dry_run,
            scope=scope,
        )
        begun.append(rollout.id)
        if not session.json:
            hosts = counted(rollout.progress.total_hosts, "host")
            batches = "1 batch" if rollout.batches == 1 else f"{rollout.batches} batches"
            print(f"rollout {rollout.id} has begun: {hosts} in {batches}")
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

    The exit status is 1 when a host failed or the rollout was cancelled. With --output json, a line
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
    from tendhost.client.cli import live

    if session.json:
        latest = None
        async for update in client.watch_rollout(id):
            session.print_json(update)
            latest = update.rollout
    else:
        latest = await live.rollout(client, id)
    return DONE if latest and _went_well(latest) else NOT_SUCCEEDED


def _went_well(rollout: Rollout) -> bool:
    return str(rollout.status) == "completed" and rollout.progress.failed == 0


@app.command(name="list")
def list_(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, metavar="NUMBER", help="At most so many.")] = 50,
) -> None:
    """Show the rollouts, newest first."""
    session: Session = context.obj

    async def work(client: Client) -> None:
        from tendhost.client.cli import render

        found: list[Rollout] = []
        async for rollout in client.rollouts(page_size=min(limit, 1000)):
            found.append(rollout)
            if len(found) == limit:
                break
        if session.json:
            session.print_json(found)
        else:
            render.rollouts(found)

    session.run(work)


@app.command()
def show(context: typer.Context, id: Id) -> None:
    """Show a rollout with its hosts."""
    session: Session = context.obj

    async def work(client: Client) -> None:
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
    _steer(context.obj, lambda client: client.pause_rollout(id))


@app.command()
def resume(context: typer.Context, id: Id) -> None:
    """Go on with a paused rollout."""
    _steer(context.obj, lambda client: client.resume_rollout(id))


@app.command()
def cancel(context: typer.Context, id: Id) -> None:
    """Start nothing new any more; what runs goes on to its end."""
    _steer(context.obj, lambda client: client.cancel_rollout(id))


def _steer(session: Session, ask: Callable[[Client], Awaitable[Rollout]]) -> None:
    async def work(client: Client) -> None:
        rollout = await ask(client)
        if session.json:
            session.print_json(rollout)
        else:
            print(f"rollout {rollout.id} is {rollout.status}")

    session.run(work)
