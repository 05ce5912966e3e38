"""A reboot: ordered at most once, and believed only when another boot answers."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

from tendhost.server.clock import Clock
from tendhost.server.domain.errors import (
    HostKeyChanged,
    KeyUnusable,
    LinkLost,
    NeverReturned,
    RebootIgnored,
    RebootRefused,
    SameBoot,
    WorkError,
    WorkTimeout,
)
from tendhost.server.domain.host import Host
from tendhost.server.engine import looking
from tendhost.server.engine.session import Session
from tendhost.server.failpoints import reached
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
    may_order: bool,
    timeout: timedelta,
    clock: Clock,
) -> str:
    """Reboot the host and return once it runs another boot; one line that says how long it took.

    `ordering` puts the order on record and is called right before it is given; None: it is on
    record already. Whoever finds it there gives it again, for nobody knows how far the former one
    got, and the host takes it only while it runs `boot_before`; unless `may_order` is false, which
    leaves it at waiting.

    Raises RebootRefused, RebootIgnored (its link never dropped), SameBoot (it was away, and is back
    as it was), NeverReturned, HostKeyChanged.
    """
    began = clock.elapsed()
    dropped = may_order and await _order(session, host, boot_before, ordering)
    cut_off = dropped
    wait = _Wait(session=session, host=host, boot_before=boot_before, clock=clock, dropped=dropped)
    pause = FIRST_PAUSE
    while clock.elapsed() - began < timeout:
        await clock.sleep(pause)
        if await wait.is_over():
            reached("reboot.returned")
            return f"back after {(clock.elapsed() - began).total_seconds():.0f} s"
        if cut_off and wait.away is None:
            # It answers again and was not rebooted: the order may have been lost with the link.
            cut_off = False
            await _order(session, host, boot_before, None)
        if wait.away:
            pause = min(pause * 2, LONGEST_PAUSE)
    raise wait.failure(minutes=timeout.total_seconds() / 60)


@dataclass(slots=True, kw_only=True)
class _Wait:
    """For another boot to answer.

    As long as a connection answers, that one is asked: when it breaks, the host went down, or its
    link did. From then on it takes a new connection, and another boot behind it.
    """

    session: Session
    host: Host
    boot_before: str
    clock: Clock
    dropped: bool
    """Whether it was away at any time."""
    away: WorkError | None = None
    """Why it does not answer at present."""

    async def is_over(self) -> bool:
        try:
            now = await looking.boot(await self.session.remote(self.host), self.host.name)
        except (HostKeyChanged, KeyUnusable):
            raise
        except WorkError as error:
            # Not there yet: also a login that is refused, for sshd answers before the boot is done,
            # and an answer that the shutdown has cut off.
            await self.session.close()
            self.away, self.dropped = error, True
            return False
        self.away = None
        return str(now) != self.boot_before

    def failure(self, *, minutes: float) -> WorkError:
        name, order = self.host.name, f"the order to reboot, {minutes:g} min ago"
        if self.away is not None:
            problem = (
                f"did not come back within {minutes:g} min of the order to reboot: {self.away}"
            )
            return NeverReturned(host=name, problem=problem)
        if self.dropped:
            problem = f"was away, and still runs the boot that it ran before {order}"
            return SameBoot(host=name, problem=problem)
        problem = f"took the order and never went down: its link has not dropped since {order}"
        return RebootIgnored(host=name, problem=problem)


async def _order(
    session: Session, host: Host, boot_before: str, ordering: Callable[[], Awaitable[None]] | None
) -> bool:
    """Give the order; whether the link dropped under it."""
    try:
        remote = await session.remote(host)
    except WorkError as error:
        if ordering is None:
            return True  # on its way down, it seems
        problem = f"the order to reboot could not be given: {error}"
        raise RebootRefused(host=host.name, problem=problem) from error
    if ordering is not None:
        await ordering()
    reached("reboot.recorded")
    try:
        done = await remote.run(reboot_command(boot_before), timeout=ORDER_TIMEOUT, privileged=True)
    except (LinkLost, WorkTimeout):
        reached("reboot.ordered")
        await session.close()
        return True
    reached("reboot.ordered")
    # 255 is what ssh itself, and a shell that is killed on the way down, end with.
    if done.exit_status not in (0, 255) and done.exit_status < 128:
        said = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
        problem = f"refused to reboot (exit {done.exit_status}): {said}"
        raise RebootRefused(host=host.name, problem=problem)
    return False
