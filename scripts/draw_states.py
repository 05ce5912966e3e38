"""Draws the state machine's diagram in docs/states.md from the table in the code; `--check` finds drift."""

import sys
from pathlib import Path

from tendhost.server.domain.hosts.states import TRANSITIONS, HostState

TARGET = Path(__file__).resolve().parent.parent / "docs" / "states.md"

_HEAD = """\
# The states of a host

Which states a host has, and what moves it from one to another. Drawn from
`server/tendhost/server/domain/hosts/states.py` by `make protos`; the checks fail when it differs.

```mermaid
stateDiagram-v2
    [*] --> idle
"""


def drawing() -> str:
    """The whole document."""
    arrows = [f"    {origin} --> {to}: {trigger}" for (origin, trigger), to in TRANSITIONS.items()]
    rows = [
        f"| `{state}` | {'busy' if state.busy else 'at rest' if state.resting else 'needs a person'} |"
        f" {', '.join(f'`{t}` → `{to}`' for (o, t), to in TRANSITIONS.items() if o is state)} |"
        for state in HostState
    ]
    table = "\n".join(("| state | kind | transitions |", "| --- | --- | --- |", *rows))
    return _HEAD + "\n".join(arrows) + "\n```\n\n" + table + "\n"


def main() -> int:
    """Write the document, or with `--check` say whether it is what would be written."""
    if "--check" not in sys.argv[1:]:
        TARGET.write_text(drawing(), encoding="utf-8")
        return 0
    if TARGET.exists() and TARGET.read_text(encoding="utf-8") == drawing():
        return 0
    print(f"{TARGET.name} is not what the table of states says: run `make protos`", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
