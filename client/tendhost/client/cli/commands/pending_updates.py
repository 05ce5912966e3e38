"""`tendhost updates` and `tendhost osquery`."""

from typing import Annotated, Literal

import typer

from tendhost.client import Client, HostFilter, PendingGrouping
from tendhost.client.cli.options.selection import Saved
from tendhost.client.cli.session import Session


def updates(
    context: typer.Context,
    by: Annotated[
        Literal["package", "advisory", "host"], typer.Option(help="What each line is about.")
    ] = "package",
    security: Annotated[
        bool, typer.Option("--security", help="Only what is known to be a security update.")
    ] = False,
    package: Annotated[
        list[str] | None,
        typer.Option(metavar="GLOB", help="Only packages of this name. May be repeated."),
    ] = None,
    fixes: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", help="Only what fixes this CVE or advisory. May be repeated."),
    ] = None,
    withheld: Annotated[
        bool, typer.Option("--withheld", help="Also what an update leaves alone.")
    ] = False,
    name: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="On these hosts; a glob is fine.")
    ] = None,
    tag: Annotated[
        list[str] | None, typer.Option(metavar="TAG", help="On hosts with all of these tags.")
    ] = None,
    group: Annotated[
        list[str] | None, typer.Option(metavar="GROUP", help="On hosts in one of these groups.")
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Without this host; a glob is fine.")
    ] = None,
    saved: Saved = "",
) -> None:
    """Show the updates that wait over the fleet, security first.

    \b
      tendhost updates --security
      tendhost updates --fixes CVE-2026-0001 --by host
      tendhost updates --package 'openssl*'

    From what the last queries found; no host is asked. A host whose archives do not tell what is a
    security update is counted apart: unknown is not zero.
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
    name: Annotated[str, typer.Argument(metavar="NAME", help="The host.")],
    sql: Annotated[str, typer.Argument(metavar="SQL", help="One SELECT statement.")],
) -> None:
    """Ask a host's osquery, where it has one.

    \b
      tendhost osquery web1 "select name, version from deb_packages where name like 'openssl%'"

    One read-only statement; nothing is stored.
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
