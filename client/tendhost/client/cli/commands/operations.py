"""`tendhost operation …`."""

import codecs
import io
from typing import Annotated

import typer

from tendhost.client import Client, OperationStatus
from tendhost.client.cli.commands import updates as working
from tendhost.client.cli.options.choices import chosen
from tendhost.client.cli.session import Session, print_bytes, print_line, print_text, refuse

app = typer.Typer(no_args_is_help=True)

Id = Annotated[str, typer.Argument(metavar="ID", help="The operation's id.")]


@app.command(name="list")
def list_(
    context: typer.Context,
    host: Annotated[
        str, typer.Option(metavar="NAME", help="Show only operations of this host.")
    ] = "",
    rollout: Annotated[
        str, typer.Option(metavar="ID", help="Show only operations of this rollout.")
    ] = "",
    status: Annotated[
        list[str] | None,
        typer.Option(
            metavar="STATUS",
            help="Show only operations with this status, such as failed. May be repeated.",
        ),
    ] = None,
    limit: Annotated[
        int, typer.Option(min=1, metavar="NUMBER", help="Largest number of operations to show.")
    ] = 50,
) -> None:
    """List operations, newest first.

    \b
      tendhost operation list --host web1
      tendhost operation list --status running --status queued
    """
    session: Session = context.obj

    async def work(client: Client) -> None:
        from tendhost.client.cli.render import operations as render_operations

        found = []
        async for operation in client.operations(
            host=host,
            rollout_id=rollout,
            statuses=chosen(OperationStatus, status or (), "--status"),
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
    """Watch an operation until it has ended.

    The output and the exit status are those of the command that started the operation.
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
        bool, typer.Option("--follow", help="Continue until the operation has ended.")
    ] = False,
    raw: Annotated[
        bool,
        typer.Option(
            "--raw",
            help="Print the log byte for byte, with the control sequences that the host printed.",
        ),
    ] = False,
) -> None:
    """Print the log of an operation.

    The log is the output of the package manager and of hooks. What could steer a terminal is replaced by a
    question mark in a diamond, unless --raw is given.

    With --output json, prints an object with a part of the text on each line.
    """
    session: Session = context.obj
    if raw and session.json:
        refuse("--raw cannot be combined with --output json")

    async def work(client: Client) -> None:
        handle = await client.operation(id)
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        lines = io.IncrementalNewlineDecoder(decoder, translate=True)
        async for data in handle.log(follow=follow):
            if session.json:
                session.print_json({"text": decoder.decode(data)})
            elif raw:
                print_bytes(data)
            else:
                print_text(lines.decode(data))
        if not session.json and not raw:
            print_text(lines.decode(b"", final=True))

    session.run(work)


@app.command()
def cancel(context: typer.Context, id: Id) -> None:
    """Cancel an operation before its next change.

    A running package transaction is never interrupted.
    """
    session: Session = context.obj

    async def work(client: Client) -> None:
        handle = await client.operation(id)
        message = await handle.cancel()
        if session.json:
            session.print_json({"message": message, "operation": handle.latest})
        else:
            print_line(message)

    session.run(work)
