"""`tendhost selection …`."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import typer

from tendhost.client import Client, HostFilter, HostState, Selection
from tendhost.client.cli.options.choices import chosen
from tendhost.client.cli.options.selection import (
    AnyHostTags,
    ExcludedHosts,
    HostGroups,
    HostNames,
    HostStates,
    HostTags,
    RebootNeeded,
    without_empty,
)
from tendhost.client.cli.session import Session, print_line, refuse, warn

app = typer.Typer(no_args_is_help=True)


Name = Annotated[str, typer.Argument(metavar="NAME", help="The selection's name.")]


@app.command()
def create(
    context: typer.Context,
    name: Name,
    host: HostNames = None,
    tag: HostTags = None,
    any_tag: AnyHostTags = None,
    group: HostGroups = None,
    exclude: ExcludedHosts = None,
    state: HostStates = None,
    reboot_needed: RebootNeeded = None,
) -> None:
    """Create a saved selection of hosts.

    \b
      tendhost selection create canaries --tag canary --exclude db1
      tendhost rollout start --selection canaries --waves 1,rest
    """
    selection = HostFilter(
        names=tuple(host or ()),
        all_tags=tuple(tag or ()),
        any_tags=tuple(any_tag or ()),
        groups=tuple(group or ()),
        states=chosen(HostState, state or (), "--state"),
        exclude_hosts=tuple(exclude or ()),
        reboot_needed=reboot_needed,
    )
    _show(context.obj, lambda client: client.create_selection(name, selection))


@app.command(name="set")
def set_(
    context: typer.Context,
    name: Name,
    host: HostNames = None,
    tag: HostTags = None,
    any_tag: AnyHostTags = None,
    group: HostGroups = None,
    exclude: ExcludedHosts = None,
    state: HostStates = None,
    reboot_needed: RebootNeeded = None,
    reboot_any: Annotated[
        bool, typer.Option("--reboot-any", help="Select hosts whether or not they need a reboot.")
    ] = False,
) -> None:
    """Change a saved selection. Options that are not given keep their values.

    \b
      tendhost selection set canaries --exclude db1 --exclude db2
      tendhost selection set canaries --tag ''

    Each option replaces all former values of that option; '' alone removes them. Schedules update the new
    hosts from their next run on; rollouts that have started keep their hosts.
    """
    if reboot_any and reboot_needed is not None:
        refuse("--reboot-any: it cannot be combined with --reboot-needed or --no-reboot-needed")
    states = without_empty(state)
    asked: dict[str, Any] = {
        "names": without_empty(host),
        "all_tags": without_empty(tag),
        "any_tags": without_empty(any_tag),
        "groups": without_empty(group),
        "states": None if states is None else chosen(HostState, states, "--state"),
        "exclude_hosts": without_empty(exclude),
        "reboot_needed": reboot_needed,
    }
    given = {field: value for field, value in asked.items() if value is not None}
    fields = [*given, *(["reboot_needed"] if reboot_any else [])]
    if not fields:
        refuse("nothing to change; see `tendhost selection set --help`")
    selection = HostFilter(**given)
    _show(context.obj, lambda client: client.update_selection(name, selection, fields=fields))


def _show(session: Session, ask: Callable[[Client], Awaitable[Selection]]) -> None:
    async def work(client: Client) -> None:
        from tendhost.client.cli.render import selections as render_selections

        found = await ask(client)
        warn(found.warnings)
        if session.json:
            session.print_json(found)
        else:
            render_selections.saved(found)

    session.run(work)


@app.command(name="list")
def list_(context: typer.Context) -> None:
    """List the saved selections."""
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
    """Show a saved selection and its current hosts."""
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
    """Delete a saved selection that no schedule uses."""
    session: Session = context.obj

    async def work(client: Client) -> None:
        await client.delete_selection(name)
        if session.json:
            session.print_json({"name": name, "deleted": True})
        else:
            print_line(f"deleted selection {name}")

    session.run(work)
