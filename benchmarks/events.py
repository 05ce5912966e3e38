"""`events`: a burst of committed events to 100 watchers, against a bare server that sends one event a message."""

import asyncio
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version

from benchmarks.figures import Figure, Report
from benchmarks.programs import Program, program, python

WATCHERS = 100
EVENTS = 20_000
BASELINE_EVENTS = 2_000
"""The baseline's rate does not depend on how long it goes on, and it is the slow one."""
ROUNDS = 3
ROUND_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What one burst came to."""

    deliveries_per_second: float
    cpu_microseconds: float
    """CPU of the server for each delivery."""


async def measure() -> Report:
    """Deliveries a second, from the first commit to the last watcher's last event."""
    ours, theirs = [], []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory(prefix="tendhost-bench-") as state_dir:
            theirs.append(await _burst(BASELINE_EVENTS, "benchmarks.events_baseline"))
            ours.append(await _burst(EVENTS, "benchmarks.events_server", state_dir))
    pairs = zip(ours, theirs, strict=True)
    ratio = statistics.median(o.deliveries_per_second / t.deliveries_per_second for o, t in pairs)
    named = f"grpc.aio {version('grpcio')}, one event a message"
    return Report(
        figures=(Figure(name="fanout_ratio", value=ratio, unit="ratio", baseline=named, n=EVENTS),),
        notes=(
            f"events: {_words(ours)} to {WATCHERS} watchers; {named}: {_words(theirs)}"
            f" ({ROUNDS} rounds, medians)",
        ),
    )


def _words(rounds: Sequence[Round]) -> str:
    rate = statistics.median(r.deliveries_per_second for r in rounds)
    cpu = statistics.median(r.cpu_microseconds for r in rounds)
    return f"{rate:,.0f} deliveries/s, {cpu:.1f} µs of server CPU each"


async def _burst(events: int, module: str, *arguments: str) -> Round:
    async with program(module, *python(module, *arguments)) as server:
        address = await server.line()
        command = python("benchmarks.watchers", address, str(WATCHERS))
        async with program("the watchers", *command) as watchers:
            await watchers.line()
            return await _watched(events, server, watchers)


async def _watched(events: int, server: Program, watchers: Program) -> Round:
    loop = asyncio.get_running_loop()
    watchers.tell(str(events))
    before, began = server.usage().cpu_seconds, loop.time()
    server.tell(str(events))
    await watchers.line(timeout=ROUND_SECONDS)
    seconds, cpu = loop.time() - began, server.usage().cpu_seconds - before
    deliveries = events * WATCHERS
    return Round(
        deliveries_per_second=deliveries / seconds, cpu_microseconds=cpu / deliveries * 1e6
    )
