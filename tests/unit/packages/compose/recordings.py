"""The recorded output of real hosts with docker: beside each, its `.source` says where it is from."""

from pathlib import Path

from tendhost.server.packages.compose.inspect import ComposeInspection, parse_inspection
from tendhost.server.packages.script import parse_parts
from tests.skipped_parts import with_skips

RECORDED = Path(__file__).parent / "recorded"
VERSIONS = ("v2", "v1")

APP = "/opt/my stacks/app"
BROKEN, NONE, STOPPED = "/opt/broken", "/opt/none", "/opt/stopped"


def recorded(name: str) -> bytes:
    """The output of a script: "v2/inspect". Scripts say now what they skipped."""
    return with_skips((RECORDED / f"{name}.out").read_bytes())


def inspect(name: str) -> ComposeInspection:
    """What a recorded inspection means."""
    return parse_inspection(parse_parts(recorded(name), expected=()))
