"""`tendhost host …`."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from tendhost.client.cli.session import Session, refuse
from tendhost.client.cli.words import window

if TYPE_CHECKING:
    from tendhost.client import MaintenanceWindow

app = typer.Typer(no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="The host's name.")]
Tags = Annotated[list[str] | None, typer.Option("--tag", help="A tag; give it as often as needed.")]
Groups = Annotated[list[str] | None, typer.Option("--group", help="A group; may be repeated.")]
Paths = Annotated[
    list[str] | None, typer.Option("--compose-path", help="A compose project's folder on it.")
]
Key = Annotated[str | None, typer.Option(help="Path of a private key on the server.")]
HostKey = Annotated[str, typer.Option(help="The key that it must show: SHA256:… or a public key.")]
AutoReboot = Annotated[
    bool | None, typer.Option(help="Whether an update may reboot it when it needs that.")
]
Window = Annotated[
    str | None,
    typer.Option(
        "--window",
        help="When it may be changed: 'sat,sun 22:00-04:00 Europe/Vienna', or 'always'.",
    ),
]


@app.command()
def add(
    context: typer.Context,
    name: Name,
    addr: Annotated[str, typer.Option(help="Host name or IP address.")],
    port: Annotated[int, typer.Option(help="The port of its sshd.")] = 22,
    user: Annotated[str, typer.Option(help="root, or one that may use sudo -n.")] = "root",
    ssh_key: Key = None,
    tag: Tags = None,
    group: Groups = None,
    compose_path: Paths = None,
    auto_reboot: AutoReboot = None,
    maintenance_window: Window = None,
    host_key: HostKey = "",
) -> None:
    """Register a host and pin its key.

    tendhost host add web1 --addr 10.0.0.5 --user root --tag web --group production
    """
    session: Session = context.obj
    when = _window(maintenance_window)

    async def work(client: Any) -> None:
        host = await client.add_host(
            name,
            addr,
            port=port,
            user=user,
            ssh_key=ssh_key or "",
            tags=tag or (),
            groups=group or (),
            compose_paths=compose_path or (),
            auto_reboot=auto_reboot is not False,
            maintenance_window=when,
            expected_host_key=host_key,
        )
        if session.json:
            session.print_json(host)
        else:
            print(f"{host.name} is registered; its host key is {host.host_key_fingerprint}")

    session.run(work)


@app.command(name="list")
def list_(
    context: typer.Context,
    name: Annotated[list[str] | None, typer.Option(help="A name or glob.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="A tag that it must have.")] = None,
    any_tag: Annotated[list[str] | None, typer.Option(help="One of these tags.")] = None,
    group: Annotated[list[str] | None, typer.Option(help="One of these groups.")] = None,
    state: Annotated[list[str] | None, typer.Option(help="One of these states.")] = None,
    exclude: Annotated[list[str] | None, typer.Option(help="A name to leave out.")] = None,
    reboot_needed: Annotated[bool | None, typer.Option(help="Needs a reboot, or not.")] = None,
    search: Annotated[str, typer.Option(help="The beginning of the name.")] = "",
) -> None:
    """Show the fleet, or a part of it."""
    session: Session = context.obj

    async def work(client: Any) -> None:
        from tendhost.client import HostFilter, HostState
        from tendhost.client.cli import render

        words = [word.lower() for word in state or ()]
        unknown = set(words) - set(HostState)
        if unknown:
            known = ", ".join(HostState)
            refuse(f"--state: {sorted(unknown)[0]!r} is no state; expected {known}")
        selection = HostFilter(
            names=tuple(name or ()),
            all_tags=tuple(tag or ()),
            any_tags=tuple(any_tag or ()),
            groups=tuple(group or ()),
            states=tuple(HostState(word) for word in words),
            exclude_hosts=tuple(exclude or ()),
            reboot_needed=reboot_needed,
            search=search,
        )
        found = [host async for host in client.hosts(selection)]
        if session.json:
            session.print_json(found)
        else:
            render.hosts(found)

    session.run(work)


@app.command()
def show(context: typer.Context, name: Name) -> None:
    """Show all that is known of a host."""
    session: Session = context.obj

    async def work(client: Any) -> None:
        from tendhost.client.cli import render

        host = await client.get_host(name)
        if session.json:
            session.print_json(host)
        else:
            render.host(host)

    session.run(work)


@app.command(name="set")
def set_(
    context: typer.Context,
    name: Name,
    addr: Annotated[str | None, typer.Option(help="Host name or IP address.")] = None,
    port: Annotated[int | None, typer.Option(help="The port of its sshd.")] = None,
    user: Annotated[str | None, typer.Option(help="root, or one that may use sudo -n.")] = None,
    ssh_key: Key = None,
    tag: Tags = None,
    group: Groups = None,
    compose_path: Paths = None,
    auto_reboot: AutoReboot = None,
    maintenance_window: Window = None,
    repin: Annotated[bool, typer.Option(help="Pin the key that it shows now.")] = False,
    host_key: HostKey = "",
) -> None:
    """Change a host's configuration; what is not named stays. Tags and groups are replaced.

    tendhost host set web1 --tag web --tag canary --no-auto-reboot
    """
    session: Session = context.obj
    fields: dict[str, Any] = {
        "addr": addr,
        "port": port,
        "user": user,
        "ssh_key": ssh_key,
        "tags": _without_empty(tag),
        "groups": _without_empty(group),
        "compose_paths": _without_empty(compose_path),
        "auto_reboot": auto_reboot,
    }
    given = {field: value for field, value in fields.items() if value is not None}
    if maintenance_window is not None:
        given["maintenance_window"] = _window(maintenance_window)
    if not given and not repin:
        refuse("nothing to change; see `tendhost host set --help`")

    async def work(client: Any) -> None:
        host = await client.set_host(
            name, repin_host_key=repin, expected_host_key=host_key, **given
        )
        if session.json:
            session.print_json(host)
        else:
            pinned = f"; its host key is {host.host_key_fingerprint}" if repin else ""
            print(f"{host.name} is changed{pinned}")

    session.run(work)


def _window(text: str | None) -> "MaintenanceWindow | None":
    return None if text in (None, "always") else window(text, "--window")


def _without_empty(values: list[str] | None) -> list[str] | None:
    """What was given; `--tag ''` alone takes all of them away."""
    return None if values is None else [value for value in values if value]


@app.command()
def remove(context: typer.Context, name: Name) -> None:
    """Forget a host; what was done on it stays on record."""
    session: Session = context.obj

    async def work(client: Any) -> None:
        await client.remove_host(name)
        if not session.json:
            print(f"{name} is removed")

    session.run(work)


@app.command()
def packages(context: typer.Context, name: Name) -> None:
    """Show what the last query found installed and pending."""
    session: Session = context.obj

    async def work(client: Any) -> None:
        from tendhost.client.cli import render

        found = await client.inventory(name)
        if session.json:
            session.print_json(found)
        else:
            render.inventory(found)

    session.run(work)


@app.command()
def groups(context: typer.Context) -> None:
    """Show every group with the number of its hosts."""
    _counts(context.obj, "groups")


@app.command()
def tags(context: typer.Context) -> None:
    """Show every tag with the number of its hosts."""
    _counts(context.obj, "tags")


def _counts(session: Session, what: str) -> None:
    async def work(client: Any) -> None:
        from tendhost.client.cli import render

        found = await getattr(client, what)()
        if session.json:
            session.print_json(found)
        else:
            rows = ((name, str(count)) for name, count in found.items())
            render.console.print(render.table((what.upper(), "HOSTS"), rows))

    session.run(work)
