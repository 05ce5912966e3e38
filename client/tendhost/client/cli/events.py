"""`tendhost events`, `info` and `version`."""

from importlib.metadata import version as version_of
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tendhost.client.cli.session import Session

if TYPE_CHECKING:
    from tendhost.client import Event


def events(
    context: typer.Context,
    follow: Annotated[bool, typer.Option(help="Go on as they happen.")] = False,
    since: Annotated[
        int | None, typer.Option(min=0, help="After this revision; 0: from the oldest.")
    ] = None,
    host: Annotated[list[str] | None, typer.Option(help="Of these hosts only; globs too.")] = None,
) -> None:
    """Show what happened: the last events, or with --follow what happens from now on.

    With --output json, one event a line.
    """
    session: Session = context.obj

    async def work(client: Any) -> None:
        from tendhost.client import Event, HostFilter

        info = await client.info()
        after = since
        if after is None:
            after = info.revision if follow else max(info.oldest_revision - 1, info.revision - 50)
        if not follow and after >= info.revision:
            return
        stream = client.events(
            resume_after=after,
            until=None if follow else info.revision,
            selection=HostFilter(names=tuple(host)) if host else None,
        )
        async for item in stream:
            if session.json:
                session.print_json(item)
            elif isinstance(item, Event):
                print(_line(item), flush=True)
            else:
                print(
                    f"{item.revision:>8}  the fleet as it is: {len(item.hosts)} hosts", flush=True
                )

    session.run(work, interrupted=lambda: "stopped")


def _line(event: "Event") -> str:
    at = event.at.astimezone().strftime("%H:%M:%S") if event.at else ""
    kind = event.kind.replace("_", " ")
    return f"{event.revision:>8}  {at}  {event.host:<16} {kind}  {_words(event)}".rstrip()


def _words(event: "Event") -> str:
    details = event.details
    match event.kind:
        case "state_changed":
            return f"{details.get('from')} → {details.get('to')}  ({details.get('cause', '')})"
        case "update_progress":
            percent = float(str(details.get("percent", 0)))
            return f"{details.get('phase', '')} {details.get('package', '')} {percent:.0f} %"
        case "operation_changed":
            parts = (details.get(name, "") for name in ("kind", "status", "step", "message"))
            return " ".join(str(part) for part in parts if part)
        case "rollout_changed":
            progress = details.get("progress")
            counts = progress if isinstance(progress, dict) else {}
            numbers = ", ".join(f"{name} {count}" for name, count in counts.items())
            return f"{event.rollout_id} {details.get('status')}: {numbers}"
        case "update_completed":
            result = details.get("result")
            table = result if isinstance(result, dict) else {}
            return f"{table.get('upgraded_count', 0)} packages changed"
        case _:
            return " ".join(f"{name}={value}" for name, value in details.items())


def info(context: typer.Context) -> None:
    """Show what server this is."""
    session: Session = context.obj

    async def work(client: Any) -> None:
        found = await client.info()
        if session.json:
            session.print_json(found)
        else:
            print(f"tendhostd {found.version} at {session.server}: {found.hosts} hosts")
            print(
                f"event log {found.log_id}, revisions {found.oldest_revision} to {found.revision}"
            )

    session.run(work)


def version(context: typer.Context) -> None:
    """Show the version of this command."""
    session: Session = context.obj
    if session.json:
        session.print_json({"version": version_of("tendhost")})
    else:
        print(f"tendhost {version_of('tendhost')}")
