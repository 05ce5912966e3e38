"""zypper's recordings: queries and preflights by their names, and the folder of the plans."""

from tendhost.server.packages.query import Preflight, QueryResult, parse_preflight
from tendhost.server.packages.zypper.zypper import Zypper
from tests.unit.packages import recordings
from tests.unit.packages.recordings import RECORDED

SYSTEM = "opensuse-leap15.6"
PLANS = RECORDED / SYSTEM / "plans"
ZYPPER = Zypper()


def query(name: str, *, owners: str = "") -> QueryResult:
    """What a recorded query means."""
    return recordings.query(f"{SYSTEM}/{name}", owners=owners)


def preflight(name: str) -> Preflight:
    """What a recorded preflight means."""
    return parse_preflight(recordings.recorded(f"{SYSTEM}/{name}"))


def log(name: str) -> str:
    """What a command wrote to stderr."""
    return recordings.log(f"{SYSTEM}/{name}")


def exit_status(name: str) -> int:
    """How a command ended."""
    return recordings.exit_status(f"{SYSTEM}/{name}")
