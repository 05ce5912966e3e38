"""`tendhost host …`."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from tendhost.client import (
    Client,
    Host,
    HostFilter,
    HostKeyChanged,
    HostState,
    InvalidRequest,
    RootAccess,
    UpdateScope,
    retry_on_conflict,
)
from tendhost.client.cli.formatting import AddWindow, RemoveWindow, windows
from tendhost.client.cli.options.choices import chosen
from tendhost.client.cli.options.host import (
    AddGroups,
    AddHostKeys,
    Address,
    AddTags,
    Duplicate,
    GivenSettings,
    HostKey,
    KnownHosts,
    Name,
    RemoveGroups,
    RemoveHostKeys,
    RemoveTags,
    Repin,
    host_keys_of,
    known_hosts_of,
    with_settings,
)
from tendhost.client.cli.options.selection import (
    NotShown,
    Saved,
    ShownGroups,
    ShownNames,
    ShownTags,
)
from tendhost.client.cli.session import DONE, NOT_SUCCEEDED, Session, print_line, refuse, warn

app = typer.Typer(no_args_is_help=True)

_ROOT = {RootAccess.SUDO: ", who becomes root with sudo -n"}
"""What is said of a user other than root."""


@app.command()
@with_settings
def add(
    context: typer.Context,
    name: Name,
    address: Annotated[str, Address],
    given: GivenSettings,
    host_key: HostKey = None,
    known_hosts: KnownHosts = None,
    allow_duplicate: Duplicate = False,
    test: Annotated[
        bool, typer.Option("--test/--no-test", help="Log in once to check the login.")
    ] = True,
) -> None:
    """Add a host, pin its host key, and test the login.

    \b
      tendhost host add web1 --address 10.0.0.5 --user root --tag web --group production
      tendhost host add db1 --address db1.example.org --no-auto-reboot \\
          --window 'sat,sun 22:00-04:00 Europe/Vienna' --host-key SHA256:…
      tendhost host add db2 --address db2.example.org --known-hosts ~/.ssh/known_hosts

    Prints the fingerprint of the pinned key. Changes nothing on the host. If the login does not work, the host is
    added all the same, and the exit status is 1. Options for the scope of updates (--security, --package, …) are
    the host's policy; a single update can override them.
    """
    session: Session = context.obj
    known, keys = known_hosts_of(known_hosts), host_keys_of(host_key, "--host-key")

    async def work(client: Client) -> int:
        host = await client.add_host(
            name,
            address,
            expected_host_key="\n".join(keys),
            known_hosts=known,
            allow_duplicate=allow_duplicate,
            **given.with_scope(UpdateScope()),
        )
        if not session.json:
            print_line(f"added {host.name}; {_pinned(host)}")
        found = await client.test_host(name) if test else None
        if session.json:
            session.print_json({**asdict(host), "test": found})
        elif found is not None and found.problem is None:
            print_line(
                f"the login works: {found.user or host.user}{_ROOT.get(found.root_access, '')}"
            )
        if found is None or found.problem is None:
            return DONE
        warn([f"{found.problem.message}; test the login again: tendhost host test {name}"])
        return NOT_SUCCEEDED

    session.run(work)


@app.command(name="list")
def list_(
    context: typer.Context,
    name: ShownNames = None,
    tag: ShownTags = None,
    any_tag: Annotated[
        list[str] | None,
        typer.Option(metavar="TAG", help="Show only hosts with one of these tags."),
    ] = None,
    group: ShownGroups = None,
    state: Annotated[
        list[str] | None,
        typer.Option(metavar="STATE", help="Show only hosts in one of these states."),
    ] = None,
    exclude: NotShown = None,
    reboot_needed: Annotated[
        bool | None,
        typer.Option(
            "--reboot-needed/--no-reboot-needed",
            help="Show only hosts that need a reboot, or that do not.",
        ),
    ] = None,
    search: Annotated[
        str, typer.Option(metavar="TEXT", help="Show only hosts whose name starts with this text.")
    ] = "",
    saved: Saved = "",
) -> None:
    """List the hosts that match all options.

    \b
      tendhost host list --tag web --state failed
      tendhost host list --name 'web*' --reboot-needed --output json
    """
    session: Session = context.obj

    async def work(client: Client) -> None:
        from tendhost.client.cli.render import hosts as render_hosts

        selection = HostFilter(
            names=tuple(name or ()),
            all_tags=tuple(tag or ()),
            any_tags=tuple(any_tag or ()),
            groups=tuple(group or ()),
            states=chosen(HostState, [word.lower() for word in state or ()], "--state"),
            exclude_hosts=tuple(exclude or ()),
            reboot_needed=reboot_needed,
            name_prefix=search,
            selection=saved,
        )
        found = [host async for host in client.hosts(selection)]
        if session.json:
            session.print_json(found)
        else:
            render_hosts.hosts(found)

    session.run(work)


@app.command()
def show(context: typer.Context, name: Name) -> None:
    """Show the configuration and status of a host."""
    session: Session = context.obj

    async def work(client: Client) -> None:
        from tendhost.client.cli.render import hosts as render_hosts

        host = await client.get_host(name)
        if session.json:
            session.print_json(host)
        else:
            render_hosts.host(host)

    session.run(work)


@app.command(name="set")
@with_settings
def set_(
    context: typer.Context,
    name: Name,
    *,
    address: Annotated[str | None, Address] = None,
    given: GivenSettings,
    add_tag: AddTags = None,
    remove_tag: RemoveTags = None,
    add_group: AddGroups = None,
    remove_group: RemoveGroups = None,
    add_window: AddWindow = None,
    remove_window: RemoveWindow = None,
    accept_new_host_key: Repin = False,
    host_key: HostKey = None,
    known_hosts: KnownHosts = None,
    add_host_key: AddHostKeys = None,
    remove_host_key: RemoveHostKeys = None,
    allow_duplicate: Duplicate = False,
) -> None:
    """Change the configuration of a host. Options that are not given keep their values.

    \b
      tendhost host set web1 --tag web --tag canary --no-auto-reboot
      tendhost host set web1 --add-tag canary --remove-group legacy
      tendhost host set web1 --group '' --window ''
      tendhost host set web1 --security --exclude-package 'linux-*' --rollback unhealthy
      tendhost host set web1 --no-security
      tendhost host set web1 --pre-hook drain.sh --post-hook restore.sh --hook-timeout 2m
      tendhost host set web1 --check tcp:5432 --check 'http://{address}/health' --settle 30s
      tendhost host set web1 --accept-new-host-key
      tendhost host set web1 --add-host-key new_host_key.pub

    Given tags, groups, windows, compose paths and checks replace all former ones; '' alone removes them.
    --add-tag, --remove-tag and similar options change single ones.
    """
    session: Session = context.obj
    changes: dict[str, Any] = {
        "address": address,
        "add_tags": add_tag,
        "remove_tags": remove_tag,
        "add_groups": add_group,
        "remove_groups": remove_group,
        "add_windows": windows(add_window, "--add-window"),
        "remove_windows": windows(remove_window, "--remove-window"),
        "add_host_keys": host_keys_of(add_host_key, "--add-host-key") or None,
        "remove_host_keys": host_keys_of(remove_host_key, "--remove-host-key") or None,
        "known_hosts": known_hosts_of(known_hosts) or None,
    }
    changes = {field: value for field, value in changes.items() if value is not None}
    if not (changes or given.settings or given.scope or accept_new_host_key):
        refuse("nothing to change; see `tendhost host set --help`")
    if host_key and not accept_new_host_key:
        refuse("--host-key requires --accept-new-host-key")

    keys = host_keys_of(host_key, "--host-key")

    async def changed(client: Client) -> Host:
        settings = given.settings
        if given.scope:
            # What was not typed stays as it is.
            former = await client.get_host(name)
            settings, changes["etag"] = given.with_scope(former.scope), former.etag
        return await client.reconfigure_host(
            name,
            accept_new_host_key=accept_new_host_key,
            expected_host_key="\n".join(keys),
            allow_duplicate=allow_duplicate,
            **changes,
            **settings,
        )

    async def work(client: Client) -> None:
        host = await retry_on_conflict(lambda: changed(client))
        if session.json:
            session.print_json(host)
        else:
            repinned = accept_new_host_key or add_host_key or remove_host_key or known_hosts
            print_line(f"changed {host.name}{f'; {_pinned(host)}' if repinned else ''}")

    session.run(work)


def _pinned(host: Host) -> str:
    """What is said of the pinned keys."""
    keys = host.host_key_fingerprints
    if host.host_key_certified:
        return f"its host key {host.host_key_fingerprint} is certified by its host authority"
    if len(keys) < 2:
        return f"its host key is {host.host_key_fingerprint}"
    return f"its host keys are {', '.join(keys)}"


@app.command(name="import-known-hosts")
def import_known_hosts(
    context: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", exists=True, dir_okay=False, help="A known_hosts file."),
    ],
) -> None:
    """Add host keys from a known_hosts file.

    \b
      tendhost host import-known-hosts ~/.ssh/known_hosts

    The file is compared with every registered host. A host whose pinned key is in the file gets the other keys
    that the file has for it. A host whose pinned key is not in the file is not changed, and the exit status is 1:
    one of the two keys is wrong. Hosts that the file does not name are skipped. New hosts are added with
    `tendhost host add NAME --known-hosts FILE`.
    """
    session: Session = context.obj
    known = known_hosts_of(file)

    async def work(client: Client) -> int:
        outcomes = [await _imported(client, host, known) async for host in client.hosts()]
        if session.json:
            session.print_json({host: outcome for host, outcome, _ in outcomes})
        for host, outcome, told in outcomes:
            if not session.json and outcome != "not_named":
                print_line(f"{host}: {told}")
        if not (named := [host for host, outcome, _ in outcomes if outcome != "not_named"]):
            warn([f"{file} names none of the {len(outcomes)} registered hosts"])
        return DONE if named and all(it != "differs" for _, it, _ in outcomes) else NOT_SUCCEEDED

    session.run(work)


async def _imported(client: Client, host: Host, known: str) -> tuple[str, str, str]:
    """What became of the keys of a host: its name, the outcome, and a sentence."""
    try:
        changed = await client.reconfigure_host(host.name, known_hosts=known)
    except InvalidRequest as error:
        return host.name, "not_named", str(error)
    except HostKeyChanged as error:
        return host.name, "differs", str(error)
    if changed.host_key_fingerprints == host.host_key_fingerprints:
        return host.name, "unchanged", _pinned(changed)
    return host.name, "added", _pinned(changed)


@app.command()
def remove(context: typer.Context, name: Name) -> None:
    """Remove a host; its operations stay stored."""
    session: Session = context.obj

    async def work(client: Client) -> None:
        await client.remove_host(name)
        if session.json:
            session.print_json({"name": name, "removed": True})
        else:
            print_line(f"removed {name}")

    session.run(work)


@app.command()
def test(context: typer.Context, name: Name) -> None:
    """Check the login on a host.

    \b
      tendhost host test web1

    The server logs in now, also if the host is busy or failed. Nothing is changed on the host, and nothing is
    stored. The exit status is 1 if there is a problem.
    """
    session: Session = context.obj

    async def work(client: Client) -> int:
        from tendhost.client.cli.render import hosts as render_hosts

        found = await client.test_host(name)
        if session.json:
            session.print_json({"name": name, **asdict(found)})
        else:
            render_hosts.host_test(found)
        return DONE if found.problem is None else NOT_SUCCEEDED

    session.run(work)


@app.command()
def sudoers(context: typer.Context, name: Name) -> None:
    """Print authorized_keys and sudoers of a host.

    \b
      tendhost host sudoers web1

    They are the smallest that suffice: with these files, and nothing more, the server can query, update, reboot
    and roll back the host as the user of its configuration. The host is not asked. See docs/packages.md for what
    the sudoers rule means.
    """
    session: Session = context.obj

    async def work(client: Client) -> None:
        from tendhost.client.cli.render import hosts as render_hosts

        found = await client.login_files(name)
        if session.json:
            session.print_json(found)
        else:
            render_hosts.login_files(name, found)

    session.run(work)


@app.command()
def packages(context: typer.Context, name: Name) -> None:
    """Show installed packages and pending updates.

    They are shown as last queried.
    """
    session: Session = context.obj

    async def work(client: Client) -> None:
        from tendhost.client.cli.render import hosts as render_hosts

        found = await client.inventory(name)
        if session.json:
            session.print_json(found)
        else:
            render_hosts.inventory(found)

    session.run(work)


@app.command()
def inventory(context: typer.Context, name: Name) -> None:
    """Show hardware, mounts, network, containers.

    They are shown as last queried. Also shows what was concluded about the host and why. For its packages, see
    `tendhost host packages`.
    """
    session: Session = context.obj

    async def work(client: Client) -> None:
        from tendhost.client.cli.render import inventory as render_inventory

        found = await client.inventory(name)
        if session.json:
            session.print_json(found)
        else:
            render_inventory.inventory(found)

    session.run(work)


@app.command()
def groups(context: typer.Context) -> None:
    """List the groups with the number of their hosts."""
    _counts(context.obj, "GROUPS", lambda client: client.groups())


@app.command()
def tags(context: typer.Context) -> None:
    """List the tags with the number of their hosts."""
    _counts(context.obj, "TAGS", lambda client: client.tags())


def _counts(
    session: Session, title: str, ask: Callable[[Client], Awaitable[Mapping[str, int]]]
) -> None:
    async def work(client: Client) -> None:
        from tendhost.client.cli.console import draw, table

        found = await ask(client)
        if session.json:
            session.print_json(found)
        else:
            draw(table((title, "HOSTS"), ((name, str(n)) for name, n in found.items())))

    session.run(work)
