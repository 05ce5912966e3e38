"""What the collector's script printed on hosts of several kinds."""

from pathlib import Path

from tendhost.server.domain.inventory.hardware import InventoryPart
from tendhost.server.packages.collector import Collected, parse_collected
from tendhost.server.packages.script import parse_parts

RECORDED = Path(__file__).parent / "recorded"
NAMES = sorted(path.stem for path in RECORDED.glob("*.out"))


def recorded(name: str) -> bytes:
    """The output of a script: "debian12"."""
    return (RECORDED / f"{name}.out").read_bytes()


def understood(output: bytes) -> Collected:
    """What the output of a script that asked for all parts means."""
    return parse_collected(parse_parts(output, expected=()), tuple(InventoryPart))
