"""Output on the terminal: lines, tables and colors of states."""

import os
from collections.abc import Iterable, Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tendhost.client.cli.session import clean

# What hosts say must never be taken for markup.
console = Console(markup=False, emoji=False, highlight=False)
if not console.is_terminal and "COLUMNS" not in os.environ:
    console.width = 10_000  # a file or a program has no edge to wrap at

_COLOURS = {
    "idle": "green",
    "succeeded": "green",
    "completed": "green",
    "pending_updates": "yellow",
    "waiting_reboot": "yellow",
    "queued": "yellow",
    "paused": "yellow",
    "skipped": "yellow",
    "failed": "bold red",
    "cancelled": "magenta",
    "querying": "cyan",
    "updating": "cyan",
    "rebooting": "cyan",
    "verifying": "cyan",
    "running": "cyan",
    "in_progress": "cyan",
}

Cell = str | Text


def coloured(word: str) -> Text:
    """A state in its colour."""
    return styled(word, _COLOURS.get(word, ""))


def styled(text: str, style: str = "") -> Text:
    """A text in a style of rich. Only here such texts are made, for rich prints them as they are."""
    return Text(clean(text), style=style)


def table(columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> Table:
    """A table without frames, for eyes and for cut(1)."""
    made = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for position, column in enumerate(columns):
        made.add_column(clean(column), no_wrap=position == 0)
    for row in rows:
        made.add_row(*(cell if isinstance(cell, Text) else clean(cell) for cell in row))
    return made


def say_incomplete(*found: tuple[str, str]) -> None:
    """Say of which of the things above not everything is shown: the name of each, and why."""
    for name, why in found:
        if why:
            say(styled("incomplete", "yellow"), f": {name}: {why}")


def say(*parts: Cell) -> None:
    """One line; what does not fit into the terminal's is wrapped by the terminal itself."""
    line = Text.assemble(*(part if isinstance(part, Text) else clean(part) for part in parts))
    line.rstrip()
    console.print(line, soft_wrap=True)


def draw(table: Table) -> None:
    """A table, without the blanks that fill up its last column."""
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().split("\n")[:-1]:
        console.file.write(f"{line.rstrip()}\n")
    console.file.flush()


def show(lines: Mapping[str, Cell]) -> None:
    """Names with their values."""
    width = max(map(len, lines))
    for name, value in lines.items():
        say(styled(f"{name:<{width}}  "), value)


def shortened(text: str, length: int = 60) -> str:
    """The beginning of a text, and a sign that there is more."""
    return text if len(text) <= length else f"{text[: length - 1]}…"
