"""A server whose date can be set, by libfaketime of Debian's package of that name."""

from collections.abc import Mapping
from pathlib import Path

from tests.tools import faketime_library

FILE = "clock"


def environment(folder: Path) -> Mapping[str, str]:
    """For a server whose date `set_ahead` moves. Only the date: what measures durations goes on."""
    preloaded = faketime_library()
    assert preloaded is not None, "libfaketime is not installed"
    set_ahead(folder, days=0)
    return {
        "LD_PRELOAD": str(preloaded),
        "FAKETIME_TIMESTAMP_FILE": str(folder / FILE),
        "FAKETIME_NO_CACHE": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }


def set_ahead(folder: Path, *, days: int) -> None:
    """Set the date that the server sees to so many days after the right one."""
    fresh = folder / f"{FILE}.new"
    fresh.write_text(f"{days:+}d\n", encoding="ascii")
    fresh.replace(folder / FILE)
