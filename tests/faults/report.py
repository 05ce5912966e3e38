"""What the fault suite prints: a table for people, then one JSON object a line for programs."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from rich.console import Console
from rich.table import Table

from benchmarks.figures import Figure
from tests.faults.judging import Kind
from tests.faults.suite import Tally

WIDTH = 100
"""Of the table, in columns, terminal or not."""
UNITS = {"streams_rss_growth_mib": "MiB", "stalled_watchers_p99_ms": "ms"}


def counted(tallies: Sequence[Tally]) -> Sequence[Figure]:
    """The runs, and each count that must be 0."""
    runs = sum(tally.runs for tally in tallies)
    counts = {"runs": runs}
    counts |= {kind.value: sum(tally.counts[kind] for tally in tallies) for kind in Kind}
    return [_figure(f"faults_{name}", value, "count", runs) for name, value in counts.items()]


def measured(values: Mapping[str, float]) -> Sequence[Figure]:
    """What was measured beside the runs."""
    return [_figure(name, value, UNITS.get(name, ""), 1) for name, value in values.items()]


def show(tallies: Sequence[Tally], further: Sequence[Figure] = ()) -> None:
    """Print the table and the figures."""
    table = Table("", *(tally.name.replace("_", " ") for tally in tallies))
    table.columns[0].no_wrap = True
    for column in table.columns[1:]:
        column.justify = "right"
    table.add_row("runs", *(str(tally.runs) for tally in tallies))
    table.add_row("operations struck", *(str(tally.struck) for tally in tallies))
    for kind in Kind:
        table.add_row(kind.replace("_", " "), *(str(tally.counts[kind]) for tally in tallies))
    table.add_row("seconds", *(f"{tally.seconds:.0f}" for tally in tallies))
    console = Console(highlight=False, soft_wrap=True, width=WIDTH)
    console.print(table)
    revisions = sum(tally.revisions for tally in tallies)
    connections = sum(tally.connections for tally in tallies)
    console.print(f"The watcher saw {revisions:,} revisions over {connections:,} connections.")
    for figure in (*counted(tallies), *further):
        print(json.dumps({**asdict(figure), "value": round(figure.value, 3)}))


def _figure(name: str, value: float, unit: str, n: int) -> Figure:
    return Figure(name=name, value=value, unit=unit, baseline="", n=n)
