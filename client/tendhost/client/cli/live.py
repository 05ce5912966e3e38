"""Following work as it goes: a live view on a terminal, plain lines elsewhere."""

import asyncio
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.live import Live
from rich.markup import escape

from tendhost.client.cli.render import coloured, console, rollout_sentence, table

if TYPE_CHECKING:
    from rich.console import RenderableType

    from tendhost.client import Event, Operation, OperationHandle, Rollout, RolloutHost


class Progress:
    """What the events say of the hosts that are being worked on."""

    def __init__(self) -> None:
        self._words: dict[str, str] = {}

    async def follow(self, client: Any, after: int | None) -> None:
        """Keep listening until cancelled."""
        from tendhost.client import Event

        async for item in client.events(resume_after=after):
            if isinstance(item, Event):
                self.hear(item)

    def hear(self, event: "Event") -> None:
        """Take note of an event."""
        details = event.details
        if event.kind == "update_progress":
            package = details.get("package", "")
            percent = float(str(details.get("percent", 0)))
            self._words[event.host] = f"{details.get('phase', '')} {package} {percent:.0f} %"
        elif event.kind == "operation_changed" and details.get("step"):
            self._words[event.host] = str(details["step"]).replace("_", " ")

    def of(self, host: str) -> str:
        """The latest of one host."""
        return " ".join(self._words.get(host, "").split())


async def operations(
    client: Any, handles: "Sequence[OperationHandle]", *, quiet: bool
) -> "list[Operation]":
    """Every operation once it has ended, shown meanwhile."""
    if quiet:
        return [await handle.wait() for handle in handles]
    if not console.is_terminal:
        return list(await asyncio.gather(*(_told(handle) for handle in handles)))
    progress = Progress()
    listening = asyncio.create_task(progress.follow(client, None))
    waiting = [asyncio.create_task(handle.wait()) for handle in handles]
    try:
        with Live(console=console, refresh_per_second=8, transient=True) as live:
            while not all(task.done() for task in waiting):
                live.update(_operations_view(handles, progress))
                await asyncio.wait(waiting, timeout=0.15)
        return [task.result() for task in waiting]
    finally:
        for task in (listening, *waiting):
            task.cancel()
        await asyncio.gather(listening, *waiting, return_exceptions=True)


def _operations_view(handles: "Sequence[OperationHandle]", progress: Progress) -> "RenderableType":
    rows = [(h.host, coloured(str(h.latest.status)), escape(progress.of(h.host))) for h in handles]
    return table(("HOST", "STATUS", ""), rows)


async def _told(handle: "OperationHandle") -> "Operation":
    """Wait, with a line for each step."""
    from tendhost.client import LogChunk

    told: set[str] = set()
    async for item in handle.watch(log_offset=sys.maxsize):
        if isinstance(item, LogChunk):
            continue
        for step in item.steps:
            if step.ended_at is not None and step.name not in told:
                told.add(step.name)
                print(f"{item.host}: {step.name}: {step.detail}", flush=True)
    return handle.latest


async def rollout(client: Any, id: str) -> "Rollout":
    """The rollout once it has ended, shown meanwhile."""
    members: dict[str, RolloutHost] = {}
    progress = Progress()
    info = await client.info()
    listening = asyncio.create_task(progress.follow(client, info.revision))
    live = Live(console=console, refresh_per_second=8) if console.is_terminal else None
    latest: Rollout | None = None
    try:
        if live is not None:
            live.start()
        async for update in client.watch_rollout(id):
            latest = update.rollout
            for member in update.hosts:
                former = members.get(member.host)
                members[member.host] = member
                if live is None and (former is None or former.status != member.status):
                    _tell_member(member, first=former is None)
            if live is not None:
                live.update(_rollout_view(latest, list(members.values()), progress))
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        if live is not None:
            live.stop()
    assert latest is not None, "a watch begins with the rollout"
    if live is None:
        print(rollout_sentence(latest))
    return latest


def _tell_member(member: "RolloutHost", *, first: bool) -> None:
    if first and str(member.status) == "pending":
        return
    detail = f": {member.detail}" if member.detail else ""
    words = str(member.status).replace("_", " ")
    print(f"batch {member.batch}: {member.host} {words}{detail}", flush=True)


def _rollout_view(
    found: "Rollout", members: "Sequence[RolloutHost]", progress: Progress
) -> "RenderableType":
    shown = table(
        ("HOST", "BATCH", "STATUS", ""),
        (
            (
                member.host,
                str(member.batch),
                coloured(str(member.status)),
                escape(
                    progress.of(member.host)
                    if str(member.status) == "in_progress"
                    else member.detail
                ),
            )
            for member in members
        ),
    )
    shown.caption = rollout_sentence(found)
    shown.caption_justify = "left"
    return shown
