"""The databases that the suite is run over, each opened in the same way."""

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from tendhost.server.store.protocol import Store
from tendhost.server.store.sqlite import open_store

BACKENDS: Mapping[str, Callable[[str], Awaitable[Store]]] = {
    "sqlite": lambda address: open_store(Path(address)),
}
"""By name: what opens the store at an address."""


def address_of(backend: str, folder: Path) -> str:
    """Where a test of `backend` keeps a database of its own."""
    assert backend == "sqlite"
    return str(folder / "state" / "tendhost.db")
