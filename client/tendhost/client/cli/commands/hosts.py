"""`tendhost host …`."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any, TypeVar

import typer

from tendhost.client import (
    AfterInterruption,
    Client,
    ComposeVersion,
    HealthChecks,
    Hooks,
    Host,
    HostFilter,
    HostState,
    RestartServices,
    Rollback,
    Snapshots,
    retry_on_conflict,
)
from tendhost.client.cli.formatting import AddWindow, RemoveWindow, duration, windows
from tendhost.client.cli.options.health import (
    Checks,
    HookCodes,
    HookTimeout,
    PostHook,
    PreHook,
    Settle,
    checks_of,
    hook_of,
    require_hook,
    settle_of,
)
from tendhost.client.cli.options.host import (
    AddGroups,
    Address,
    AddTags,
    AutoReboot,
    Duplicate,
    Groups,
    HealthTimeout,
    HostKey,
    Key,
    MakeSnapshots,
    Name,
    Paths,
    Port,
    Prune,
    Pull,
    RemoveGroups,
    RemoveTags,
    Restart,
    Tags,
    TakeBack,
    User,
    WhenInterrupted,
    WhichCompose,
    Window,
)
from tendhost.client.cli.options.scope import (
    Autoremove,
    DownloadFirst,
    Only,
    Removals,
    Security,
    Without,
    scope_of,
)
from tendhost.client.cli.options.selection import Saved
from tendhost.client.cli.session import Session, refuse

app = typer.Typer(no_args_is_help=True)


@app.command()
def add(
    context: typer.Context,
    name: Name,
    address: Annotated[str, Address],
    port: Annotated[int, Port] = 22,
    user: Annotated[str, User] = "root",
    ssh_key: Key = None,
    tag: Tags = None,
    group: Groups = None,
    compose_path: Paths = None,
    auto_reboot: AutoReboot = None,
    window: Window = None,
    after_interruption: WhenInterrupted = None,
    restart_services: Restart = None,
    snapshots: MakeSnapshots = None,
    rollback: TakeBack = None,
    pre_hook: PreHook = None,
    post_hook: PostHook = None,
    hook_timeout: HookTimeout = None,
    hook_exit_code: HookCodes = None,
    check: Checks = None,
    settle: Settle = None,
    security: Security = None,
    package: Only = None,
    exclude_package: Without = None,
    allow_removals: Removals = None,
    autoremove: Autoremove = None,
    download_first: DownloadFirst = None,
    compose_version: WhichCompose = None,
    pull: Pull = None,
    compose_health_timeout: HealthTimeout = None,
    compose_prune: Prune = None,
    host_key: HostKey = "",
    allow_duplicate: Duplicate = False,
) -> None:
    """Register a host and pin the key that it shows.

    \b
      tendhost host add web1 --address 10.0.0.5 --user root --tag web --group production
      tendhost host add db1 --address db1.example.org --no-auto-reboot \\
          --window 'sat,sun 22:00-04:00 Europe/Vienna' --host-key SHA256:…

    The fingerprint of the pinned key is printed. Nothing is changed on the host. The options that say
    what updates change (--security, --package, …) are its policy; an update may ask for other things.
    """
    session: Session = context.obj
    when = windows(window, "--window") or ()
    scope = scope_of(security, package, exclude_package, allow_removals, autoremove, download_first)
    patience = _span(compose_health_timeout)
    require_hook(pre_hook, post_hook, hook_timeout, hook_exit_code)
    before = hook_of(pre_hook, "--pre-hook", hook_timeout, hook_exit_code)
    after = hook_of(post_hook, "--post-hook", hook_timeout, hook_exit_code)
    hooks = Hooks(pre=None if before == "none" else before, post=None if after == "none" else after)
    checks = replace(checks_of(check) or HealthChecks(), settle=settle_of(settle))

    async def work(client: Client) -> None:
        host = await client.add_host(
            name,
            address,
            port=port,
            user=user,
            ssh_key=ssh_key or "",
            tags=tag or (),
            groups=group or (),
            compose_paths=compose_path or (),
            auto_reboot=auto_reboot,
            maintenance_windows=when,
            after_interruption=_word(AfterInterruption, after_interruption),
            scope=scope,
            restart_services=_word(RestartServices, restart_services),
            snapshots=_word(Snapshots, snapshots),
            rollback=_word(Rollback, rollback),
            hooks=hooks if hooks != Hooks() else None,
            health_checks=checks if checks != HealthChecks() else None,
            compose_version=_word(ComposeVersion, compose_version),
            pull_before_update=pull,
            compose_health_timeout=patience,
            compose_prune=compose_prune,
            expected_host_key=host_key,
            allow_duplicate=allow_duplicate,
        )
        if session.json:
            session.print_json(host)
        else:
            print(f"{host.name} is registered; its host key is {host.host_key_fingerprint}")

    session.run(work)


@app.command(name="list")
def list_(
    context: typer.Context,
    name: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="One of these; a glob is fine.")
    ] = None,
    tag: Annotated[
        list[str] | None, typer.Option(metavar="TAG", help="With all of these tags.")
    ] = None,
    any_tag: Annotated[
        list[str] | None, typer.Option(metavar="TAG", help="With one of these tags.")
    ] = None,
    group: Annotated[
        list[str] | None, typer.Option(metavar="GROUP", help="In one of these groups.")
    ] = None,
    state: Annotated[
        list[str] | None, typer.Option(metavar="STATE", help="In one of these states.")
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Without this one; a glob is fine.")
    ] = None,
    reboot_needed: Annotated[
        bool | None,
        typer.Option("--reboot-needed/--no-reboot-needed", help="That need a reboot, or do not."),
    ] = None,
    search: Annotated[str, typer.Option(metavar="TEXT", help="With a name that begins so.")] = "",
    saved: Saved = "",
) -> None:
    """Show the fleet, or the part of it that all the options select.

    \b
      tendhost host list --tag web --state failed
      tendhost host list --name 'web*' --reboot-needed --output json
    """
    session: Session = context.obj

    async def work(client: Client) -> None:
        from tendhost.client.cli.render import hosts as render_hosts

        words = [word.lower() for word in state or ()]
        known = [word for word in HostState if word is not HostState.UNRECOGNIZED]
        for word in words:
            if word not in known:
                refuse(f"--state: {word!r} is no state; expected {', '.join(known)}")
        selection = HostFilter(
            names=tuple(name or ()),
            all_tags=tuple(tag or ()),
            any_tags=tuple(any_tag or ()),
            groups=tuple(group or ()),
            states=tuple(HostState(word) for word in words),
            exclude_hosts=tuple(exclude or ()),
            reboot_needed=reboot_needed,
            search=search,
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
    """Show all that is known of a host."""
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
def set_(
    context: typer.Context,
    name: Name,
    address: Annotated[str | None, Address] = None,
    port: Annotated[int | None, Port] = None,
    user: Annotated[str | None, User] = None,
    ssh_key: Key = None,
    tag: Tags = None,
    group: Groups = None,
    compose_path: Paths = None,
    auto_reboot: AutoReboot = None,
    window: Window = None,
    after_interruption: WhenInterrupted = None,
    restart_services: Restart = None,
    snapshots: MakeSnapshots = None,
    rollback: TakeBack = None,
    pre_hook: PreHook = None,
    post_hook: PostHook = None,
    hook_timeout: HookTimeout = None,
    hook_exit_code: HookCodes = None,
    check: Checks = None,
    settle: Settle = None,
    security: Security = None,
    package: Only = None,
    exclude_package: Without = None,
    allow_removals: Removals = None,
    autoremove: Autoremove = None,
    download_first: DownloadFirst = None,
    compose_version: WhichCompose = None,
    pull: Pull = None,
    compose_health_timeout: HealthTimeout = None,
    compose_prune: Prune = None,
    add_tag: AddTags = None,
    remove_tag: RemoveTags = None,
    add_group: AddGroups = None,
    remove_group: RemoveGroups = None,
    add_window: AddWindow = None,
    remove_window: RemoveWindow = None,
    accept_new_host_key: Annotated[
        bool,
        typer.Option(
            "--accept-new-host-key", help="Pin the key that it shows now, after a reinstallation."
        ),
    ] = False,
    host_key: HostKey = "",
    allow_duplicate: Duplicate = False,
) -> None:
    """Change a host's configuration; the rest stays as it is.

    \b
      tendhost host set web1 --tag web --tag canary --no-auto-reboot
      tendhost host set web1 --add-tag canary --remove-group legacy
      tendhost host set web1 --group '' --window ''
      tendhost host set web1 --security --exclude-package 'linux-*' --rollback unhealthy
      tendhost host set web1 --no-security
      tendhost host set web1 --pre-hook drain.sh --post-hook restore.sh --hook-timeout 2m
      tendhost host set web1 --check tcp:5432 --check 'http://{address}/health' --settle 30s
      tendhost host set web1 --accept-new-host-key

    Tags, groups, windows, compose paths and checks are replaced by those that are given; '' alone means
    none. --add-tag, --remove-tag and their like leave the others as they are. Of what updates change, what
    is not given stays as it is.
    """
    session: Session = context.obj
    require_hook(pre_hook, post_hook, hook_timeout, hook_exit_code)
    fields: dict[str, Any] = {
        "address": address,
        "port": port,
        "user": user,
        "ssh_key": ssh_key,
        "tags": _without_empty(tag),
        "groups": _without_empty(group),
        "compose_paths": _without_empty(compose_path),
        "auto_reboot": auto_reboot,
        "maintenance_windows": windows(window, "--window"),
        "after_interruption": _word(AfterInterruption, after_interruption),
        "restart_services": _word(RestartServices, restart_services),
        "snapshots": _word(Snapshots, snapshots),
        "rollback": _word(Rollback, rollback),
        "pre_hook": hook_of(pre_hook, "--pre-hook", hook_timeout, hook_exit_code),
        "post_hook": hook_of(post_hook, "--post-hook", hook_timeout, hook_exit_code),
        "health_checks": checks_of(check),
        "settle": settle_of(settle),
        "compose_version": _word(ComposeVersion, compose_version),
        "pull_before_update": pull,
        "compose_health_timeout": _span(compose_health_timeout),
        "compose_prune": compose_prune,
        "add_tags": add_tag,
        "remove_tags": remove_tag,
        "add_groups": add_group,
        "remove_groups": remove_group,
        "add_windows": windows(add_window, "--add-window"),
        "remove_windows": windows(remove_window, "--remove-window"),
    }
    given = {field: value for field, value in fields.items() if value is not None}
    typed: dict[str, Any] = {
        "security_only": security,
        "include": _names(package),
        "exclude": _names(exclude_package),
        "allow_removals": allow_removals,
        "autoremove": autoremove,
        "download_first": download_first,
    }
    scope = {field: value for field, value in typed.items() if value is not None}
    if not given and not accept_new_host_key and not scope:
        refuse("nothing to change; see `tendhost host set --help`")
    if host_key and not accept_new_host_key:
        refuse("--host-key: it goes with --accept-new-host-key only")

    async def changed(client: Client) -> Host:
        if scope:
            # What was not typed stays as it is.
            former = await client.get_host(name)
            given["scope"] = replace(former.scope, **scope)
            given["etag"] = former.etag
        return await client.reconfigure_host(
            name,
            accept_new_host_key=accept_new_host_key,
            expected_host_key=host_key,
            allow_duplicate=allow_duplicate,
            **given,
        )

    async def work(client: Client) -> None:
        host = await retry_on_conflict(lambda: changed(client))
        if session.json:
            session.print_json(host)
        else:
            pinned = f"; its host key is {host.host_key_fingerprint}" if accept_new_host_key else ""
            print(f"{host.name} is changed{pinned}")

    session.run(work)


W = TypeVar("W", bound=StrEnum)


def _word(kind: type[W], text: str | None) -> W | None:
    """What was typed, as the SDK's word; options have hyphens where words have underscores."""
    return kind(text.replace("-", "_")) if text else None


def _span(text: str | None) -> timedelta | None:
    return None if text is None else duration(text, "--compose-health-timeout")


def _without_empty(values: list[str] | None) -> list[str] | None:
    """What was given; `--tag ''` alone takes all of them away."""
    return None if values is None else [value for value in values if value]


def _names(values: list[str] | None) -> tuple[str, ...] | None:
    return None if values is None else tuple(filter(None, values))


@app.command()
def remove(context: typer.Context, name: Name) -> None:
    """Forget a host; what was done on it stays on record."""
    session: Session = context.obj

    async def work(client: Client) -> None:
        await client.remove_host(name)
        if session.json:
            session.print_json({"name": name, "removed": True})
        else:
            print(f"{name} is removed")

    session.run(work)


@app.command()
def packages(context: typer.Context, name: Name) -> None:
    """Show what the last query found installed and pending."""
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
    """Show the machine, its file systems, network and containers.

    As the last query found them, and what was concluded about the host and why. For its packages, see
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
    """Show every group with the number of its hosts."""
    _counts(context.obj, "GROUPS", lambda client: client.groups())


@app.command()
def tags(context: typer.Context) -> None:
    """Show every tag with the number of its hosts."""
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
