"""A store for each test, over each database."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import is_hypothesis_test

from tendhost.server.store.protocol import Store
from tests.contract.store.backends import BACKENDS, EACH, address_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """A database that outlives the stores that open it."""

    backend: str
    address: str

    @property
    def opener(self) -> Callable[[str], Awaitable[Store]]:
        return BACKENDS[self.backend]

    def another(self, folder: Path) -> "Database":
        """A database of the same kind, in which nobody has been yet."""
        return Database(backend=self.backend, address=address_of(self.backend, folder))

    def opened(self) -> AbstractAsyncContextManager[Store]:
        """The store, closed at the end."""
        return self._opened()

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[Store]:
        store = await self.opener(self.address)
        try:
            yield store
        finally:
            await store.aclose()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leaves many examples on PostgreSQL to `make test-long`: they take minutes, and SQLite has the same text."""
    for item in items:
        of_postgres = "postgres" in item.name and item.path.is_relative_to(Path(__file__).parent)
        if of_postgres and is_hypothesis_test(getattr(item, "obj", None)):
            item.add_marker(pytest.mark.long)


@pytest.fixture(params=EACH)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    return Database(backend=request.param, address=address_of(request.param, tmp_path))


@pytest.fixture
async def store(database: Database) -> AsyncIterator[Store]:
    async with database.opened() as store:
        yield store


@pytest.fixture
def path(database: Database) -> Path:
    """The file of a database that is one."""
    return Path(database.address)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where a copy goes, under a name that an address would have to escape."""
    folder = tmp_path / "copies"
    folder.mkdir()
    return folder / "fleet?50%.db"
