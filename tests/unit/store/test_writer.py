"""The writer: many jobs in one commit, each failing alone, and databases that fail for a while."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tendhost.server.domain.request_errors import HostNotFound, StoreUnavailable
from tendhost.server.store.gathering import LARGEST_GROUP
from tendhost.server.store.records import Unstorable
from tendhost.server.store.session import DatabaseSession
from tendhost.server.store.writer import Writer


class Connection(sqlite3.Connection):
    """A connection that tells what it executed, and can fail at one statement."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.executed: list[str] = []
        self.failing = ""

    def execute(self, statement: str, *values: Any) -> sqlite3.Cursor:
        self.executed.append(statement)
        if statement == self.failing:
            raise sqlite3.OperationalError("disk I/O error")
        return super().execute(statement, *values)

    def commits(self) -> int:
        return self.executed.count("COMMIT")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "numbers.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("CREATE TABLE numbers (number INTEGER PRIMARY KEY, padding BLOB)")
    return path


@pytest.fixture
def database(path: Path) -> Connection:
    return sqlite3.connect(
        path, timeout=0, isolation_level=None, check_same_thread=False, factory=Connection
    )


@asynccontextmanager
async def writing(
    database: Connection, when_done: Callable[[Sequence[Any]], None] = lambda _: None
) -> AsyncIterator[Writer]:
    writer = Writer(database, when_done, name="numbers.db")
    try:
        yield writer
    finally:
        await writer.aclose()


def insert(number: int, *, size: int = 0) -> Callable[[DatabaseSession], int]:
    def work(database: DatabaseSession) -> int:
        values = (number, b"." * size)
        database.execute("INSERT INTO numbers (number, padding) VALUES (?, ?)", values)
        return number

    return work


def numbers(path: Path) -> list[int]:
    with closing(sqlite3.connect(path)) as database:
        return [row[0] for row in database.execute("SELECT number FROM numbers ORDER BY number")]


async def test_jobs_that_come_together_share_one_commit(database: Connection, path: Path) -> None:
    async with writing(database) as writer:
        done = await asyncio.gather(*(writer.submit(insert(number)) for number in range(50)))
        assert done == list(range(50))
        assert database.commits() == 1
        assert numbers(path) == list(range(50))


async def test_writers_that_go_on_writing_share_their_commits(database: Connection) -> None:
    async def write(first: int) -> None:
        for number in range(first, first + 20):
            await writer.submit(insert(number))

    async with writing(database) as writer:
        await asyncio.gather(*(write(100 * number) for number in range(30)))
        assert database.commits() == 20


async def test_flood_is_carried_in_groups_that_are_bounded(
    database: Connection, path: Path
) -> None:
    groups: list[int] = []
    flood = 2 * LARGEST_GROUP + 1
    async with writing(database, lambda results: groups.append(len(results))) as writer:
        await asyncio.gather(*(writer.submit(insert(number)) for number in range(flood)))
    assert groups == [LARGEST_GROUP, LARGEST_GROUP, 1]
    assert numbers(path) == list(range(flood))


async def test_results_are_told_before_anybody_who_waits_for_one_goes_on(
    database: Connection,
) -> None:
    told: list[int] = []
    async with writing(database, told.extend) as writer:

        async def write(number: int) -> None:
            assert await writer.submit(insert(number)) in told

        await asyncio.gather(*map(write, range(9)))
    assert told == list(range(9))


async def test_job_that_fails_is_undone_alone(database: Connection, path: Path) -> None:
    def fail(database: DatabaseSession) -> None:
        insert(2)(database)
        raise HostNotFound(host="web1")

    told: list[int] = []
    async with writing(database, told.extend) as writer:
        results = await asyncio.gather(
            writer.submit(insert(1)),
            writer.submit(fail),
            writer.submit(insert(3)),
            writer.submit(insert(1)),
            return_exceptions=True,
        )
    assert [type(result) for result in results] == [
        int,
        HostNotFound,
        int,
        Unstorable,
    ]
    assert numbers(path) == [1, 3]
    assert told == [1, 3]


