"""The recorded output of real hosts: beside each recording, its `.source` says where it is from."""

from datetime import UTC, datetime
from pathlib import Path

from tendhost.server.packages.apt.progress import StatusParser
from tendhost.server.packages.progress import Progress
from tendhost.server.packages.query import QueryResult, parse_query

RECORDED = Path(__file__).parent / "recorded"
ASKED_AT = datetime(2026, 11, 23, 12, tzinfo=UTC)


def recorded(name: str) -> bytes:
    """The output of a script: "debian12/query"."""
    return (RECORDED / f"{name}.out").read_bytes()


def names(pattern: str) -> list[str]:
    """The names of the recordings whose file matches `pattern`."""
    return sorted(
        str(path.relative_to(RECORDED).with_suffix("")) for path in RECORDED.glob(pattern)
    )


def query(name: str) -> QueryResult:
    """What a recorded query means."""
    return parse_query(recorded(name), at=ASKED_AT)


def log(name: str) -> str:
    """What a command wrote to stderr."""
    return (RECORDED / f"{name}.log").read_text()


def exit_status(name: str) -> int:
    """How a command ended."""
    return int((RECORDED / f"{name}.rc").read_text())


def progress(name: str) -> list[Progress]:
    """The progress that a command reported."""
    return StatusParser().feed((RECORDED / f"{name}.status").read_bytes())
