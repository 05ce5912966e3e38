"""`tendhost operation …`."""

import sys
from typing import Annotated, Any

import typer

from tendhost.client.cli.session import Session, refuse

app = typer.Typer(no_args_is_help=True)

Id = Annotated[str, typer.Argument(metavar="ID", help="The operation's id.")]


@app.command(name="list")
def list_(
    context: typer.Context,
    host: Annotated[str, typer.Option(help="Of this host only.")] = "",
    rollout: Annotated[str, typer.Option(help="Of this rollout only.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
) -> None:
    """Show operations, newest first."""
    session: Session = context.obj

    async def work(client: Any) -> None:
        from tendhost.client.cli import render

        found = []
        async for operation in client.operations(host=host, rollout_id=rollout):
            found.append(operation)
            if len(found) == limit:
                break
        if session.json:
            session.print_json(found)
        else:
            render.operations(found)

    session.run(work)


@app.command()
def show(context: typer.Context, id: Id) -> None:
    """Show an operation with its steps and its result."""
    session: Session = context.obj

    async def work(client: Any) -> None:
        from tendhost.client.cli import render

        handle = await client.operation(id)
        if session.json:
            session.print_json(handle.latest)
        else:
            render.operation(handle.latest)

    session.run(work)


@app.command()
def log(
    context: typer.Context,
    id: Id,
    follow: Annotated[bool, typer.Option(help="Go on until the operation has ended.")] = False,
) -> None:
    """Print what the package manager printed, byte for byte."""
    session: Session = context.obj
    if session.json:
        refuse("--output: a log is printed as it is; there is no JSON form of it")

    async def work(client: Any) -> None:
        handle = await client.operation(id)
        async for data in handle.log(follow=follow):
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()

    session.run(work)


@app.command()
def cancel(context: typer.Context, id: Id) -> None:
    """Ask an operation to stop where that is sound; a package transaction is never interrupted."""
    session: Session = context.obj

    async def work(client: Any) -> None:
        handle = await client.operation(id)
        message = await handle.cancel()
        if session.json:
            session.print_json(handle.latest)
        else:
            print(message)

    session.run(work)
