"""Draws docs/demo.svg: what a terminal shows at the end of a real run of `make demo`."""

import io
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

TARGET = Path(__file__).resolve().parent.parent / "docs" / "demo.svg"
COLUMNS = 108
_MOVES = re.compile(r"\x1b\[[0-9;?]*[A-HJKSTfhlsu]")
"""Everything but colours: a picture has no cursor."""


def main() -> int:
    """Run the demo on a terminal of its own, and draw what is left on it."""
    status, said = _on_a_terminal([sys.executable, "-m", "examples.demo"])
    if status != 0:
        print(said, file=sys.stderr)
        return 1
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    for line in _shown(said):
        console.print(Text.from_ansi(line), overflow="crop", no_wrap=True)
    console.save_svg(str(TARGET), title="make demo")
    return 0


def _on_a_terminal(command: list[str]) -> tuple[int, str]:
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(COLUMNS), "LINES": "60", "TERM": "xterm-256color"}
    process = subprocess.Popen(command, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    said = bytearray()
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # how Linux says that nobody has the other end any more
            break
        if not part:
            break
        said += part
    os.close(ours)
    return process.wait(), said.decode("utf-8", "replace")


def _shown(said: str) -> list[str]:
    """The part worth a picture: from the dry run to the state of the fleet, each live view as it was left."""
    text = said.replace("\r\n", "\n")
    text = text[text.index("# What would an update") :]
    text = text[: text.index("$ tendhost host show")]
    lines: list[str] = []
    for line in text.split("\n"):
        # A live view goes up and draws itself again: what it drew before is gone.
        up = line.count("\x1b[1A")
        if up:
            del lines[len(lines) - up :]
        last = line.rpartition("\x1b[1A")[2]
        kept = last.rpartition("\r")[2]
        lines.append(_MOVES.sub("", kept).rstrip())
    return lines


if __name__ == "__main__":
    sys.exit(main())
