"""The command's shape: its global options and its subcommands."""

from typing import Annotated

import typer

from tendhost.client.cli import events, hosts, operations, rollouts, work
from tendhost.client.cli.session import Output, Session

app = typer.Typer(
    name="tendhost",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help=(
        "Keep a fleet of Linux hosts patched, through a tendhost server.\n\n"
        "Exit status: 0 done, 1 something failed on a host, 2 the request was refused,"
        " 3 the server cannot be reached."
    ),
)


@app.callback()
def _session(
    context: typer.Context,
    server: Annotated[
        str,
        typer.Option(envvar="TENDHOST_SERVER", help="HOST:PORT or unix:/path of the server."),
    ] = "127.0.0.1:50051",
    output: Annotated[Output, typer.Option(help="For people or for programs.")] = Output.TABLE,
) -> None:
    context.obj = Session(server, output)


app.add_typer(hosts.app, name="host", help="Add, show, change and remove hosts.")
app.add_typer(rollouts.app, name="rollout", help="Update many hosts, a batch at a time.")
app.add_typer(operations.app, name="operation", help="What is being done, and what was done.")
for command in (
    work.query,
    work.update,
    work.reboot,
    work.check,
    work.retry,
    work.acknowledge,
    events.events,
    events.info,
    events.version,
):
    app.command()(command)
