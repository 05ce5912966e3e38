"""`python -m tests.faults`: carries out the fault suite and prints what it counted."""

import argparse
import asyncio
import importlib
import importlib.util
import random
import sys
from collections.abc import Mapping, Sequence

from benchmarks.figures import Figure
from tests.faults.catalogue import SCENARIOS, batches_of, missing
from tests.faults.report import measured, show
from tests.faults.suite import Tally, carry_out

RUNS = 200
"""Updates under a killed server, in the long form."""
STREAMS = "tests.faults.streams"


def main() -> int:
    """Exit status: 0 all is well, 1 something was found that must not be, 2 a wrong command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS, help="updates under a killed server")
    parser.add_argument("--seed", type=int, default=random.randrange(10_000))
    parser.add_argument("--only", metavar="NAME[:BATCH]", help=f"one of {', '.join(SCENARIOS)}")
    chosen = parser.parse_args()
    name, _, batch = (chosen.only or "").partition(":")
    if (name and name not in SCENARIOS) or (batch and not batch.isdecimal()):
        parser.error(f"there is no scenario {chosen.only}")
    wanted = {name: [int(batch)]} if batch else batches_of(name, chosen.runs)
    _say(f"seed {chosen.seed}")
    tallies = asyncio.run(_carried_out(wanted, chosen.seed))
    show(tallies, () if name else asyncio.run(_streams(short=chosen.runs < RUNS)))
    return 1 if any(tally.counts.total() for tally in tallies) else 0


async def _carried_out(wanted: Mapping[str, Sequence[int]], seed: int) -> Sequence[Tally]:
    tallies = []
    for name, batches in wanted.items():
        if why_not := missing(name):
            _say(f"{name} is left out: {why_not}")
            continue
        tallies.append(await carry_out(SCENARIOS[name], batches, seed, _say))
        _say(f"{name}: {tallies[-1].runs} runs, {tallies[-1].counts.total()} findings")
    return tallies


async def _streams(*, short: bool) -> Sequence[Figure]:
    """How the streams fared, where the module that measures them is there."""
    if importlib.util.find_spec(STREAMS) is None:
        return ()
    return measured(await importlib.import_module(STREAMS).measure(short))


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
