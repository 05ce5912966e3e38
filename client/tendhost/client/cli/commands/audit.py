"""`tendhost audit`."""

from typing import Annotated

import typer

from tendhost.client import Client
from tendhost.client.cli.options.times import moment
from tendhost.client.cli.session import Session


def audit(
    context: typer.Context,
    principal: Annotated[
        str, typer.Option("--principal", metavar="NAME", help="Only calls of this user or program.")
    ] = "",
    subject: Annotated[
        str,
        typer.Option(
            "--subject",
            "--host",
            metavar="NAME",
            help="Only calls about this host, operation, rollout or other object.",
        ),
    ] = "",
    method: Annotated[
        str,
        typer.Option("--method", metavar="METHOD", help="Only calls of this method: StartUpdate."),
    ] = "",
    since: Annotated[
        str, typer.Option("--since", metavar="TIME", help="Only records of this time and later.")
    ] = "",
    until: Annotated[
        str, typer.Option("--until", metavar="TIME", help="Only records before this time.")
    ] = "",
    limit: Annotated[
        int, typer.Option("--limit", min=1, metavar="N", help="Show at most so many records.")
    ] = 50,
) -> None:
    """List who asked the server for what, newest first.

    \b
      tendhost audit --host web1 --since 2027-01-31T00:00Z

    Needs the role admin. Refused calls are listed with the reason.
    """
    session: Session = context.obj
    since_at = moment(since, "--since")[0] if since else None
    until_at = moment(until, "--until")[0] if until else None

    async def work(client: Client) -> None:
        from tendhost.client.cli.render import audit as render_audit

        found = []
        async for record in client.audit_records(
            principal=principal,
            subject=subject,
            method=method,
            since=since_at,
            until=until_at,
            page_size=min(limit, 1000),
        ):
            found.append(record)
            if len(found) == limit:
                break
        if session.json:
            session.print_json(found)
        else:
            render_audit.records(found)

    session.run(work)
