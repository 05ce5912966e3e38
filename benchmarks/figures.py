"""A measured figure, and how figures are shown to people and to programs."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One number of one run.

    A `value` in "ratio" is tendhost's cost or speed divided by that of `baseline`; in any other unit
    it is tendhost's own, and `baseline` says what the same run measured of something simpler.
    """

    name: str
    value: float
    unit: str
    baseline: str
    n: int
    """How many hosts, events or calls it was measured over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a benchmark found: figures for programs, and lines that say more to people."""

    figures: Sequence[Figure]
    notes: Sequence[str]


class Unmeasured(Exception):
    """A benchmark could not be carried out to its end, so it has no figures."""


def show(reports: Sequence[Report]) -> None:
    """Print a table and notes for people, then one JSON object a line for programs."""
    figures = [figure for report in reports for figure in report.figures]
    table = Table("figure", "value", "unit", "baseline", "n", title="tendhost, as measured now")
    for column in (1, 4):
        table.columns[column].justify = "right"
    for figure in figures:
        value = f"{figure.value:.2f}"
        table.add_row(figure.name, value, figure.unit, figure.baseline, f"{figure.n:,}")
    console = Console(highlight=False, soft_wrap=True)
    console.print(table)
    for report in reports:
        for note in report.notes:
            console.print(note, markup=False)
    for figure in figures:
        print(json.dumps({**asdict(figure), "value": round(figure.value, 3)}))
