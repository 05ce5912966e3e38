"""`tendhost context …`."""

import os
from collections.abc import Callable
from typing import Annotated

import typer

from tendhost.client import TendhostError
from tendhost.client.cli.session import Session, print_line, tell
from tendhost.client.contexts import Contexts, load_contexts

app = typer.Typer(no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The context's name.")]


@app.command(name="list")
def list_(context: typer.Context) -> None:
    """List the contexts; "*" marks the current one."""
    session: Session = context.obj
    try:
        contexts = load_contexts(os.environ)
    except TendhostError as error:
        raise typer.Exit(tell(error)) from error
    if session.json:
        session.print_json(
            [
                {"name": c.name, "server": c.server, "current": c.name == contexts.current_name}
                for c in contexts.contexts
            ]
        )
        return
    if not contexts.contexts:
        print_line("no contexts")
    for found in contexts.contexts:
        mark = "*" if found.name == contexts.current_name else " "
        print_line(f"{mark} {found.name}  {found.server}")


@app.command()
def use(context: typer.Context, name: Name) -> None:
    """Set the context that later commands use."""
    _changed(context.obj, name, "using", lambda contexts: contexts.used(name))


@app.command()
def delete(context: typer.Context, name: Name) -> None:
    """Delete a context and its credential. The token stays valid until an admin deletes it."""
    _changed(context.obj, name, "deleted", lambda contexts: contexts.without(name))


def _changed(
    session: Session, name: str, word: str, change: Callable[[Contexts], Contexts]
) -> None:
    try:
        change(load_contexts(os.environ)).save()
    except TendhostError as error:
        raise typer.Exit(tell(error)) from error
    if session.json:
        session.print_json({"name": name, word: True})
    else:
        print_line(f"{word} context {name}")
