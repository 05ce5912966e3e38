"""The recorded output of real hosts with docker: beside each, its `.source` says where it is from."""

from pathlib import Path

from tendhost.server.packages.compose.inspect import ComposeLook, parse_look
from tendhost.server.packages.script import parse_parts

RECORDED = Path(__file__).parent / "recorded"
VERSIONS = ("v2", "v1")

APP = "/opt/my stacks/app"
BROKEN, NONE, STOPPED = "/opt/broken", "/opt/none", "/opt/stopped"


def recorded(name: str) -> bytes:
    """The output of a script: "v2/look"."""
    return (RECORDED / f"{name}.out").read_bytes()


def look(name: str) -> ComposeLook:
    """What a recorded look means."""
    return parse_look(parse_parts(recorded(name), expected=()))
