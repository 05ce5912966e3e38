"""`tendhost selection …`."""

from typing import Annotated

import typer

from tendhost.client import Client, HostFilter, HostState
from tendhost.client.cli.session import Session, warn

app = typer.Typer(no_args_is_help=True)


Name = Annotated[str, typer.Argument(metavar="NAME", help="The selection's name.")]


@app.command()
def save(
    context: typer.Context,
    name: Name,
    host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A host, or a glob of names. May be repeated."),
    ] = None,
    tag: Annotated[
        list[str] | None, typer.Option(metavar="TAG", help="A tag that hosts must have.")
    ] = None,
    any_tag: Annotated[
        list[str] | None,
        typer.Option(metavar="TAG", help="A tag that hosts may have; one of them suffices."),
    ] = None,
    group: Annotated[
        list[str] | None,
        typer.Option(metavar="GROUP", help="A group that hosts may be in; one of them suffices."),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Leave out a host, or a glob of names. May be repeated."),
    ] = None,
    state: Annotated[
        list[HostState] | None,
        typer.Option(metavar="STATE", help="A state that hosts may be in. May be repeated."),
    ] = None,
    reboot_needed: Annotated[
        bool | None,
        typer.Option("--reboot-needed/--no-reboot-needed", help="That need a reboot, or do not."),
    ] = None,
) -> None:
    """Keep a selection of hosts under a name.

    \b
      tendhost selection save canaries --tag canary --exclude db1
      tendhost rollout start --selection canaries --waves 1,rest

    It takes the place of the one that had the name. Schedules that name it update the new hosts from
    their next run on; rollouts that have begun keep theirs.
    """
    session: Session = context.obj
    selection = HostFilter(
        names=tuple(host or ()),
        all_tags=tuple(tag or ()),
        any_tags=tuple(any_tag or ()),
        groups=tuple(group or ()),
        states=tuple(state or ()),
        exclude_hosts=tuple(exclude or ()),
        reboot_needed=reboot_needed,
    )

    async def work(client: Client) -> None:
        from tendhost.client.cli.render import selections as render_selections

        found = await client.save_selection(name, selection)
        warn(found.warnings)
        if session.json:
            session.print_json(found)
        else:
            render_selections.saved(found)

    session.run(work)


@app.command(name="list")
def list_(context: typer.Context) -> None:
    """Show the saved selections."""
    session: Session = context.obj

    async def work(client: Client) -> None:
        from tendhost.client.cli.render import selections as render_selections

        found = [selection async for selection in client.selections(page_size=1000)]
        if session.json:
            session.print_json(found)
        else:
            render_selections.selections(found)

    session.run(work)


@app.command()
def show(context: typer.Context, name: Name) -> None:
    """Show a saved selection and the hosts that are in it now."""
    session: Session = context.obj

    async def work(client: Client) -> None:
        from tendhost.client.cli.render import hosts as render_hosts
        from tendhost.client.cli.render import selections as render_selections
        from tendhost.client.cli.session import plain

        found = await client.get_selection(name)
        warn(found.warnings)
        hosts = [host async for host in client.hosts(HostFilter(selection=name), page_size=1000)]
        if session.json:
            shown = plain(found)
            assert isinstance(shown, dict)
            session.print_json({**shown, "hosts": [host.name for host in hosts]})
        else:
            render_selections.saved(found)
            render_hosts.hosts(hosts)

    session.run(work)


@app.command()
def delete(context: typer.Context, name: Name) -> None:
    """Forget a saved selection; one that a schedule names cannot be forgotten."""
    session: Session = context.obj

    async def work(client: Client) -> None:
        await client.delete_selection(name)
        if session.json:
            session.print_json({"name": name, "deleted": True})
        else:
            print(f"selection {name} is deleted")

    session.run(work)
