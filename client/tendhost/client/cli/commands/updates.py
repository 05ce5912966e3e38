"""`tendhost query`, `update`, `reboot`, `check`, `retry` and `acknowledge`."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Annotated, Any, NoReturn

import typer

from tendhost.client import (
    Client,
    InventoryPart,
    Operation,
    OperationHandle,
    RebootOutcome,
    ServerFailed,
    TendhostError,
)
from tendhost.client.cli.options.scope import (
    Autoremove,
    DownloadFirst,
    Only,
    Removals,
    Security,
    Without,
    override_of,
)
from tendhost.client.cli.session import (
    DONE,
    NOT_SUCCEEDED,
    Session,
    print_error,
    print_line,
    refuse,
    tell,
)

Names = Annotated[list[str], typer.Argument(metavar="NAME", help="Names of the hosts.")]
Wait = Annotated[
    bool,
    typer.Option("--wait/--no-wait", help="Wait until the operation has ended, or print its id."),
]
Queue = Annotated[
    bool, typer.Option("--queue", help="Wait for other operations of the host instead of failing.")
]


def query(
    context: typer.Context,
    names: Names,
    part: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PART",
            help="Query only this part: packages, pending, hardware, mounts, network or containers."
            " May be repeated.",
        ),
    ] = None,
    wait: Wait = True,
    queue: Queue = False,
) -> None:
    """Query what is installed and pending on hosts.

    A query also finds out whether a reboot is needed. `tendhost host packages` and
    `tendhost host inventory` show the results.

    \b
      tendhost query web1 web2
      tendhost query web1 --part containers
    """
    known = [word for word in InventoryPart if word is not InventoryPart.UNRECOGNIZED]
    for word in part or ():
        if word not in known:
            refuse(f"--part: invalid part {word!r}; use {', '.join(known)}")
    parts = tuple(InventoryPart(word) for word in part or ())
    _work(
        context.obj, names, wait, lambda client, name: client.query(name, parts=parts, queue=queue)
    )


def update(
    context: typer.Context,
    names: Names,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Show what the update would change, and change nothing."),
    ] = False,
    security: Security = None,
    package: Only = None,
    exclude_package: Without = None,
    allow_removals: Removals = None,
    autoremove: Autoremove = None,
    download_first: DownloadFirst = None,
    download_only: Annotated[
        bool, typer.Option("--download-only", help="Only download; a later update installs it.")
    ] = False,
    plan: Annotated[str, typer.Option(metavar="ID", help="Apply the plan of this dry run.")] = "",
    exact: Annotated[
        bool,
        typer.Option(
            "--exact",
            help="Change nothing if the pending updates differ from the plan, or from the last"
            " query.",
        ),
    ] = False,
    wait: Wait = True,
    queue: Queue = False,
) -> None:
    """Update hosts: query, upgrade, reboot, verify.

    \b
      tendhost update web1 --dry-run
      tendhost update web1 web2
      tendhost update web1 --security --exclude-package 'linux-*'
      tendhost update web1 --plan ID --exact
      tendhost update web1 --no-wait

    Without options for the scope, the policy of each host applies (`tendhost host set`). A host is rebooted
    if that is needed and its configuration allows it. To update many hosts in waves, see
    `tendhost rollout start --help`.
    """
    if dry_run and (download_only or exact or plan):
        refuse("--dry-run cannot be combined with --download-only, --plan or --exact")
    scope = override_of(
        security, package, exclude_package, allow_removals, autoremove, download_first
    )
    _work(
        context.obj,
        names,
        wait,
        lambda client, name: client.update(
            name,
            dry_run=dry_run,
            scope=scope,
            plan=plan,
            exact=exact,
            download_only=download_only,
            queue=queue,
        ),
    )


def reboot(
    context: typer.Context,
    names: Names,
    wait: Wait = True,
    queue: Queue = False,
    if_required: Annotated[
        bool,
        typer.Option(
            "--if-required",
            help="Query each host first, and reboot it only if a reboot is known to be needed.",
        ),
    ] = False,
) -> None:
    """Reboot hosts, and wait until they answer with a new boot.

    With --if-required, a host is rebooted only if a reboot is known to be needed. The exit status is 1 if
    that is unknown for a host, and 0 if no reboot is needed.
    """
    _work(
        context.obj,
        names,
        wait,
        lambda client, name: client.reboot(name, only_if_required=if_required, queue=queue),
    )


def check(context: typer.Context, names: Names, wait: Wait = True, queue: Queue = False) -> None:
    """Check the health of hosts, and change nothing.

    The exit status is 1 if a host is unhealthy.
    """
    _work(context.obj, names, wait, lambda client, name: client.check(name, queue=queue))


def retry(context: typer.Context, names: Names, wait: Wait = True) -> None:
    """Retry failed hosts, each from the step that failed."""
    _work(context.obj, names, wait, lambda client, name: client.retry(name))


def acknowledge(context: typer.Context, names: Names) -> None:
    """Acknowledge the failure of hosts. They stay failed until a retry."""
    session: Session = context.obj

    async def work(client: Client) -> int:
        hosts, status = await each(names, client.acknowledge)
        if session.json:
            session.print_json(hosts[0] if len(names) == 1 and hosts else hosts)
        else:
            for host in hosts:
                print_line(f"{host.name}: acknowledged the failure")
        return status

    session.run(work)


async def each(names: Iterable[str], ask: Callable[[str], Awaitable[Any]]) -> tuple[list[Any], int]:
    """What came of asking for every host; one that is refused is told of and does not stop the rest.

    Raises ServerFailed.
    """

    answers, status = [], DONE
    for name in dict.fromkeys(names):
        try:
            answers.append(await ask(name))
        except ServerFailed:
            raise
        except TendhostError as error:
            status = tell(error)
    return answers, status


def _work(
    session: Session,
    names: list[str],
    wait: bool,
    begin: Callable[[Client, str], Awaitable[OperationHandle]],
) -> NoReturn:
    begun: list[str] = []

    async def work(client: Client) -> int:
        async def ask(name: str) -> OperationHandle:
            handle = await begin(client, name)
            begun.append(handle.id)
            return handle

        handles, refused = await each(names, ask)
        if not wait:
            _print_ids(session, handles, alone=len(names) == 1)
            return refused
        followed = await follow(session, client, handles, alone=len(names) == 1)
        return refused or followed

    session.run(work, interrupted=lambda: goes_on(begun))


def _print_ids(session: Session, handles: list[OperationHandle], *, alone: bool) -> None:
    if session.json:
        latest = [handle.latest for handle in handles]
        session.print_json(latest[0] if alone and latest else latest)
        return
    for handle in handles:
        print_line(handle.id)


async def follow(
    session: Session, client: Client, handles: list[OperationHandle], *, alone: bool
) -> int:
    """Wait for operations, show what comes of them, and give the exit status."""
    from tendhost.client.cli.render import live as render_live
    from tendhost.client.cli.render import operations as render_operations

    try:
        ended = await render_live.operations(client, handles, quiet=session.json)
    except ServerFailed:
        print_error(*goes_on([handle.id for handle in handles]).split("\n"))
        raise
    if session.json:
        session.print_json(ended[0] if alone and ended else ended)
    else:
        for operation in ended:
            render_operations.result(operation)
    return NOT_SUCCEEDED if any(map(_went_badly, ended)) else DONE


def goes_on(begun: list[str]) -> str:
    """What to tell somebody who cannot or will not wait for the end."""
    if not begun:
        return "interrupted"
    lines = "\n".join(f"  tendhost operation watch {id}" for id in begun)
    return f"the operation continues on the server; to watch it:\n{lines}"


def _went_badly(operation: Operation) -> bool:
    unhealthy = operation.health is not None and not operation.health.healthy
    undecided = operation.reboot_outcome is RebootOutcome.UNKNOWN
    return not operation.succeeded or unhealthy or undecided
