"""`tendhost events`."""

from typing import Annotated

import typer

from tendhost.client import Client, Event, HostFilter, Snapshot
from tendhost.client.cli.formatting import counted
from tendhost.client.cli.options.selection import Saved
from tendhost.client.cli.render.events import summary
from tendhost.client.cli.session import Session, plain, print_line, refuse

LATEST = 50
LARGEST_REVISION = 2**63 - 1


def events(
    context: typer.Context,
    follow: Annotated[
        bool, typer.Option("--follow", help="Continue with new events as they happen.")
    ] = False,
    since: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=LARGEST_REVISION,
            metavar="REVISION",
            help="Show events after this revision. 0 starts with the oldest stored one.",
        ),
    ] = None,
    host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Show only events of hosts with this name or glob. May be repeated.",
        ),
    ] = None,
    tag: Annotated[
        list[str] | None,
        typer.Option(metavar="TAG", help="Show only events of hosts with all of these tags."),
    ] = None,
    group: Annotated[
        list[str] | None,
        typer.Option(metavar="GROUP", help="Show only events of hosts in one of these groups."),
    ] = None,
    saved: Saved = "",
) -> None:
    """Show recent events, or with --follow new ones.

    \b
      tendhost events --follow --tag web
      tendhost events --since 1200 --output json

    With --output json, prints one event per line. If the events after --since were pruned, prints a
    snapshot of the hosts instead.
    """
    session: Session = context.obj

    async def work(client: Client) -> None:

        info = await client.info()
        if since is not None and since > info.revision:
            refuse(f"--since: {since} is greater than the current revision, {info.revision}")
        after = since
        if after is None:
            latest = max(info.oldest_revision - 1, info.revision - LATEST)
            after = info.revision if follow else latest
        if not follow and after == info.revision:
            return
        narrowed = any((host, tag, group, saved))
        selection = HostFilter(
            names=tuple(host or ()),
            all_tags=tuple(tag or ()),
            groups=tuple(group or ()),
            selection=saved,
        )
        stream = client.events(
            resume_after=after,
            log_id=info.log_id,
            until=None if follow else info.revision,
            selection=selection if narrowed else None,
        )
        async for item in stream:
            if session.json:
                session.print_json(document(item))
            else:
                print_line(_line(item))

    session.run(work, interrupted=lambda: "stopped")


def document(item: Event | Snapshot) -> dict[str, object]:
    """An item of the stream for programs: `kind` says what it is, `details` holds the rest."""

    if isinstance(item, Snapshot):
        hosts = [plain(host) for host in item.hosts]
        return {"revision": item.revision, "kind": "snapshot", "hosts": hosts}
    return {
        "revision": item.revision,
        "at": plain(item.at),
        "host": item.host,
        "operation_id": item.operation_id,
        "rollout_id": item.rollout_id,
        "kind": item.kind,
        "details": plain(item.body),
        "incomplete": item.incomplete,
    }


def _line(item: Event | Snapshot) -> str:

    if isinstance(item, Snapshot):
        return f"{item.revision:>8}  snapshot of the fleet: {counted(len(item.hosts), 'host')}"
    at = item.at.astimezone().strftime("%H:%M:%S") if item.at else ""
    kind = item.kind.replace("_", " ")
    line = f"{item.revision:>8}  {at}  {item.host:<16} {kind:<18} {summary(item)}".rstrip()
    return f"{line}  (incomplete: {item.incomplete})" if item.incomplete else line
