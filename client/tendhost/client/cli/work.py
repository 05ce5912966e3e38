"""`tendhost query`, `update`, `reboot`, `check`, `retry` and `acknowledge`."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from tendhost.client.cli.session import DONE, HOST_FAILED, Session

if TYPE_CHECKING:
    from tendhost.client import Operation, OperationHandle

Names = Annotated[list[str], typer.Argument(metavar="NAME...", help="The hosts.")]
Wait = Annotated[bool, typer.Option(help="Wait for the end, or only begin.")]
Queue = Annotated[bool, typer.Option(help="Wait for what the host is busy with.")]


def query(context: typer.Context, names: Names, wait: Wait = True, queue: Queue = False) -> None:
    """Ask hosts what is installed, what is pending, and whether a reboot is due."""
    _work(context.obj, names, wait, lambda client, name: client.query(name, queue=queue))


def update(
    context: typer.Context,
    names: Names,
    dry_run: Annotated[bool, typer.Option(help="Only find out what it would do.")] = False,
    wait: Wait = True,
    queue: Queue = False,
) -> None:
    """Update hosts: query, upgrade, reboot if needed and allowed, verify."""
    _work(
        context.obj,
        names,
        wait,
        lambda client, name: client.update(name, dry_run=dry_run, queue=queue),
    )


def reboot(context: typer.Context, names: Names, wait: Wait = True, queue: Queue = False) -> None:
    """Reboot hosts, needed or not, and wait for them to come back."""
    _work(context.obj, names, wait, lambda client, name: client.reboot(name, queue=queue))


def check(context: typer.Context, names: Names, wait: Wait = True, queue: Queue = False) -> None:
    """Check the health of hosts; nothing is changed."""
    _work(context.obj, names, wait, lambda client, name: client.check(name, queue=queue))


def retry(context: typer.Context, names: Names, wait: Wait = True) -> None:
    """Take hosts out of `failed` and do once more what failed."""
    _work(context.obj, names, wait, lambda client, name: client.retry(name))


def acknowledge(context: typer.Context, names: Names) -> None:
    """Record that you have seen why hosts failed; they stay in `failed`."""
    session: Session = context.obj

    async def work(client: Any) -> None:
        for name in names:
            host = await client.acknowledge(name)
            if session.json:
                session.print_json(host)
            else:
                print(f"{name}: the failure is acknowledged")

    session.run(work)


def _work(
    session: Session,
    names: list[str],
    wait: bool,
    begin: "Callable[[Any, str], Awaitable[OperationHandle]]",
) -> NoReturn:
    begun: list[str] = []

    async def work(client: Any) -> int:
        from tendhost.client.cli import live, render

        handles = []
        for name in names:
            handles.append(await begin(client, name))
            begun.append(handles[-1].id)
        if wait:
            ended = await live.operations(client, handles, quiet=session.json)
        else:
            ended = [handle.latest for handle in handles]
        if session.json:
            session.print_json(ended[0] if len(ended) == 1 else ended)
        else:
            for operation in ended:
                if wait:
                    render.result(operation)
                else:
                    print(f"{operation.host}: {operation.kind} {operation.id}")
        return HOST_FAILED if wait and any(map(_went_badly, ended)) else DONE

    session.run(work, interrupted=lambda: _how_to_look(begun))


def _how_to_look(begun: list[str]) -> str:
    if not begun:
        return "interrupted"
    lines = "\n".join(f"  tendhost operation show {id}" for id in begun)
    return f"it goes on without you; look at it with\n{lines}"


def _went_badly(operation: "Operation") -> bool:
    unhealthy = operation.health is not None and not operation.health.healthy
    return str(operation.status) != "succeeded" or unhealthy