async def test_caller_that_went_away_does_not_undo_its_job(
    database: Connection, path: Path
) -> None:
    async with writing(database) as writer:
        gone = asyncio.create_task(writer.submit(insert(1)))
        staying = asyncio.create_task(writer.submit(insert(2)))
        await asyncio.sleep(0)
        gone.cancel()
        assert await staying == 2
        assert gone.cancelled()
    assert numbers(path) == [1, 2]


async def test_full_disk_refuses_what_does_not_fit_and_is_no_matter_once_there_is_space(
    database: Connection, path: Path
) -> None:
    (pages,) = database.execute("PRAGMA page_count").fetchone()
    database.execute(f"PRAGMA max_page_count = {pages + 1}")
    async with writing(database) as writer:
        results = await asyncio.gather(
            writer.submit(insert(1)),
            writer.submit(insert(2, size=100_000)),
            writer.submit(insert(3)),
            writer.submit(insert(4, size=100_000)),
            return_exceptions=True,
        )
        assert results[0] == 1
        assert results[2] == 3
        for result in (results[1], results[3]):
            assert isinstance(result, StoreUnavailable)
            assert "numbers.db: database or disk is full" in str(result)
        assert results[1] is not results[3], "each has a traceback of its own"
        assert numbers(path) == [1, 3]
        database.execute("PRAGMA max_page_count = 100000")
        await writer.submit(insert(2, size=100_000))
    assert numbers(path) == [1, 2, 3]


async def test_database_that_cannot_be_written_refuses_everybody_at_once(
    database: Connection, path: Path
) -> None:
    async with writing(database) as writer:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            jobs = (writer.submit(insert(number)) for number in range(20))
            results = await asyncio.gather(*jobs, return_exceptions=True)
            other.execute("ROLLBACK")
    assert {type(result) for result in results} == {StoreUnavailable}
    assert database.executed.count("BEGIN IMMEDIATE") == 1, "each try takes seconds"


async def test_writer__is_heard_of_when_the_database_cannot_be_written(
    database: Connection,
) -> None:
    heard: list[str] = []
    writer = Writer(
        database, lambda _: None, name="numbers.db", when_unusable=lambda: heard.append("!")
    )
    await writer.submit(insert(1))
    with pytest.raises(Unstorable):
        await writer.submit(insert(1))
    assert not heard
    database.failing = "COMMIT"
    with pytest.raises(StoreUnavailable):
        await writer.submit(insert(2))
    assert heard == ["!"]
    database.failing = ""
    await writer.aclose()


async def test_listener_that_fails_leaves_nobody_waiting(
    database: Connection, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(results: Sequence[Any]) -> None:
        raise ValueError(results)

    async with writing(database, fail) as writer:
        assert await writer.submit(insert(1)) == 1
        assert await writer.submit(insert(2)) == 2
    assert numbers(path) == [1, 2]


async def test_locked_database_refuses_until_it_is_let_go(database: Connection, path: Path) -> None:
    async with writing(database) as writer:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreUnavailable, match="database is locked"):
                await writer.submit(insert(1))
            other.execute("ROLLBACK")
        await writer.submit(insert(1))
    assert numbers(path) == [1]


def _executing(statement: str, *values: Any) -> Callable[[DatabaseSession], int]:
    def work(database: DatabaseSession) -> int:
        database.execute(statement, values)
        return 0

    return work


def _buggy(database: DatabaseSession) -> int:
    insert(77)(database)
    raise ZeroDivisionError("a fault of the program")


def _conflicting(database: DatabaseSession) -> int:
    insert(78)(database)
    raise HostNotFound(host="web1")


BAD: dict[str, Callable[[DatabaseSession], int]] = {
    "a number beyond 64 bits": insert(2**63),
    "a lone surrogate": _executing("INSERT INTO numbers (padding) VALUES (?)", "\ud800"),
    "a value of no type": _executing("INSERT INTO numbers (padding) VALUES (?)", object()),
    "more than a row may hold": _executing(
        "INSERT INTO numbers (padding) VALUES (zeroblob(2000000000))"
    ),
    "no such table": _executing("INSERT INTO words (word) VALUES (1)"),
    "no statement": _executing("INSRET INTO numbers (number) VALUES (1)"),
    "a value too few": _executing("INSERT INTO numbers (number) VALUES (?)"),
    "a key of another type": _executing("INSERT INTO numbers (number) VALUES ('one')"),
    "a fault of the program": _buggy,
}


