"""`tendhost updates` and `tendhost osquery`."""

from typing import Annotated, Literal

import typer

from tendhost.client import Client, HostFilter, PendingGrouping
from tendhost.client.cli.options.selection import (
    NotShown,
    Saved,
    ShownGroups,
    ShownNames,
    ShownTags,
)
from tendhost.client.cli.session import Session


def updates(
    context: typer.Context,
    by: Annotated[
        Literal["package", "advisory", "host"],
        typer.Option(help="Group the updates by package, advisory or host."),
    ] = "package",
    security: Annotated[
        bool,
        typer.Option("--security", help="Show only updates that are known to be security updates."),
    ] = False,
    package: Annotated[
        list[str] | None,
        typer.Option(metavar="GLOB", help="Show only packages with this name. May be repeated."),
    ] = None,
    fixes: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ID", help="Show only updates that fix this CVE or advisory. May be repeated."
        ),
    ] = None,
    withheld: Annotated[
        bool, typer.Option("--withheld", help="Also show withheld updates.")
    ] = False,
    name: ShownNames = None,
    tag: ShownTags = None,
    group: ShownGroups = None,
    exclude: NotShown = None,
    saved: Saved = "",
) -> None:
    """Show the pending updates of the fleet, security first.

    \b
      tendhost updates --security
      tendhost updates --fixes CVE-2026-0001 --by host
      tendhost updates --package 'openssl*'

    The answer comes from the last queries. Hosts whose package sources do not mark security updates are
    counted separately: unknown is not zero.
    """
    session: Session = context.obj
    selection = HostFilter(
        names=tuple(name or ()),
        all_tags=tuple(tag or ()),
        groups=tuple(group or ()),
        exclude_hosts=tuple(exclude or ()),
        selection=saved,
    )

    async def work(client: Client) -> None:
        from tendhost.client.cli.render import inventory as render_inventory

        found = await client.pending_updates(
            selection,
            group_by=PendingGrouping(by),
            security_only=security,
            packages=package or (),
            fixes=fixes or (),
            withheld=withheld,
        )
        if session.json:
            session.print_json(found)
        else:
            render_inventory.pending(
                found, by=PendingGrouping(by), security_only=security, by_fix=bool(fixes)
            )

    session.run(work)


def osquery(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the host.")],
    sql: Annotated[str, typer.Argument(metavar="SQL", help="One SELECT statement.")],
) -> None:
    """Query a host's osquery with SQL.

    \b
      tendhost osquery web1 "select name, version from deb_packages where name like 'openssl%'"

    Accepts one read-only statement and stores nothing.
    """
    session: Session = context.obj

    async def work(client: Client) -> None:
        from tendhost.client.cli.render import inventory as render_inventory

        rows = await client.osquery(name, sql)
        if session.json:
            session.print_json(rows)
        else:
            render_inventory.rows(rows)

    session.run(work)
