"""Opens the store that is configured: SQLite in a file, or PostgreSQL."""

from importlib.util import find_spec
from pathlib import Path

from tendhost.server.domain.request_errors import ConfigurationError
from tendhost.server.store.protocol import Store
from tendhost.server.store.sqlite import open_store

_EXTRA = ("asyncpg", "greenlet")


async def open_configured(address: str, file: Path) -> Store:
    """The store in the PostgreSQL database at `address`; empty: in the SQLite database `file`.

    Raises ConfigurationError and StoreUnavailable.
    """
    if not address:
        return await open_store(file)
    require_extra()
    # Here alone: most servers run without the packages of the extra.
    from tendhost.server.store.postgres.store import open_postgres

    return await open_postgres(address)


def require_extra() -> None:
    """Raise ConfigurationError where the packages for PostgreSQL are not installed."""
    missing = [name for name in _EXTRA if find_spec(name) is None]
    if missing:
        raise ConfigurationError(
            field="store",
            value="postgresql://…",
            expected=f"the package {missing[0]}, which is missing here; type: pip install 'tendhost[server,postgres]'",
        )
