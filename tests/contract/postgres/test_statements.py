"""Every statement and every step of the schema as PostgreSQL takes it."""

import re
from collections.abc import Mapping

import asyncpg
import pytest

from tendhost.server.store import sql
from tendhost.server.store.migrations import MIGRATIONS
from tendhost.server.store.postgres.dialect import read, stored, translated
from tendhost.server.store.postgres.store import open_postgres
from tendhost.server.store.sqlite import open_store
from tests.cluster.single import Server
from tests.tools import needs
from tests.unit.store.test_sql import BUILT, FIXED

pytestmark = needs("psql")

KINDS: Mapping[str, str] = {
    f"{name}: {kind}": text
    for name, texts in vars(sql).items()
    if isinstance(texts, dict) and not name.startswith("_")
    for kind, text in texts.items()
    if isinstance(text, str)
}
"""Those that there are for each kind of something."""


async def test_every_statement__is_understood(address: str):
    await (await open_postgres(address)).aclose()
    connection = await asyncpg.connect(address)
    try:
        for name, text in {**FIXED, **BUILT, **KINDS}.items():
            try:
                prepared = await connection.prepare(translated(text))
            except asyncpg.PostgresError as error:
                pytest.fail(f"{name}: {error}")
            highest = max(map(int, re.findall(r"\?(\d+)", text)), default=0)
            assert len(prepared.get_parameters()) == highest, name
    finally:
        await connection.close()


async def test_schema__has_the_same_tables_columns_and_indexes(
    server: Server, address: str, tmp_path
):
    await (await open_postgres(address)).aclose()
    store = await open_store(tmp_path / "tendhost.db")
    text = "SELECT m.name, c.name FROM sqlite_master m JOIN pragma_table_info(m.name) c WHERE m.type = 'table'"
    columns = await store._read(lambda database: set(database.execute(text)))
    text = "SELECT name FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
    indexes = await store._read(lambda database: {name for (name,) in database.execute(text)})
    await store.aclose()
    database = address.rpartition("/")[2]
    found = server.sql(
        "SELECT table_name, column_name FROM information_schema.columns"
        " WHERE table_schema = 'public' AND table_name <> 'commits'",
        database=database,
    )
    assert {tuple(line.split("|")) for line in found.splitlines()} == columns
    found = server.sql(
        "SELECT indexname FROM pg_indexes WHERE schemaname = 'public'", database=database
    )
    assert {name for name in found.splitlines() if "_pkey" not in name} == indexes


async def test_text_columns__are_ordered_by_their_bytes(server: Server, address: str):
    await (await open_postgres(address)).aclose()
    found = server.sql(
        "SELECT table_name || '.' || column_name FROM information_schema.columns"
        " WHERE table_schema = 'public' AND data_type = 'text' AND collation_name IS DISTINCT FROM 'C'",
        database=address.rpartition("/")[2],
    )
    assert found == ""


def test_steps__have_nothing_of_sqlite_once_they_are_translated():
    for step in MIGRATIONS:
        for statement in step:
            text = translated(statement)
            assert not re.search(r"\?\d|\bBLOB\b|\bINTEGER\b|json_extract|instr\(", text), text


@pytest.mark.parametrize("text", ["", "a\x00b", "\ue000", "\ue000\ue001", "\x00\ue000\x00", "日本"])
def test_text__comes_back_equal_whatever_it_holds(text: str):
    kept = stored(text)
    assert "\x00" not in str(kept)
    assert read(kept) == text
