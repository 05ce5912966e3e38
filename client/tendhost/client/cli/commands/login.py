"""`tendhost login` and `whoami`."""

import io
import os
import sys
from dataclasses import replace
from getpass import getpass
from pathlib import Path
from typing import Annotated

import typer

from tendhost.client import Client, InvalidRequest
from tendhost.client.cli.session import Session, print_line, refuse
from tendhost.client.contexts import Context, load_contexts, require_name


def login(
    context: typer.Context,
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", help="Name of the new context.")
    ] = "default",
    ca: Annotated[
        str,
        typer.Option(
            "--ca",
            envvar="TENDHOST_CA",
            metavar="FILE",
            help="Certificate of the server's CA, unless the system has it.",
        ),
    ] = "",
    certificate: Annotated[
        str,
        typer.Option(
            "--certificate", metavar="FILE", help="Client certificate, in place of a token."
        ),
    ] = "",
    key: Annotated[
        str, typer.Option("--key", metavar="FILE", help="Private key of the client certificate.")
    ] = "",
) -> None:
    """Set the server and the credential that later commands use.

    \b
      tendhost login --server updates.example.org:50051 --ca ca.pem

    The token is asked for, or read from standard input or from TENDHOST_TOKEN; it is tried before anything
    is stored.
    """
    session: Session = context.obj
    try:
        require_name(name)
    except InvalidRequest as error:
        refuse(f"--name: {error.message}")
    files = {"--ca": ca, "--certificate": certificate, "--key": key}
    for option, path in files.items():
        if path and not Path(path).expanduser().is_file():
            refuse(f"{option}: {path!r} is not a file")
    token = "" if certificate else _token()
    stored = Context(
        name=name,
        server=session.server,
        token=token,
        **{
            option.removeprefix("--"): str(Path(path).expanduser().absolute()) if path else ""
            for option, path in files.items()
        },
    )

    async def work(client: Client) -> None:
        caller = await client.caller()
        load_contexts(os.environ).with_context(stored).save()
        roles = ", ".join(caller.roles)
        if session.json:
            session.print_json({"context": name, "server": session.server, "caller": caller})
        else:
            print_line(
                f"logged in at {session.server} as {caller.principal} ({roles}), context {name}"
            )

    connection = replace(
        session.connection,
        token=token,
        ca=stored.ca,
        certificate=stored.certificate,
        key=stored.key,
    )
    Session(connection, session.output).run(work)


def _token() -> str:
    given = os.environ.get("TENDHOST_TOKEN", "")
    if not given:
        given = getpass("Token: ") if sys.stdin.isatty() else _line_of_stdin()
    given = given.strip()
    if not given:
        refuse("no token was given; an admin creates one: tendhost token create NAME --role viewer")
    return given


def _line_of_stdin() -> str:
    """The first line; what is no text has letters that no token has."""
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")
    return sys.stdin.readline()


def whoami(context: typer.Context) -> None:
    """Show who you are to the server, and what you may do."""
    session: Session = context.obj

    async def work(client: Client) -> None:
        caller = await client.caller()
        if session.json:
            session.print_json(caller)
        else:
            by = f"{caller.credential_kind} {caller.credential_id}".strip()
            from tendhost.client.cli.render import tokens as render_tokens

            hosts = f", hosts: {render_tokens.scope(caller.scope)}" if caller.scope else ""
            who = caller.principal or caller.address
            print_line(f"{who}: {', '.join(caller.roles)}{hosts} (by {by})")

    session.run(work)
