"""A reboot: ordered at most once, and believed only when another boot answers."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

from tendhost.server.clock import Clock
from tendhost.server.domain.errors import (
    HostKeyChanged,
    KeyUnusable,
    LinkLost,
    NeverReturned,
    RebootRefused,
    SameBoot,
    WorkError,
    WorkTimeout,
)
from tendhost.server.domain.host import Host
from tendhost.server.engine import looking
from tendhost.server.engine.session import Session
from tendhost.server.packages.boot import reboot_command

FIRST_PAUSE = timedelta(seconds=1)
LONGEST_PAUSE = timedelta(seconds=10)
ORDER_TIMEOUT = timedelta(seconds=60)
"""For the order to be taken. A host that goes down under it answers no more, which is an answer."""


async def reboot(
    session: Session,
    host: Host,
    *,
    boot_before: str,
    ordering: Callable[[], Awaitable[None]] | None,
    timeout: timedelta,
    clock: Clock,
) -> str:
    """Reboot the host and return once it runs another boot; one line that says how long it took.

    `ordering` puts the order on record and is called right before it is given; None: it was given
    before. Raises RebootRefused, NeverReturned, SameBoot, HostKeyChanged.
    """
    began = clock.now()
    if ordering is not None:
        await _order(session, host, ordering)
    last: WorkError | None = None
    answered = False
    pause = FIRST_PAUSE
    while clock.now() - began < timeout:
        await clock.sleep(pause)
        try:
            now = await looking.boot(await session.renewed(host), host.name)
        except (HostKeyChanged, KeyUnusable):
            raise
        except WorkError as error:
            # Not there yet: also a login that is refused, for sshd answers before the boot is done,
            # and an answer that the shutdown has cut off.
            last, answered = error, False
            pause = min(pause * 2, LONGEST_PAUSE)
            continue
        if str(now) != boot_before:
            took = (clock.now() - began).total_seconds()
            return f"back after {took:.0f} s"
        answered = True
    minutes = timeout.total_seconds() / 60
    if answered:
        problem = (
            f"still runs the boot that it ran before the reboot was ordered {minutes:g} min ago"
        )
        raise SameBoot(host=host.name, problem=problem)
    problem = f"did not come back within {minutes:g} min of the order to reboot: {last}"
    raise NeverReturned(host=host.name, problem=problem)


async def _order(session: Session, host: Host, ordering: Callable[[], Awaitable[None]]) -> None:
    try:
        remote = await session.remote(host)
    except WorkError as error:
        problem = f"the order to reboot could not be given: {error}"
        raise RebootRefused(host=host.name, problem=problem) from error
    await ordering()
    try:
        done = await remote.run(reboot_command(), timeout=ORDER_TIMEOUT, privileged=True)
    except (LinkLost, WorkTimeout):
        return  # it went down under the order
    finally:
        await session.close()
    # 255 is what ssh itself, and a shell that is killed on the way down, end with.
    if done.exit_status not in (0, 255) and done.exit_status < 128:
        said = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
        problem = f"refused to reboot (exit {done.exit_status}): {said}"
        raise RebootRefused(host=host.name, problem=problem)
