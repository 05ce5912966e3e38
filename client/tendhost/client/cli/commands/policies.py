"""`tendhost policy …`: what hosts inherit from their groups and from the fleet."""

import shlex
from typing import Annotated, Any

import typer

from tendhost.client import Client, FreezePeriod, GroupPolicy
from tendhost.client.cli.formatting import AddWindow, RemoveWindow, windows
from tendhost.client.cli.options.health import (
    Checks,
    HookCodes,
    HookTimeout,
    PostHook,
    PreHook,
    SecretHooks,
    Settle,
    checks_of,
    hook_of,
    require_hook,
    settle_of,
)
from tendhost.client.cli.options.times import moment
from tendhost.client.cli.session import Session, print_line, refuse, warn

app = typer.Typer(no_args_is_help=True)


Group = Annotated[
    str,
    typer.Option("--group", metavar="GROUP", help="Group of hosts. Default: the whole fleet."),
]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The host's name.")]


@app.command()
def show(context: typer.Context, group: Group = "") -> None:
    """Show the policy of a group or of the fleet."""
    session: Session = context.obj

    async def work(client: Client) -> None:
        _tell(session, await client.get_policy(group))

    session.run(work)


@app.command(name="list")
def list_(context: typer.Context) -> None:
    """List the policies of groups and of the fleet."""
    session: Session = context.obj

    async def work(client: Client) -> None:
        from tendhost.client.cli.render import policies as render_policies

        found = [defaults async for defaults in client.policies(page_size=1000)]
        if session.json:
            session.print_json(found)
        else:
            render_policies.overview(found)

    session.run(work)


@app.command(name="set")
def set_(
    context: typer.Context,
    group: Group = "",
    window: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WINDOW",
            help="Maintenance window: 'sat,sun 22:00-04:00 Europe/Vienna', or 'always'. May be"
            " repeated; replaces all former windows.",
        ),
    ] = None,
    no_windows: Annotated[bool, typer.Option("--no-windows", help="Remove all windows.")] = False,
    add_window: AddWindow = None,
    remove_window: RemoveWindow = None,
    freeze: Annotated[
        list[str] | None,
        typer.Option(
            "--freeze",
            "--add-freeze",
            metavar="'NAME FROM UNTIL REASON'",
            help="Add a freeze: 'year-end 2026-12-23T18:00[Europe/Berlin]"
            " 2027-01-04T06:00[Europe/Berlin] holidays'. Replaces the freeze of the same name. May be repeated.",
        ),
    ] = None,
    unfreeze: Annotated[
        list[str] | None,
        typer.Option(
            "--unfreeze",
            "--remove-freeze",
            metavar="NAME",
            help="Remove the freeze with this name. May be repeated.",
        ),
    ] = None,
    pre_hook: PreHook = None,
    post_hook: PostHook = None,
    hook_timeout: HookTimeout = None,
    hook_exit_code: HookCodes = None,
    secret_hooks: SecretHooks = False,
    check: Checks = None,
    settle: Settle = None,
) -> None:
    """Change the policy of a group or of the fleet. Options that are not given keep their values.

    \b
      tendhost policy set --window 'sat,sun 22:00-04:00 Europe/Berlin'
      tendhost policy set --freeze 'year-end 2026-12-23T18:00+01:00 2027-01-04T06:00+01:00 holidays'
      tendhost policy set --unfreeze year-end
      tendhost policy set --group db --window 'sun 02:00-04:00 Europe/Berlin' --check tcp:5432

    The change applies at once to all hosts of the group or of the fleet. A host's own windows and hooks
    override those of its groups, which override those of the fleet; freezes and health checks add up.
    """
    session: Session = context.obj
    if no_windows and window:
        refuse("--no-windows cannot be combined with --window")
    require_hook(pre_hook, post_hook, hook_timeout, hook_exit_code, secret=secret_hooks)
    checks = checks_of(check)
    fields: dict[str, Any] = {
        "windows": () if no_windows else windows(window, "--window"),
        "pre_hook": hook_of(
            pre_hook, "--pre-hook", hook_timeout, hook_exit_code, secret=secret_hooks
        ),
        "post_hook": hook_of(
            post_hook, "--post-hook", hook_timeout, hook_exit_code, secret=secret_hooks
        ),
        "health_checks": None if checks is None else checks.checks,
        "settle": settle_of(settle),
        "add_windows": windows(add_window, "--add-window"),
        "remove_windows": windows(remove_window, "--remove-window"),
        "add_freezes": [_freeze(text) for text in freeze] if freeze else None,
        "remove_freezes": unfreeze or None,
    }
    given = {field: value for field, value in fields.items() if value is not None}
    if not given:
        refuse("nothing to change; see `tendhost policy set --help`")

    async def work(client: Client) -> None:
        _tell(session, await client.change_policy(group, **given))

    session.run(work)


@app.command()
def delete(context: typer.Context, group: Group = "") -> None:
    """Delete the policy of a group or of the fleet."""
    session: Session = context.obj

    async def work(client: Client) -> None:
        await client.delete_policy(group)
        if session.json:
            session.print_json({"group": group, "deleted": True})
        else:
            print_line(f"deleted the policy of {f'group {group}' if group else 'the fleet'}")

    session.run(work)


@app.command()
def effective(context: typer.Context, name: Name) -> None:
    """Show the effective policy of a host with the source of each part."""
    session: Session = context.obj

    async def work(client: Client) -> None:
        from tendhost.client.cli.render import policies as render_policies

        found = await client.effective_policy(name)
        if session.json:
            session.print_json(found)
        else:
            render_policies.effective(found)

    session.run(work)


def _freeze(text: str) -> FreezePeriod:
    try:
        name, starts, ends, *reason = shlex.split(text)
    except ValueError:
        refuse(f"--freeze: invalid freeze {text!r}; use 'NAME FROM UNTIL REASON'")
    starts_at, zone = moment(starts, "--freeze")
    ends_at, last_zone = moment(ends, "--freeze", last=True)
    return FreezePeriod(
        name=name,
        starts_at=starts_at,
        ends_at=ends_at,
        reason=" ".join(reason),
        time_zone=last_zone or zone or "UTC",
    )


def _tell(session: Session, found: GroupPolicy) -> None:
    from tendhost.client.cli.render import policies as render_policies

    warn(found.warnings)
    if session.json:
        session.print_json(found)
    else:
        render_policies.group_policy(found)
