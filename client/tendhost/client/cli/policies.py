"""`tendhost policy …`: what hosts inherit from their groups and from the fleet."""

import re
import shlex
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer

from tendhost.client import Client, Defaults, FreezePeriod, HealthChecks, Hooks
from tendhost.client.cli.health import (
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
from tendhost.client.cli.session import Session, refuse
from tendhost.client.cli.words import windows

app = typer.Typer(no_args_is_help=True)

_TIME = re.compile(r"(?P<at>[^\[\]]+)(?:\[(?P<zone>[^\[\]]+)\])?")

Group = Annotated[
    str, typer.Option("--group", metavar="GROUP", help="A group of hosts. Else: the whole fleet.")
]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The host's name.")]


@app.command()
def show(context: typer.Context, group: Group = "") -> None:
    """Show what is said of the fleet, or of a group."""
    session: Session = context.obj

    async def work(client: Client) -> None:
        _tell(session, await client.get_defaults(group))

    session.run(work)


@app.command(name="list")
def list_(context: typer.Context) -> None:
    """Show which groups have something said of them."""
    session: Session = context.obj

    async def work(client: Client) -> None:
        from tendhost.client.cli import render_policy

        found = [defaults async for defaults in client.all_defaults(page_size=1000)]
        if session.json:
            session.print_json(found)
        else:
            render_policy.overview(found)

    session.run(work)


@app.command(name="set")
def set_(
    context: typer.Context,
    group: Group = "",
    window: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WINDOW",
            help="When its hosts may be changed: 'sat,sun 22:00-04:00 Europe/Vienna', or 'always'."
            " May be repeated; these replace the former ones.",
        ),
    ] = None,
    no_windows: Annotated[
        bool, typer.Option("--no-windows", help="Say nothing of windows any more.")
    ] = False,
    freeze: Annotated[
        list[str] | None,
        typer.Option(
            metavar="'NAME FROM UNTIL REASON'",
            help="When nothing is changed: 'year-end 2026-12-23T18:00[Europe/Berlin]"
            " 2027-01-04T06:00[Europe/Berlin] holidays'. May be repeated; it replaces one of its name.",
        ),
    ] = None,
    thaw: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Lift the freeze of this name. May be repeated."),
    ] = None,
    pre_hook: PreHook = None,
    post_hook: PostHook = None,
    hook_timeout: HookTimeout = None,
    hook_exit_code: HookCodes = None,
    check: Checks = None,
    settle: Settle = None,
) -> None:
    """Change what is said of the fleet, or of a group.

    \b
      tendhost policy set --window 'sat,sun 22:00-04:00 Europe/Berlin'
      tendhost policy set --freeze 'year-end 2026-12-23T18:00+01:00 2027-01-04T06:00+01:00 holidays'
      tendhost policy set --thaw year-end
      tendhost policy set --group db --window 'sun 02:00-04:00 Europe/Berlin' --check tcp:5432

    What is not given stays as it is. It holds at once for every host of it. A host's own windows and
    hooks take the place of those of its groups, and these of those of the fleet; freezes and checks
    add up.
    """
    session: Session = context.obj
    if no_windows and window:
        refuse("--no-windows: it does not go with --window")
    require_hook(pre_hook, post_hook, hook_timeout, hook_exit_code)
    before = hook_of(pre_hook, "--pre-hook", hook_timeout, hook_exit_code)
    after = hook_of(post_hook, "--post-hook", hook_timeout, hook_exit_code)
    frozen = [_freeze(text) for text in freeze or ()]
    when = () if no_windows else windows(window, "--window")
    checks, settled = checks_of(check), settle_of(settle)
    if not (frozen or thaw) and all(x is None for x in (when, before, after, checks, settled)):
        refuse("nothing to change; see `tendhost policy set --help`")

    def changed(former: Defaults) -> Defaults:
        hooks, health = former.hooks, former.health_checks
        return replace(
            former,
            windows=former.windows if when is None else when,
            freezes=_refrozen(former.freezes, frozen, thaw or ()),
            hooks=Hooks(
                pre=hooks.pre if before is None else None if before == "none" else before,
                post=hooks.post if after is None else None if after == "none" else after,
            ),
            health_checks=HealthChecks(
                checks=health.checks if checks is None else checks.checks,
                settle=health.settle if settled is None else settled,
            ),
        )

    async def work(client: Client) -> None:
        _tell(session, await client.set_defaults(changed(await client.get_defaults(group))))

    session.run(work)


@app.command()
def delete(context: typer.Context, group: Group = "") -> None:
    """Say nothing any more of the fleet, or of a group."""
    session: Session = context.obj

    async def work(client: Client) -> None:
        await client.delete_defaults(group)
        if session.json:
            session.print_json({"group": group, "deleted": True})
        else:
            print(f"nothing is said of {f'the group {group}' if group else 'the fleet'} any more")

    session.run(work)


@app.command()
def host(context: typer.Context, name: Name) -> None:
    """Show what holds for a host, and who says so."""
    session: Session = context.obj

    async def work(client: Client) -> None:
        from tendhost.client.cli import render_policy

        found = await client.effective_policy(name)
        if session.json:
            session.print_json(found)
        else:
            render_policy.effective(found)

    session.run(work)


def _refrozen(
    former: Sequence[FreezePeriod], added: Sequence[FreezePeriod], lifted: Sequence[str]
) -> tuple[FreezePeriod, ...]:
    """The freezes that are left, without those that have passed."""
    for name in lifted:
        if name not in {freeze.name for freeze in former}:
            refuse(f"--thaw: there is no freeze {name!r}")
    gone = {*lifted, *(freeze.name for freeze in added)}
    now = datetime.now(UTC)
    kept = (freeze for freeze in former if freeze.name not in gone and freeze.ends_at > now)
    return (*kept, *added)


def _freeze(text: str) -> FreezePeriod:
    try:
        name, starts, ends, *reason = shlex.split(text)
    except ValueError:
        refuse(f"--freeze: {text!r} is no freeze; expected 'NAME FROM UNTIL REASON'")
    starts_at, zone = _time(starts)
    ends_at, last_zone = _time(ends)
    return FreezePeriod(
        name=name,
        starts_at=starts_at,
        ends_at=ends_at,
        reason=" ".join(reason),
        time_zone=last_zone or zone or "UTC",
    )


def _time(text: str) -> tuple[datetime, str]:
    """A moment as RFC 3339 and RFC 9557 write it, with the time zone that was named."""
    match = _TIME.fullmatch(text)
    zone = (match and match["zone"]) or ""
    try:
        local = datetime.fromisoformat(match["at"] if match else "")
    except ValueError:
        local = None
    if local is None or (local.tzinfo is None and not zone):
        refuse(
            f"--freeze: {text!r} is not a time with its time zone;"
            " expected one such as 2026-12-23T18:00+01:00 or 2026-12-23T18:00[Europe/Berlin]"
        )
    try:
        at = local if local.tzinfo is not None else local.replace(tzinfo=ZoneInfo(zone))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        refuse(f"--freeze: {zone!r} is not an IANA time zone such as 'Europe/Vienna'")
    return at, zone


def _tell(session: Session, found: Defaults) -> None:
    from tendhost.client.cli import render_policy

    if session.json:
        session.print_json(found)
    else:
        render_policy.defaults(found)
