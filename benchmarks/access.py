"""`access`: what credentials, roles, scopes and the audit log cost a call, and whether that grows with tokens or hosts.

One process has the server and the client, and CPU times are those of the process. What is compared is measured in
short turns, one after the other, and the median of the differences counts: the machine is equally fast in both.
"""

import secrets
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import grpc

from benchmarks.figures import Figure, Report, Unmeasured
from benchmarks.hostless_engine import hostless_engine
from benchmarks.registry import fill
from tendhost.server.domain.access.call_limits import CallLimits, Rate
from tendhost.server.domain.access.listen import listener_of
from tendhost.server.domain.access.roles import Role
from tendhost.server.domain.access.scope import Scope
from tendhost.server.domain.access.tokens import Token, digest_of, mint
from tendhost.server.engine.engine import Engine
from tendhost.server.main import DATABASE
from tendhost.server.rpc import server
from tendhost.server.store.records import Change
from tendhost.server.store.sqlite import open_store
from tendhost.v1 import host_service_pb2, host_service_pb2_grpc

MANY_TOKENS, FEW_TOKENS = 10_000, 10
MANY_HOSTS, FEW_HOSTS = 100_000, 100
CALLS = 20
"""Calls of a turn: some hundredths of a second of them."""
TURNS = 200
PAGES = 2
AT_ONCE = 500
AS_FAST_AS_THEY_COME = Rate(per_second=1_000_000, burst=1_000_000)
"""What a limit makes wait is measured by `flood`."""

Call = Callable[[], Awaitable[object]]
Metadata = Sequence[tuple[str, str]]
Turn = Sequence[float]
"""Microseconds of CPU of a call of each kind."""


async def measure() -> Report:
    """Calls with and without credentials, with few tokens and with many, and pages within and without a scope."""
    with tempfile.TemporaryDirectory(prefix="tendhost-bench-") as folder:
        few, many = Path(folder) / "few", Path(folder) / "many"
        for state_dir, count in ((few, FEW_HOSTS), (many, FEW_HOSTS)):
            state_dir.mkdir()
            await fill(state_dir, count, inventories=False)
        async with _serving(few, FEW_TOKENS) as small, _serving(many, MANY_TOKENS) as large:
            calls = await _in_turns((large.get(large.open_door), small.get(), large.get()), CALLS)
        fleet = Path(folder) / "fleet"
        fleet.mkdir()
        await fill(fleet, MANY_HOSTS, inventories=False)
        async with _serving(fleet, FEW_TOKENS) as wide:
            pages = await _in_turns((wide.page(), wide.page(wide.bound)), PAGES)
    return Report(figures=_figures(calls, pages), notes=())


def _figures(calls: Sequence[Turn], pages: Sequence[Turn]) -> Sequence[Figure]:
    open_call, of_few, _ = (statistics.median(times) for times in zip(*calls, strict=True))
    unbound = statistics.median(turn[0] for turn in pages)
    return (
        Figure(
            name="access_us_per_call",
            value=statistics.median(many - without for without, _, many in calls),
            unit="us",
            baseline=f"GetHost without credentials: {open_call:.0f} us of CPU, client and server",
            n=CALLS * TURNS,
        ),
        Figure(
            name="access_growth_ratio",
            value=statistics.median(many / few for _, few, many in calls),
            unit="ratio",
            baseline=f"{FEW_TOKENS} tokens: {of_few:.0f} us of CPU a call",
            n=MANY_TOKENS,
        ),
        Figure(
            name="bound_list_page_ratio_100k",
            value=statistics.median(bound / free for free, bound in pages),
            unit="ratio",
            baseline=f"a token that is bound to no hosts: {unbound:.0f} us of CPU a page",
            n=MANY_HOSTS,
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Doors:
    """The doors of one server: one that asks for a credential, and one that asks for none."""

    door: grpc.aio.Channel
    open_door: grpc.aio.Channel
    unbound: Metadata
    bound: Metadata

    def get(self, channel: grpc.aio.Channel | None = None) -> Call:
        """GetHost with a token, or over a channel that needs none."""
        stub = host_service_pb2_grpc.HostServiceStub(channel or self.door)
        request = host_service_pb2.GetHostRequest(name="host-00001")
        metadata = None if channel else self.unbound
        return lambda: stub.GetHost(request, metadata=metadata)

    def page(self, metadata: Metadata | None = None) -> Call:
        """A page of hosts, the next one at each call."""
        stub = host_service_pb2_grpc.HostServiceStub(self.door)
        following = ""

        async def ask() -> None:
            nonlocal following
            request = host_service_pb2.ListHostsRequest(page_size=50, page_token=following)
            response = await stub.ListHosts(request, metadata=metadata or self.unbound)
            if len(response.hosts) != 50:
                raise Unmeasured(f"a page of 50 hosts had {len(response.hosts)}")
            following = response.next_page_token

        return ask


async def _in_turns(calls: Sequence[Call], count: int) -> Sequence[Turn]:
    """Microseconds of CPU of each of `calls`, in each turn."""
    turns = []
    for _ in range(TURNS + 1):
        turn = []
        for ask in calls:
            began = time.process_time()
            for _ in range(count):
                await ask()
            turn.append((time.process_time() - began) / count * 1e6)
        turns.append(turn)
    return turns[1:]  # the first one warms up what is made once


@asynccontextmanager
async def _serving(state_dir: Path, tokens: int) -> AsyncIterator[Doors]:
    """A server with so many tokens, on a loopback port that asks for one, and on one that asks for nothing."""
    store = await open_store(state_dir / DATABASE)
    texts = [mint(secrets.token_bytes) for _ in range(tokens)]
    made = [_token(id, text) for id, text in texts[:-1]]
    made.append(_token(*texts[-1], scope=Scope(groups=("site-1",))))
    for first in range(0, tokens, AT_ONCE):
        part = tuple(made[first : first + AT_ONCE])
        await store.commit(Change(events=(), tokens=part, at=datetime.now(UTC)))
    async with (
        hostless_engine(store) as engine,
        _address(engine) as address,
        _address(engine, open_access=True) as open_address,
        grpc.aio.insecure_channel(address) as door,
        grpc.aio.insecure_channel(open_address) as open_door,
    ):
        yield Doors(
            door=door,
            open_door=open_door,
            unbound=_bearer(texts[0][1]),
            bound=_bearer(texts[-1][1]),
        )


@asynccontextmanager
async def _address(engine: Engine, *, open_access: bool = False) -> AsyncIterator[str]:
    listeners = [listener_of("127.0.0.1:0")]
    async with server.serving(
        engine,
        listeners=listeners,
        socket_owner="bench",
        open_access=open_access,
        limits=CallLimits(calls=AS_FAST_AS_THEY_COME),
    ) as (address,):
        yield address


def _token(id: str, text: str, *, scope: Scope | None = None) -> Token:
    return Token(
        id=id,
        principal="bench",
        roles=(Role.ADMIN,),
        scope=scope,
        digest=digest_of(text),
        created_at=datetime.now(UTC),
        created_by="bench",
    )


def _bearer(text: str) -> Metadata:
    return (("authorization", f"Bearer {text}"),)
