"""What osqueryi's stand-in answered, and answers made from rows."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from tendhost.server.domain.inventory.hardware import InventoryPart
from tendhost.server.packages.osquery import OsqueryAnswer, parse_answer
from tendhost.server.packages.script import Part, parse_parts

RECORDED = Path(__file__).parent / "recorded"


def recorded(name: str) -> bytes:
    """The output of a script: "debian12"."""
    return (RECORDED / f"{name}.out").read_bytes()


def understood(output: bytes) -> OsqueryAnswer:
    """What the output of a script that asked for all parts means."""
    answer = parse_answer(
        parse_parts(output, expected=("osquery",)), tuple(InventoryPart), architecture="x86_64"
    )
    assert answer is not None
    return answer


def printed(*tables: Sequence[Mapping[str, str]]) -> str:
    """What osqueryi prints for statements with these rows, without its last newline."""
    return "\n".join(
        "[\n" + ",\n".join(f"  {json.dumps(row)}" for row in rows) + "\n]" for rows in tables
    )


def answered(
    part: InventoryPart,
    *tables: Sequence[Mapping[str, str]],
    status: int = 0,
    stderr: str = "",
    architecture: str = "x86_64",
) -> OsqueryAnswer:
    """What the answer to a question for one part means."""
    output = printed([{"version": "5.12.1"}], *tables)
    answer = parse_answer(
        {"osquery": Part(status, output, stderr)}, (part,), architecture=architecture
    )
    assert answer is not None
    return answer
