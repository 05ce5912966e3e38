"""The command line: global options and subcommands."""

import os
from typing import Annotated

import typer

from tendhost.client import TendhostError
from tendhost.client.cli.commands import (
    audit,
    contexts,
    events,
    hosts,
    login,
    operations,
    pending_updates,
    policies,
    reports,
    rollouts,
    schedules,
    selections,
    server,
    tokens,
    updates,
)
from tendhost.client.cli.session import Output, Session, tell
from tendhost.client.connection import DEFAULT_TARGET, Connection, default_connection
from tendhost.client.contexts import load_contexts

app = typer.Typer(
    name="tendhost",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="""Keep a fleet of Linux hosts patched, through a tendhost server.

\b
  tendhost host add web1 --address 10.0.0.5 --tag web
  tendhost update web1 --dry-run
  tendhost rollout start --tag web --waves 1,20%,rest --max-failures 2 --follow

\b
Exit status:
  0    success
  1    an operation, a check or a host of a rollout failed
  2    the request was refused: invalid input, unknown host, busy host, …
  3    the server is unreachable or unavailable
  130  interrupted; operations continue on the server
""",
)


@app.callback()
def _session(
    context: typer.Context,
    server: Annotated[
        str,
        typer.Option(
            envvar="TENDHOST_SERVER",
            metavar="ADDRESS",
            help="Address of the server: HOST:PORT or unix:/path. Without it, the current context's server,"
            " or the one on this machine. Accepted before or after the command.",
        ),
    ] = "",
    output: Annotated[
        Output,
        typer.Option(
            help="Print tables for people, or JSON for programs: one document, or one per line for"
            " streams. Accepted before or after the command."
        ),
    ] = Output.TABLE,
) -> None:
    if context.invoked_subcommand in ("context", "version"):
        # They call no server, and work where the others cannot: `context` mends what keeps those from one.
        context.obj = Session(Connection(server=DEFAULT_TARGET), output)
        return
    try:
        connection = default_connection(os.environ, load_contexts(os.environ), server=server)
    except TendhostError as error:
        raise typer.Exit(tell(error)) from error
    context.obj = Session(connection, output)


app.add_typer(hosts.app, name="host", help="Manage hosts.")
app.command()(pending_updates.updates)
app.command(name="pending", hidden=True)(pending_updates.updates)
app.command()(reports.why)
app.command()(reports.compliance)
app.command()(updates.query)
app.command()(updates.update)
app.command()(updates.reboot)
app.command()(updates.check)
app.command()(updates.retry)
app.command()(updates.acknowledge)
app.add_typer(rollouts.app, name="rollout", help="Manage rollouts: updates of many hosts in waves.")
app.add_typer(
    schedules.app, name="schedule", help="Manage schedules: rollouts that start by calendar."
)
app.add_typer(selections.app, name="selection", help="Manage saved host selections.")
app.add_typer(policies.app, name="policy", help="Manage the policies of groups and of the fleet.")
app.add_typer(operations.app, name="operation", help="Inspect operations.")
app.command()(events.events)
app.command()(pending_updates.osquery)
app.add_typer(tokens.app, name="token", help="Manage tokens, by which callers are known.")
app.command()(audit.audit)
app.add_typer(contexts.app, name="context", help="Manage contexts: servers with their credentials.")
app.command()(login.login)
app.command()(login.whoami)
app.command()(server.info)
app.command()(server.version)