@pytest.mark.parametrize("what", BAD)
async def test_bad_write__fails_alone_and_not_as_if_the_store_were_away(
    database: Connection, path: Path, what: str
) -> None:
    async with writing(database) as writer:
        results = await asyncio.gather(
            writer.submit(insert(1)),
            writer.submit(BAD[what]),
            writer.submit(insert(2)),
            return_exceptions=True,
        )
    assert [type(result) for result in results] == [int, Unstorable, int]
    assert isinstance(results[1], Unstorable)
    assert results[1].__cause__ is not None, "whoever logs it sees what went wrong"
    assert numbers(path) == [1, 2]


JOBS = st.one_of(
    st.integers(0, 5).map(lambda number: ("insert", number)),
    st.just(("conflict", 0)),
    st.sampled_from(sorted(BAD)).map(lambda what: (what, 0)),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(jobs=st.lists(JOBS, max_size=12))
def test_writes__any_mix_of_them_together_comes_to_the_same_as_one_by_one(
    tmp_path_factory: pytest.TempPathFactory, jobs: list[tuple[str, int]]
) -> None:
    works = [
        insert(number) if what == "insert" else BAD.get(what, _conflicting) for what, number in jobs
    ]

    async def outcome(together: bool) -> tuple[list[Any], list[int]]:
        path = tmp_path_factory.mktemp("mix") / "numbers.db"
        database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        database.execute("CREATE TABLE numbers (number INTEGER PRIMARY KEY, padding BLOB)")
        writer = Writer(database, lambda _: None, name="numbers.db")
        if together:
            results = await asyncio.gather(*map(writer.submit, works), return_exceptions=True)
        else:
            results = [
                (await asyncio.gather(writer.submit(work), return_exceptions=True))[0]
                for work in works
            ]
        await writer.aclose()
        told = [r if isinstance(r, int) else (type(r), str(r)) for r in results]
        return told, numbers(path)

    assert asyncio.run(outcome(together=True)) == asyncio.run(outcome(together=False))


@pytest.mark.parametrize("statement", ["BEGIN IMMEDIATE", "SAVEPOINT job", "RELEASE job", "COMMIT"])
async def test_failure_at_any_statement_keeps_nothing_and_passes(
    database: Connection, path: Path, statement: str
) -> None:
    async with writing(database) as writer:
        database.failing = statement
        with pytest.raises(StoreUnavailable, match="disk I/O error"):
            await writer.submit(insert(1))
        database.failing = ""
        assert numbers(path) == []
        await writer.submit(insert(2))
    assert numbers(path) == [2]


@pytest.mark.parametrize("statement", ["ROLLBACK", "ROLLBACK TO job"])
async def test_rollback_that_fails_does_not_end_the_writer(
    database: Connection, path: Path, statement: str
) -> None:
    def fail(database: DatabaseSession) -> None:
        insert(1)(database)
        raise sqlite3.OperationalError("disk I/O error") if "TO" not in statement else OSError

    async with writing(database) as writer:
        database.failing = statement
        with pytest.raises(StoreUnavailable, match="disk I/O error"):
            await writer.submit(fail)
        database.failing = ""
        await writer.submit(insert(2))
    assert numbers(path) == [2]


async def test_damage_found_by_a_job_is_the_databases_trouble(database: Connection) -> None:
    def fail(database: DatabaseSession) -> None:
        raise sqlite3.DatabaseError("database disk image is malformed")

    async with writing(database) as writer:
        with pytest.raises(StoreUnavailable, match="malformed"):
            await writer.submit(fail)


async def test_closed_writer_has_done_everything_and_takes_nothing_more(
    database: Connection, path: Path
) -> None:
    async with writing(database) as writer:
        jobs = [asyncio.create_task(writer.submit(insert(number))) for number in range(3)]
        await asyncio.sleep(0)
    assert [job.result() for job in jobs] == [0, 1, 2]
    assert numbers(path) == [0, 1, 2]
    with pytest.raises(StoreUnavailable, match="closed"):
        await writer.submit(insert(9))
