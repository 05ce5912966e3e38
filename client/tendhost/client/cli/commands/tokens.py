"""`tendhost token …`."""

from typing import Annotated

import typer

from tendhost.client import Client, HostFilter, Role
from tendhost.client.cli.options.choices import chosen
from tendhost.client.cli.options.times import moment
from tendhost.client.cli.session import Session, print_error, print_line, refuse

app = typer.Typer(no_args_is_help=True)


@app.command()
def create(
    context: typer.Context,
    principal: Annotated[
        str,
        typer.Argument(
            metavar="PRINCIPAL", help="Name of the user or program that uses the token."
        ),
    ],
    role: Annotated[
        list[str] | None,
        typer.Option(
            "--role",
            metavar="ROLE",
            help="viewer, operator, approver or admin; can be given more than once.",
        ),
    ] = None,
    description: Annotated[
        str, typer.Option("--description", metavar="TEXT", help="What the token is for.")
    ] = "",
    expires: Annotated[
        str | None,
        typer.Option(
            "--expires", metavar="TIME", help="When the token expires, such as 2027-01-31T00:00Z."
        ),
    ] = None,
    groups: Annotated[
        list[str] | None,
        typer.Option(
            "--group", metavar="GROUP", help="Bind the token to hosts in one of these groups."
        ),
    ] = None,
    tags: Annotated[
        list[str] | None,
        typer.Option(
            "--tag", metavar="TAG", help="Bind the token to hosts with all of these tags."
        ),
    ] = None,
    any_tags: Annotated[
        list[str] | None,
        typer.Option(
            "--any-tag", metavar="TAG", help="Bind the token to hosts with one of these tags."
        ),
    ] = None,
) -> None:
    """Create a token, and print it this once.

    \b
      tendhost token create ci --role operator --description "nightly updates"
      tendhost token create web-team --role operator --group web

    A token that is bound to hosts shows and touches no others.
    """
    session: Session = context.obj
    if not role:
        refuse("--role: say what the token is for: viewer, operator, approver or admin")
    roles = chosen(Role, role, "--role")
    expires_at = None if expires is None else moment(expires, "--expires")[0]
    scope = _scope(groups, tags, any_tags)

    async def work(client: Client) -> None:
        new = await client.create_token(
            principal, roles, description=description, expires_at=expires_at, scope=scope
        )
        if session.json:
            session.print_json(new)
            return
        print_line(new.text)
        print_error(
            f"created token {new.token.id} for {principal}; it is shown only now. Its user logs in with: tendhost"
            " login --server ADDRESS"
        )

    session.run(work)


def _scope(
    groups: list[str] | None, tags: list[str] | None, any_tags: list[str] | None
) -> HostFilter | None:
    """The hosts that the options bind a token to; None without any of them, but not where they are empty."""
    if groups is None and tags is None and any_tags is None:
        return None
    return HostFilter(
        groups=tuple(groups or ()), all_tags=tuple(tags or ()), any_tags=tuple(any_tags or ())
    )


@app.command(name="list")
def list_(context: typer.Context) -> None:
    """List the tokens, without their secrets."""
    session: Session = context.obj

    async def work(client: Client) -> None:
        from tendhost.client.cli.render import tokens as render_tokens

        found = [token async for token in client.tokens(page_size=1000)]
        if session.json:
            session.print_json(found)
        else:
            render_tokens.tokens(found)

    session.run(work)


@app.command()
def delete(
    context: typer.Context,
    id: Annotated[str, typer.Argument(metavar="ID", help="The token's id.")],
) -> None:
    """Delete a token: the server refuses it from then on."""
    session: Session = context.obj

    async def work(client: Client) -> None:
        gone = await client.delete_token(id)
        if session.json:
            session.print_json({"id": id, "deleted": True})
        else:
            print_line(f"deleted token {id} of {gone.principal}")

    session.run(work)
