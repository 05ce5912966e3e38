"""`python -m tests.faults.replicas`: several servers over one database under faults, and what was counted."""

import argparse
import asyncio
import json
import random
import sys
from dataclasses import asdict
from pathlib import Path

from benchmarks.figures import Figure
from tests.cluster import missing_programs
from tests.faults.replicas.drill import Outcome, drill
from tests.faults.replicas.faults import FAULTS
from tests.tools import FAKETIME

COUNTS = (
    "double_transactions",
    "lost_transactions",
    "lost_operations",
    "operations_without_end",
    "wrong_ends",
    "event_gaps",
)


def main() -> int:
    """Exit status: 0 all is well, 1 something was found that must not be, 2 it cannot be carried out."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.replicas", description=__doc__)
    parser.add_argument("--replicas", type=count, default=3, help="how many servers (default 3)")
    parser.add_argument(
        "--runs", type=count, default=len(FAULTS), help="faults (default each once)"
    )
    parser.add_argument("--seed", type=int, default=random.randrange(10_000))
    parser.add_argument("--only", choices=FAULTS, help="one kind of fault")
    parser.add_argument("--logs", type=Path, help="a folder for the logs of the servers")
    chosen = parser.parse_args()
    if missing := _missing():
        _say(
            f"the Debian packages are not installed: {' '.join(missing)}; `make packages` brings them"
        )
        return 2
    _say(f"seed {chosen.seed}")
    rounds = _rounds(chosen.runs, chosen.only, random.Random(chosen.seed))
    outcome = asyncio.run(
        drill(
            replicas=chosen.replicas,
            rounds=rounds,
            seed=chosen.seed,
            say=_say,
            keep_logs=chosen.logs,
        )
    )
    for figure in figures(outcome):
        print(json.dumps(asdict(figure)))
    return 1 if outcome.counts.total() else 0


def count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is too small; the smallest number is 1")
    return number


def _missing() -> list[str]:
    """The Debian packages that are to be installed first."""
    return missing_programs() + ([] if FAKETIME.is_there else [FAKETIME.name])


def figures(outcome: Outcome) -> list[Figure]:
    """The faults, each count that must be 0, and how long the slowest round took."""
    counts = {"faults": outcome.faults} | {name: outcome.counts[name] for name in COUNTS}
    found = [_figure(name, value, "count", outcome) for name, value in counts.items()]
    return [*found, _figure("slowest_end_s", max(outcome.seconds, default=0.0), "s", outcome)]


def _figure(name: str, value: float, unit: str, outcome: Outcome) -> Figure:
    return Figure(
        name=f"replicas_{name}", value=round(value, 1), unit=unit, baseline="", n=outcome.faults
    )


def _rounds(runs: int, only: str | None, chance: random.Random) -> list[str]:
    if only is not None:
        return [only] * runs
    rounds: list[str] = []
    while len(rounds) < runs:
        rounds += chance.sample(tuple(FAULTS), len(FAULTS))
    return rounds[:runs]


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
