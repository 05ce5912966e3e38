"""`python -m benchmarks [name]`: runs one benchmark, or all of them, and prints their figures."""

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence

from benchmarks import (
    access,
    events,
    flood,
    jobs,
    parsing,
    reads,
    replicas,
    rollouts,
    scale,
    store,
    sweep,
    watch_reads,
)
from benchmarks.figures import Report, Unmeasured, show

Benchmark = Callable[[], Awaitable[Report]]


def joined(*parts: Benchmark) -> Benchmark:
    """One benchmark of several, one after the other."""

    async def measure() -> Report:
        reports = [await part() for part in parts]
        return Report(
            figures=[figure for report in reports for figure in report.figures],
            notes=[note for report in reports for note in report.notes],
        )

    return measure


BENCHMARKS: Mapping[str, Benchmark] = {
    "sweep": sweep.measure,
    "events": events.measure,
    "scale": scale.measure,
    "jobs": jobs.measure,
    "parsing": parsing.measure,
    "rollouts": rollouts.measure,
    "access": access.measure,
    "reads": joined(reads.measure, watch_reads.measure),
    "flood": flood.measure,
    "replicas": replicas.measure,
    "store": store.measure,
}


def main() -> int:
    """Exit status: 0 measured, 1 a benchmark could not be carried out, 2 there is none of that name."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", nargs="?", choices=BENCHMARKS, help="which one; by default all")
    name = parser.parse_args().name
    chosen = [name] if name else list(BENCHMARKS)
    try:
        reports = asyncio.run(_measured(chosen))
    except Unmeasured as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    show(reports)
    return 0


async def _measured(names: Sequence[str]) -> list[Report]:
    reports = []
    for name in names:
        print(f"measuring {name} ...", file=sys.stderr, flush=True)
        reports.append(await BENCHMARKS[name]())
    return reports


if __name__ == "__main__":
    sys.exit(main())
