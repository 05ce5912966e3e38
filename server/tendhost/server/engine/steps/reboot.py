"""The step that reboots a host: commanded once, and done only when the host answers with another boot id."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial

from tendhost.server.clock import Clock
from tendhost.server.domain.host_errors import (
    HostCertificateRefused,
    HostError,
    HostKeyChanged,
    KeyUnusable,
    LinkLost,
    NotPermitted,
    OutputTooLarge,
    RebootNeverBegan,
    RebootNeverReturned,
    RebootRefused,
    RebootSameBootId,
    Timeout,
)
from tendhost.server.domain.hosts.host import Host
from tendhost.server.domain.operations.operation import Outcome
from tendhost.server.domain.operations.permission import Permission
from tendhost.server.engine.connection import Session
from tendhost.server.engine.jobs.door import Door
from tendhost.server.engine.steps import queries
from tendhost.server.engine.steps.context import StepContext
from tendhost.server.failpoints import reached
from tendhost.server.packages.reboot_order import (
    GoingDown,
    OrderResult,
    parse_order,
    reboot_command,
)
from tendhost.server.remote.protocol import Completed

FIRST_PAUSE = timedelta(seconds=1)
LONGEST_PAUSE = timedelta(seconds=10)
ORDER_TIMEOUT = timedelta(seconds=60)
"""For the host to accept the command. A host that goes down does not answer, which is an answer, too."""
LOST = timedelta(seconds=30)
"""After so long, a host that answers and is not stopping never got the command, or it had no effect."""


async def reboot(
    session: Session,
    host: Host,
    *,
    boot_before: str,
    door: Door,
    recording: Callable[[], Awaitable[None]] | None,
    timeout: timedelta,
    clock: Clock,
) -> str:
    """Reboot the host and return once it runs another boot; one line that says how long it took.

    `recording` puts the order on record and is called right before it is first given; None: it is on
    record already. Whoever finds it there gives it again, for nobody knows how far the former one
    got, and the host takes it only while it runs `boot_before`. Each time it is asked for at the door.
    An order that may not be given again is waited for all the same, until it is known to be lost. So is a
    reboot that was under way already, whoever has begun it.

    Raises NotPermitted (the host runs on as it did), RebootRefused, RebootNeverBegan (its link never
    dropped), RebootSameBootId (it was away, and is back as it was), RebootNeverReturned, KeyUnusable, and where
    nothing of the first order was executed ChannelRefused, ShellUnusable, PrivilegeMissing.
    """
    began = clock.elapsed()
    order = _Order(session=session, host=host, boot_before=boot_before, door=door)
    await order.give(recording)
    wait = _RebootWait(
        session=session, host=host, boot_before=boot_before, clock=clock, dropped=order.cut_off
    )
    if not order.cut_off:
        await wait.goes_down()  # it may be gone before the first round
    pause = FIRST_PAUSE
    while clock.elapsed() - began < timeout:
        await clock.sleep(pause)
        if await wait.is_over():
            reached("reboot.returned")
            back = f"back after {(clock.elapsed() - began).total_seconds():.0f} s"
            return f"{back}; {order.found_under_way}" if order.found_under_way else back
        if order.cut_off and wait.away is None:
            # It answers again and was not rebooted: the order may have been lost with the link.
            # Once more, and then no more: each time a host comes back as it was may be a reboot.
            # One that was not sent is none.
            await order.give(None)
            order.cut_off = order.unsent != ""
        goes_down = await wait.goes_down()
        undone = order.refusal is not None or order.left_to_others
        if undone and wait.answered_for >= LOST and not goes_down:
            if order.refusal is not None:
                raise order.refusal
            await order.give(None)  # somebody has cancelled the reboot that was under way
        if wait.away is not None or order.cut_off:
            pause = min(pause * 2, LONGEST_PAUSE)
    if order.refusal is not None and wait.away is None:
        raise order.refusal
    raise wait.failure(minutes=timeout.total_seconds() / 60, unsent=order.unsent)


@dataclass(slots=True, kw_only=True)
class _RebootWait:
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
    away: str | None = None
    """Why it does not answer at present."""
    answers_since: timedelta | None = None
    """At which reading of the clock it began to answer, as the boot that it was."""
    last_seen: GoingDown = GoingDown()
    """What it waited for on its way down, when it last answered that."""

    async def is_over(self) -> bool:
        try:
            now = await queries.boot(await self.session.remote(self.host), self.host.name)
        except KeyUnusable:
            raise
        except HostError as error:
            # Not there yet: also a login that is refused, for sshd answers before the boot is done,
            # and an answer that the shutdown has cut off. Another host key is that of an initramfs which asks
            # for the passphrase of a disk: nobody logs in there.
            of_another = isinstance(error, HostKeyChanged | HostCertificateRefused)
            hint = _UNLOCKING if of_another else ""
            return await self._is_away(f"{error}{hint}")
        if now.in_initramfs:
            return await self._is_away(f"it is still in its initramfs{_UNLOCKING}")
        self.away = None
        if self.answers_since is None:
            self.answers_since = self.clock.elapsed()
        return now.is_after(self.boot_before)

    async def _is_away(self, problem: str) -> bool:
        await self.session.close()
        self.away, self.dropped, self.answers_since = problem, True, None
        return False

    @property
    def answered_for(self) -> timedelta:
        """How long it has answered without a break, still as the boot that it was."""
        if self.answers_since is None:
            return timedelta()
        return self.clock.elapsed() - self.answers_since

    async def goes_down(self) -> bool:
        """Whether the host is stopping what runs on it, or cannot be asked that."""
        if self.away is not None:
            return True
        try:
            remote = await self.session.remote(self.host)
            self.last_seen = await queries.going_down(remote, self.host.name)
        except HostError:
            return True
        return bool(self.last_seen)

    def failure(self, *, minutes: float, unsent: str) -> HostError:
        name, order = self.host.name, f"the reboot command {minutes:.3g} min ago"
        if self.away is not None:
            problem = (
                f"did not come back within {minutes:.3g} min of the reboot command: {self.away}"
            )
            if self.last_seen:
                problem += f"; when it last answered, {self.last_seen.words}"
            return RebootNeverReturned(host=name, problem=problem)
        down = f"; {self.last_seen.words}" if self.last_seen else ""
        if unsent:
            down += f"; the reboot command could not be sent again: {unsent}"
        if self.dropped:
            problem = f"its connection dropped, but its boot id is the same as before {order}{down}"
            return RebootSameBootId(host=name, problem=problem)
        problem = f"never went down: its connection has not dropped since {order}{down}"
        return RebootNeverBegan(host=name, problem=problem)


_UNLOCKING = (
    "; if its disk is encrypted, unlock it, then retry the host: the retry waits for the host and does not reboot it"
    " again"
)


@dataclass(slots=True, kw_only=True)
class _Order:
    """The order to reboot, as far as it was given."""

    session: Session
    host: Host
    boot_before: str
    door: Door
    cut_off: bool = False
    """Whether the link dropped under it, or it could not be sent again, so that it may be lost."""
    unsent: str = ""
    """Why it was not sent again, so that nothing of it was executed this time; empty: it was, or may have been."""
    refusal: NotPermitted | None = None
    """Why it was not given (again)."""
    left_to_others: bool = False
    """Whether it was not taken, for the host was on its way down already."""
    found_under_way: str = ""
    """What was under way when the order came, as an end of a sentence."""

    async def give(self, recording: Callable[[], Awaitable[None]] | None) -> None:
        """Give the order, the first time with `recording` before it.

        Raises as `reboot`, and the first time also ChannelRefused, ShellUnusable and PrivilegeMissing: nothing
        was executed. Of an order that was given before these are signs that the host is on its way down.
        """
        self.cut_off, self.left_to_others, self.unsent = False, False, ""
        try:
            remote = await self.session.remote(self.host)
        except HostError as error:
            if recording is None:
                self.cut_off, self.unsent = True, str(error)  # on its way down, it seems
                return
            problem = f"the reboot command could not be sent: {error}"
            raise RebootRefused(host=self.host.name, problem=problem) from error
        if recording is not None:
            self.door.require(Permission.CHANGE)
            await recording()
        reached("reboot.recorded")
        try:
            done = await self.door.give(
                remote,
                reboot_command(self.boot_before),
                Permission.CHANGE,
                timeout=ORDER_TIMEOUT,
            )
        except NotPermitted as refusal:
            if recording is not None:
                raise  # it was never given
            self.refusal = refusal
            return
        except HostError as error:
            maybe_executed = isinstance(error, LinkLost | Timeout | OutputTooLarge)
            if recording is not None and not maybe_executed:
                raise
            reached("reboot.ordered")
            await self.session.close()
            self.cut_off, self.unsent = True, "" if maybe_executed else str(error)
            return
        reached("reboot.ordered")
        self._take(done, given_before=recording is None)

    def _take(self, done: Completed, *, given_before: bool) -> None:
        """Understand the answer to the order. Raises RebootRefused."""
        # 255 is what ssh itself, and a shell that is killed on the way down, end with.
        if done.exit_status >= 128:
            return
        try:
            answer = queries.understood(self.host.name, done, parse_order)
        except HostError as error:
            if done.exit_status == 0 or given_before:
                return  # the shutdown has cut the answer off
            problem = f"refused to reboot (exit {done.exit_status}): {error}"
            raise RebootRefused(host=self.host.name, problem=problem) from error
        if answer.result is OrderResult.UNDER_WAY:
            self.left_to_others = True
            self.found_under_way = f"a shutdown was under way already: {answer.words}"
        if answer.result is OrderResult.REFUSED:
            status = f" (exit {answer.exit_status})" if answer.exit_status else ""
            problem = f"refused to reboot{status}: {answer.words}"
            raise RebootRefused(host=self.host.name, problem=problem)


async def reboot_host(context: StepContext) -> Outcome:
    """Reboot the host, and wait for another boot to answer."""
    facts = context.operation.facts
    recording = None
    if facts.reboot_ordered_at is None:
        facts = replace(facts, reboot_ordered_at=context.clock.now())
        recording = partial(context.reporter.save_facts, facts)
    detail = await reboot(
        context.session,
        context.host,
        boot_before=facts.boot_id,
        door=context.door,
        recording=recording,
        timeout=context.settings.reboot_timeout,
        clock=context.clock,
    )
    update = context.operation.update
    if update is not None:
        update = replace(update, rebooted=True)
    return Outcome(detail=detail, facts=facts, update=update)
