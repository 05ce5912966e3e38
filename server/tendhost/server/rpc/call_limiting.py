"""Limits of calls, applied: each caller's calls wait for their turn, and those that are too many are refused."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import cache
from typing import Any, Generic, NoReturn, TypeVar

from google.protobuf import descriptor_pool

from tendhost.server.clock import Clock, loop_nanoseconds
from tendhost.server.domain.access.call_limits import (
    CALL_COST,
    Allowance,
    CallLimits,
    Rate,
    account_of,
)
from tendhost.server.domain.access.principal import Principal
from tendhost.server.domain.request_errors import TooManyCalls, TooManyStreams
from tendhost.server.rpc.pacing import pause_by

T = TypeVar("T")

MOST_ACCOUNTS = 1_000
"""Callers to remember before those are forgotten that have asked for nothing lately."""
REFUSAL_PAUSE = timedelta(milliseconds=10)
"""Between two refusals of a caller. One that calls again at once when it is refused would else cost as much as if it
were not; and if all its calls were refused at the same moment, all would come back at the same moment (measured)."""
_WITH_HOSTS = frozenset(
    f"/tendhost.v1.HostService/{method}"
    for method in ("GetLoginFiles", "ReconfigureHost", "RegisterHost", "RunOsquery", "TestHost")
)
"""Methods whose calls connect to a host: they count as mutations."""
WAITING_FOR_WORK = frozenset({"/tendhost.v1.OperationService/WaitOperation"})
"""Methods whose calls wait for an operation, and change nothing."""
_WAITING = _WITH_HOSTS | WAITING_FOR_WORK
"""Methods whose calls mostly wait, for a host or for an operation."""
_REFUSED = ""
"""The method of calls that are refused, whatever they are of."""


@cache
def _is_mutation(method: str) -> bool:
    if not method.startswith("/tendhost.v1."):
        return False
    found = descriptor_pool.Default().FindMethodByName(method[1:].replace("/", "."))
    return method in _WITH_HOSTS or "request_id" in found.input_type.fields_by_name


class Turns:
    """The calls of one kind of one principal: they begin in their order, and not faster than its rate."""

    def __init__(self, rate: Rate, *, clock: Clock) -> None:
        self.allowance = Allowance(rate)
        self._rate = rate
        self._clock = clock
        self._waiting = 0
        self._turn = asyncio.Lock()  # which is taken in the order in which it was asked for

    async def next(self) -> bool:
        """Return when the call may begin; False: too many wait already."""
        if self._waiting >= self._rate.most_waiting:
            return False
        self._waiting += 1
        try:
            async with self._turn:
                while wait := self.allowance.wait(self._clock.elapsed()):
                    await self._clock.sleep(wait)
                self.allowance.spend(self._clock.elapsed())
        finally:
            self._waiting -= 1
        return True

    def idle(self) -> bool:
        """Whether nothing is known of the caller that is worth remembering."""
        return not self._waiting and self.allowance.full(self._clock.elapsed())


class Account:
    """What one principal asks at present."""

    def __init__(self, name: str, limits: CallLimits, *, clock: Clock) -> None:
        self._name = name
        self._limits = limits
        self._clock = clock
        self._calls = Turns(limits.calls, clock=clock)
        self._mutations = Turns(limits.mutations, clock=clock)
        self._at_once = asyncio.Semaphore(limits.at_once)
        self._refusing = asyncio.Lock()
        self._open = 0
        self._streams = 0

    def idle(self) -> bool:
        """Whether the account may be forgotten."""
        return not (self._open or self._streams) and self._calls.idle() and self._mutations.idle()

    @asynccontextmanager
    async def call(self, method: str) -> AsyncIterator[None]:
        """Carry out a call of `method` within the context. Raises TooManyCalls."""
        await self._require_few_open()
        self._open += 1
        try:
            await self._begin()
            if _is_mutation(method) and not await self._mutations.next():
                await self._refuse("mutations a second", self._limits.mutations.per_second)
            if method in _WAITING:
                yield
            else:
                async with self._at_once:
                    yield
        finally:
            self._open -= 1

    @asynccontextmanager
    async def stream(self) -> AsyncIterator[None]:
        """Keep a stream open within the context. Raises TooManyCalls, TooManyStreams."""
        await self._require_few_open()
        self._open += 1
        try:
            await self._begin()
            if self._streams >= self._limits.streams:
                await self._refusal_turn()
                raise TooManyStreams(principal=self._name, limit=self._limits.streams)
            self._streams += 1
        finally:
            self._open -= 1
        try:
            yield
        finally:
            self._streams -= 1

    def metered(self, work: Coroutine[Any, Any, T]) -> "Metered[T]":
        """`work`, which the principal pays for by the time that it keeps the event loop, also in its pauses."""
        pause_by(self._paid)
        return Metered(work, self._charge, free=CALL_COST)

    async def _paid(self) -> None:
        """Return when the principal owes nothing. What is under way comes before what has not begun."""
        while wait := self._calls.allowance.wait(self._clock.elapsed(), 0):
            await self._clock.sleep(wait)

    async def _require_few_open(self) -> None:
        if self._open >= self._limits.open_calls:
            await self._refuse("calls without an answer so far", self._limits.open_calls)

    async def _begin(self) -> None:
        if not await self._calls.next():
            await self._refuse("calls a second", self._limits.calls.per_second)

    async def _refuse(self, what: str, limit: int) -> NoReturn:
        await self._refusal_turn()
        raise TooManyCalls(principal=self._name, what=what, limit=limit)

    async def _refusal_turn(self) -> None:
        async with self._refusing:
            await self._clock.sleep(REFUSAL_PAUSE)

    def _charge(self, nanoseconds: int) -> None:
        self._calls.allowance.spend(self._clock.elapsed(), nanoseconds)


class Metered(Generic[T]):
    """An awaitable that tells how long its steps keep the event loop."""

    def __init__(
        self, work: Coroutine[Any, Any, T], charge: Callable[[int], None], *, free: int
    ) -> None:
        """`charge` is called with nanoseconds of CPU time, once `free` of them are used up."""
        self._work = work
        self._charge = charge
        self._free = free

    def __await__(self) -> Generator[Any, Any, T]:
        # What `yield from` does (PEP 380), with a look at the clock around each step.
        sent: Any = None
        thrown: BaseException | None = None
        while True:
            began = loop_nanoseconds()
            try:
                awaited = self._work.send(sent) if thrown is None else self._work.throw(thrown)
            except StopIteration as end:
                result: T = end.value
                return result
            finally:
                self._spent(loop_nanoseconds() - began)
            sent, thrown = None, None
            try:
                sent = yield awaited
            except GeneratorExit:
                self._work.close()
                raise
            except BaseException as error:
                thrown = error

    def _spent(self, nanoseconds: int) -> None:
        self._free -= nanoseconds
        if self._free < 0:
            self._charge(-self._free)
            self._free = 0


class CallLimiter:
    """The accounts of all callers."""

    def __init__(self, limits: CallLimits, *, clock: Clock) -> None:
        self._limits = limits
        self._clock = clock
        self._accounts: dict[tuple[str, str], Account] = {}

    def account(self, principal: Principal) -> Account:
        """The account of a principal."""
        return self._account(account_of(principal), principal)

    async def refused(self, principal: Principal) -> None:
        """Return when a call that is refused may be told so: refusals have their rate, too.

        Raises TooManyCalls. `principal` is what is known of the caller. Refused callers without a valid credential
        have no account in common with those of the same address that need none, such as probes.
        """
        key = account_of(principal)
        if not principal.name:
            key = ("refused", principal.address)
        async with self._account(key, principal).call(_REFUSED):
            return

    def _account(self, key: tuple[str, str], principal: Principal) -> Account:
        account = self._accounts.get(key)
        if account is None:
            if len(self._accounts) >= MOST_ACCOUNTS:
                self._accounts = {k: a for k, a in self._accounts.items() if not a.idle()}
            name = principal.name or principal.address
            limits = self._limits.of(principal)
            account = self._accounts[key] = Account(name, limits, clock=self._clock)
        return account
