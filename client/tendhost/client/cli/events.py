"""`tendhost events`."""

from collections.abc import Sequence
from typing import Annotated

import typer

from tendhost.client import (
    Client,
    DefaultsChanged,
    DuplicatesChanged,
    Event,
    FieldChange,
    HostAcknowledged,
    HostDisconnected,
    HostFilter,
    HostReconfigured,
    HostRegistered,
    HostUnregistered,
    OperationChanged,
    RolloutChanged,
    ScheduleChanged,
    SelectionChanged,
    Snapshot,
    StateChanged,
    StepRetried,
    UpdateCompleted,
    UpdateProgress,
)
from tendhost.client.cli.formatting import counted, duplicate_words
from tendhost.client.cli.options.selection import Saved
from tendhost.client.cli.session import Session, clean, plain, refuse

LATEST = 50
LARGEST_REVISION = 2**63 - 1


def events(
    context: typer.Context,
    follow: Annotated[bool, typer.Option("--follow", help="Go on as they happen.")] = False,
    since: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=LARGEST_REVISION,
            metavar="REVISION",
            help="Those after this revision; 0: from the oldest that is kept.",
        ),
    ] = None,
    host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Of this host only; a glob is fine. May be repeated."),
    ] = None,
    tag: Annotated[
        list[str] | None, typer.Option(metavar="TAG", help="Of hosts that have all these tags.")
    ] = None,
    group: Annotated[
        list[str] | None, typer.Option(metavar="GROUP", help="Of hosts in one of these groups.")
    ] = None,
    saved: Saved = "",
) -> None:
    """Show what happened, or with --follow what happens.

    \b
      tendhost events --follow --tag web
      tendhost events --since 1200 --output json

    With --output json, one event a line. Where the events after --since are not kept any more, a
    snapshot of the hosts comes in their place.
    """
    session: Session = context.obj

    async def work(client: Client) -> None:

        info = await client.info()
        if since is not None and since > info.revision:
            refuse(f"--since: {since} is beyond the current revision, {info.revision}")
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
            saved=saved,
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
                print(_line(item), flush=True)

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
        return f"{item.revision:>8}  the fleet as it is: {counted(len(item.hosts), 'host')}"
    at = item.at.astimezone().strftime("%H:%M:%S") if item.at else ""
    kind = item.kind.replace("_", " ")
    line = f"{item.revision:>8}  {at}  {item.host:<16} {kind:<18} {summary(item)}".rstrip()
    return f"{line}  (incomplete: {clean(item.incomplete)})" if item.incomplete else line


def progress_text(phase: str, package: str, percent: float) -> str:
    """How far a package manager is, in a few words."""
    return f"{phase} {package} {percent:.0f} %" if package else f"{phase} {percent:.0f} %"


def summary(event: Event) -> str:
    """What an event says, in a few words."""
    match event.body:
        case StateChanged(from_state=origin, to_state=to, cause=cause):
            words = f"{origin} → {to}  ({cause})"
        case UpdateProgress(package=package, percent=percent, phase=phase):
            words = progress_text(phase, package, percent)
        case OperationChanged(kind=kind, status=status, step=step, message=message):
            words = f"{kind} {status} {step} {message}"
        case StepRetried(step=step, attempt=attempt, pause=pause, problem=problem):
            words = f"{step}, attempt {attempt}: {problem.message}"
            words += f"; again in {pause.total_seconds():.0f} s"
        case RolloutChanged(status=status, progress=progress, wave=wave, waves=waves, message=said):
            failed = progress.failed + progress.rolled_back
            ended = progress.completed + failed + progress.skipped
            words = f"{event.rollout_id} {status}: wave {wave} of {waves},"
            words += f" {ended} of {progress.total_hosts} hosts ended, {failed} failed"
            words += f"; {said}" if said else ""
        case ScheduleChanged() | SelectionChanged() | DefaultsChanged():
            words = _settings(event.body, event.rollout_id)
        case UpdateCompleted(result=result):
            words = f"{counted(len(result.packages), 'package')} changed"
        case HostReconfigured(fields=fields, by=by, changes=changes):
            words = changed_words(changes) or ", ".join(fields)
            words += f" by {by}" if by else ""
        case HostRegistered(by=by) | HostUnregistered(by=by) | HostAcknowledged(by=by):
            words = f"by {by}" if by else ""
        case DuplicatesChanged(duplicate_of=duplicates):
            words = "; ".join(map(duplicate_words, duplicates)) or "none any more"
        case HostDisconnected(reason=reason):
            words = reason
        case _:
            words = ""
    return clean(words)


def _settings(body: ScheduleChanged | SelectionChanged | DefaultsChanged, rollout: str) -> str:
    """What became of something that users keep for more than one host."""
    match body:
        case ScheduleChanged(schedule=name, change=change, message=said, changes=changes):
            parts = (f"{name} {change}", changed_words(changes), rollout, said)
            return ", ".join(part for part in parts if part)
        case SelectionChanged(selection=name, change=change, message=said, changes=changes):
            return " ".join(filter(None, (f"{name} {change}", changed_words(changes), said)))
        case DefaultsChanged(group=group, by=by, deleted=deleted, changes=changes):
            whose = f"group {group}" if group else "the fleet"
            what = " deleted" if deleted else f" {changed_words(changes)}" if changes else ""
            return f"{whose}{what} by {by}"


def changed_words(changes: Sequence[FieldChange]) -> str:
    """Which fields changed, and how."""
    return "; ".join(
        one.path if one.new is None else f"{one.path}: {one.old or 'none'} → {one.new or 'none'}"
        for one in changes
    )
