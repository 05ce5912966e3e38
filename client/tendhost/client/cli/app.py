"""The command line: global options and subcommands."""

from typing import Annotated

import typer

from tendhost.client import DEFAULT_TARGET
from tendhost.client.cli.commands import (
    events,
    hosts,
    operations,
    pending_updates,
    policies,
    reports,
    rollouts,
    schedules,
    selections,
    server,
    updates,
)
from tendhost.client.cli.session import Output, Session

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
  0    done
  1    an operation, a check or a host of a rollout did not succeed
  2    the request was refused: bad input, no such host, a busy host, …
  3    the server cannot be reached, or cannot work at present
  130  interrupted; what was begun goes on
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
            help="The server: HOST:PORT or unix:/path. May stand anywhere.",
        ),
    ] = DEFAULT_TARGET,
    output: Annotated[
        Output,
        typer.Option(
            help="Tables for people, or JSON for programs: one document, or one a line where it"
            " goes on. May stand anywhere."
        ),
    ] = Output.TABLE,
) -> None:
    context.obj = Session(server, output)


app.add_typer(hosts.app, name="host", help="Add, show, change and remove hosts.")
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
app.add_typer(rollouts.app, name="rollout", help="Update many hosts, a wave at a time.")
app.add_typer(schedules.app, name="schedule", help="Rollouts on a calendar.")
app.add_typer(selections.app, name="selection", help="Selections of hosts that have a name.")
app.add_typer(policies.app, name="policy", help="What groups and the fleet say for their hosts.")
app.add_typer(operations.app, name="operation", help="What is being done, and what was done.")
app.command()(events.events)
app.command()(pending_updates.osquery)
app.command()(server.info)
app.command()(server.version)
