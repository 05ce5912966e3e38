"""Progress of operations and rollouts: a live view on a terminal, plain lines elsewhere."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.live import Live

from tendhost.client import (
    Client,
    Event,
    Operation,
    OperationChanged,
    OperationHandle,
    Rollout,
    RolloutHost,
    StepRetried,
    TendhostError,
    UpdateProgress,
)
from tendhost.client.cli.console import coloured, console, say, styled, table
from tendhost.client.cli.render import rollouts as render_rollouts
from tendhost.client.cli.render.events import progress_text, summary

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table


REDRAW_SECONDS = 0.125
_ORDER = {"in_progress": 0, "failed": 1, "pending": 2, "skipped": 3, "completed": 4}
"""What a person looks for first, where not all of it fits."""


class Progress:
    """What the events say of the hosts of a rollout that are being worked on."""

    def __init__(self) -> None:
        self._words: dict[str, str] = {}

    def hear(self, event: Event) -> None:
        """Take note of an event."""

        match event.body:
            case UpdateProgress():
                self._words[event.host] = summary(event)
            case OperationChanged(step=step) if step:
                self._words[event.host] = step.replace("_", " ")
            case StepRetried():
                self._words[event.host] = summary(event)

    def of(self, host: str) -> str:
        """The latest of one host."""
        return self._words.get(host, "")


@asynccontextmanager
async def _beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Have `work`, which has no end of its own, done while the context lasts."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        (outcome,) = await asyncio.gather(task, return_exceptions=True)
    if isinstance(outcome, Exception):
        raise outcome


@asynccontextmanager
async def _progress(client: Client) -> AsyncIterator[Progress]:
    """What happens on all hosts from now on."""

    progress = Progress()

    async def listen() -> None:
        try:
            async for item in client.events():
                if isinstance(item, Event):
                    progress.hear(item)
        except TendhostError:
            pass  # this is an ornament: what is waited for tells its own errors

    async with _beside(listen()):
        yield progress


@asynccontextmanager
async def _drawn(view: "Callable[[], RenderableType]") -> AsyncIterator[None]:
    """A view on the terminal that is kept current, and wiped out at the end."""
    with Live(view(), console=console, auto_refresh=False, transient=True) as live:

        async def redraw() -> None:
            while True:
                live.update(view(), refresh=True)
                await asyncio.sleep(REDRAW_SECONDS)

        async with _beside(redraw()):
            yield


async def operations(
    client: Client, handles: Sequence[OperationHandle], *, quiet: bool
) -> list[Operation]:
    """Every operation once it has ended, shown meanwhile unless `quiet`."""
    if quiet:
        return await _all(handle.wait() for handle in handles)
    if not console.is_terminal:
        return await _all(_told(handle) for handle in handles)

    def view() -> "Table":
        rows = [(h.host, coloured(str(h.latest.status)), doing(h.latest)) for h in handles]
        return table(("HOST", "STATUS", ""), rows[: console.height - 2])

    async with _drawn(view):
        return await _all(_watched(handle) for handle in handles)


def doing(operation: Operation) -> str:
    """What an operation is doing at this moment, in a few words."""
    step = operation.steps[-1] if operation.steps else None
    if step is None or step.ended_at is not None:
        return ""
    if operation.progress is not None:
        progress = operation.progress
        return progress_text(progress.phase, progress.package, progress.percent)
    name = step.name.replace("_", " ")
    return f"{name}, attempt {step.attempts}: {step.detail}" if step.attempts > 1 else name


async def _all(works: Iterable[Coroutine[Any, Any, Operation]]) -> list[Operation]:
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work) for work in works]
    except ExceptionGroup as errors:
        # They all ask the same server, so the first one says enough.
        raise errors.exceptions[0] from errors
    return [task.result() for task in tasks]


async def _watched(handle: OperationHandle) -> Operation:
    # Unlike wait() this tells when a queued operation begins.
    async with aclosing(handle.watch(log_offset=sys.maxsize)) as items:
        async for _ in items:
            pass
    return handle.latest


async def _told(handle: OperationHandle) -> Operation:
    """Wait, with a line for each step that has ended, and for each attempt that failed."""
    told, attempts = 0, 1
    async with aclosing(handle.watch(log_offset=sys.maxsize)) as items:
        async for _ in items:
            ended = [step for step in handle.latest.steps if step.ended_at is not None]
            for step in ended[told:]:
                say(f"{handle.host}: {step.name}: {step.detail or step.status}")
                attempts = 1
            told = len(ended)
            for step in handle.latest.steps[told:]:
                if step.attempts > attempts:
                    attempts = step.attempts
                    say(f"{handle.host}: {step.name}: {step.detail}; attempt {attempts} follows")
    return handle.latest


async def rollout(client: Client, id: str) -> Rollout:
    """The rollout once it has ended, shown meanwhile."""
    if not console.is_terminal:
        return await _rollout_told(client, id)
    members: dict[str, RolloutHost] = {}
    latest = await client.get_rollout(id)

    def view() -> Group:
        return _rollout_view(latest, members.values(), progress)

    async with (
        _progress(client) as progress,
        _drawn(view),
        aclosing(client.watch_rollout(id)) as updates,
    ):
        async for update in updates:
            latest = update.rollout
            members.update((member.host, member) for member in update.hosts)
            if is_at_rest(latest):
                break
    render_rollouts.rollout(latest, list(members.values()))
    return latest


async def _rollout_told(client: Client, id: str) -> Rollout:
    """Wait, with a line for each host that begins or ends."""
    told: dict[str, RolloutHost] = {}
    latest = await client.get_rollout(id)
    async with aclosing(client.watch_rollout(id)) as updates:
        async for update in updates:
            latest = update.rollout
            for member in update.hosts:
                if told.get(member.host) != member and str(member.status) != "pending":
                    status = str(member.status).replace("_", " ")
                    detail = f": {member.detail}" if member.detail else ""
                    say(f"wave {member.wave}: {member.host} {status}{detail}")
                told[member.host] = member
            if is_at_rest(latest):
                break
    say(f"{latest.status}: {render_rollouts.sentence(latest)}")
    if is_at_rest(latest):
        render_rollouts.tell_situation(latest)
    return latest


def is_at_rest(found: Rollout) -> bool:
    """Whether the rollout has halted, and what was under way has ended: only a person brings it on."""
    return str(found.status) == "halted" and not found.progress.in_progress


def _rollout_view(found: Rollout, members: Iterable[RolloutHost], progress: Progress) -> Group:
    room = max(1, console.height - 4)
    rows = [
        (
            member.host,
            str(member.wave),
            coloured(str(member.status)),
            progress.of(member.host) if str(member.status) == "in_progress" else member.detail,
        )
        for member in sorted(members, key=lambda member: _ORDER.get(str(member.status), 0))
    ]
    sentence = f"{found.status}: {render_rollouts.sentence(found)}"
    remark = render_rollouts.situation(found)
    lines = [sentence, remark] if remark else [sentence]
    if len(rows) > room:
        lines.insert(0, f"… and {len(rows) - room} more")
    return Group(table(("HOST", "WAVE", "STATUS", ""), rows[:room]), *map(styled, lines))
