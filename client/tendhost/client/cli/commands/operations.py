"""`tendhost operation …`."""

import codecs
import sys
from typing import Annotated

import typer

from tendhost.client import Client, OperationStatus
from tendhost.client.cli.commands import updates as working
from tendhost.client.cli.session import Session, refuse

app = typer.Typer(no_args_is_help=True)

Id = Annotated[str, typer.Argument(metavar="ID", help="The operation's id.")]


@app.command(name="list")
def list_(
    context: typer.Context,
    host: Annotated[str, typer.Option(metavar="NAME", help="Of this host only.")] = "",
    rollout: Annotated[str, typer.Option(metavar="ID", help="Of this rollout only.")] = "",
    status: Annotated[
        list[str] | None,
        typer.Option(metavar="STATUS", help="Only those that are so, such as failed."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, metavar="NUMBER", help="At most so many.")] = 50,
) -> None:
    """Show operations, newest first.

    \b
      tendhost operation list --host web1
      tendhost operation list --status running --status queued
    """
    session: Session = context.obj

    async def work(client: Client) -> None:
        from tendhost.client.cli.render import operations as render_operations

        known = [word for word in OperationStatus if word is not OperationStatus.UNRECOGNIZED]
        for word in status or ():
            if word not in known:
                refuse(f"--status: {word!r} is no status; expected {', '.join(known)}")
        found = []
        async for operation in client.operations(
            host=host,
            rollout_id=rollout,
            statuses=[OperationStatus(word) for word in status or ()],
            page_size=min(limit, 1000),
        ):
            found.append(operation)
            if len(found) == limit:
                break
        if session.json:
            session.print_json(found)
        else:
            render_operations.operations(found)

    session.run(work)


@app.command()
def show(context: typer.Context, id: Id) -> None:
    """Show an operation with its steps and its result."""
    session: Session = context.obj

    async def work(client: Client) -> None:
        from tendhost.client.cli.render import operations as render_operations

        handle = await client.operation(id)
        if session.json:
            session.print_json(handle.latest)
        else:
            render_operations.operation(handle.latest)

    session.run(work)


@app.command()
def watch(context: typer.Context, id: Id) -> None:
    """Wait for an operation and show how it goes.

    What is printed, and the exit status, are those of the command that began it.
    """
    session: Session = context.obj

    async def work(client: Client) -> int:
        return await working.follow(session, client, [await client.operation(id)], alone=True)

    session.run(work, interrupted=lambda: working.goes_on([id]))


@app.command()
def log(
    context: typer.Context,
    id: Id,
    follow: Annotated[
        bool, typer.Option("--follow", help="Go on until the operation has ended.")
    ] = False,
) -> None:
    """Print what the package manager printed, byte for byte.

    With --output json, an object with a part of the text on each line.
    """
    session: Session = context.obj

    async def work(client: Client) -> None:
        handle = await client.operation(id)
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        async for data in handle.log(follow=follow):
            if session.json:
                session.print_json({"text": decoder.decode(data)})
            else:
                sys.stdout.buffer.write(data)
                sys.stdout.buffer.flush()

    session.run(work)


@app.command()
def cancel(context: typer.Context, id: Id) -> None:
    """Ask an operation to stop where that is sound.

    A package transaction that is under way is never interrupted.
    """
    session: Session = context.obj

    async def work(client: Client) -> None:
        handle = await client.operation(id)
        message = await handle.cancel()
        if session.json:
            session.print_json({"message": message, "operation": handle.latest})
        else:
            print(message)

    session.run(work)
