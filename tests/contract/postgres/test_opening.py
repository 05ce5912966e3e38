"""Databases that tendhost cannot use: each is refused with its reason and what to do, and nothing is changed."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tendhost.server.domain.request_errors import ConfigurationError, StoreUnavailable
from tendhost.server.store.migrations import MIGRATIONS, SCHEMA
from tendhost.server.store.postgres import schema
from tendhost.server.store.postgres.store import open_postgres
from tests.cluster.single import Server
from tests.contract.store.samples import change
from tests.tools import needs

pytestmark = needs("psql")

TABLES = (
    "SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
)


@pytest.fixture
def database(server: Server) -> str:
    (name,) = server.create()
    return name


async def refused(address: str) -> str:
    """Why a database is refused: one line, without the address's secrets."""
    with pytest.raises(StoreUnavailable) as caught:
        await open_postgres(address)
    said = str(caught.value)
    assert "\n" not in said
    return said


async def test_database__with_tables_of_others_is_refused_and_left_alone(
    server: Server, database: str
):
    server.sql("CREATE TABLE orders (id INTEGER)", database=database)
    assert "1 tables that are not tendhost's" in await refused(server.address(database))
    assert server.sql(TABLES, database=database) == "1"


async def test_database__of_a_newer_version_is_refused_with_both_versions(
    server: Server, database: str
):
    await (await open_postgres(server.address(database))).aclose()
    newer = SCHEMA + 7
    server.sql(f"UPDATE meta SET value = '{newer}' WHERE key = 'schema'", database=database)
    said = await refused(server.address(database))
    assert f"its schema is {newer}, this program knows {SCHEMA}" in said


async def test_database__without_rights_is_refused_with_who_lacks_them(
    server: Server, database: str
):
    user = f"{database}_user"
    server.sql(f"CREATE ROLE {user} LOGIN")
    said = await refused(server.address(database, user=user))
    assert f"make {user} the owner" in said
    server.sql(f"ALTER DATABASE {database} OWNER TO {user}")
    await (await open_postgres(server.address(database, user=user))).aclose()


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("default_transaction_read_only = on", "standby|takes no changes"),
        ("synchronous_commit = off", "ALTER DATABASE"),
        ("search_path = nowhere", "search_path"),
    ],
)
async def test_database__whose_settings_make_it_useless_is_refused(
    server: Server, database: str, setting: str, words: str
):
    server.sql(f"ALTER DATABASE {database} SET {setting}")
    said = await refused(server.address(database))
    assert any(word in said for word in words.split("|")), said


async def test_database__of_another_encoding_is_refused(server: Server):
    server.sql("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    said = await refused(server.address("latin"))
    assert "encoding of the database is LATIN1" in said
    assert "createdb --encoding UTF8" in said


async def test_address__where_nobody_answers_is_refused_with_each_server(server: Server):
    address = server.address("test").replace("@127.0.0.1", "@127.0.0.1:1,127.0.0.1")
    said = await refused(address)
    assert "127.0.0.1:1: " in said
    assert f"127.0.0.1:{server.port}: " in said


async def test_address__of_several_servers_leads_to_the_one_that_serves(
    server: Server, database: str
):
    address = server.address(database).replace("@127.0.0.1", "@127.0.0.1:1,127.0.0.1")
    store = await open_postgres(address)
    await store.commit(change())
    await store.aclose()


async def test_step__that_fails_leaves_nothing_of_any(
    server: Server, database: str, monkeypatch: pytest.MonkeyPatch
):
    steps = MIGRATIONS
    monkeypatch.setattr(schema, "MIGRATIONS", (*steps[:2], ("CREATE NONSENSE",), *steps[2:]))
    assert "NONSENSE" in await refused(server.address(database))
    assert server.sql(TABLES, database=database) == "0"
    monkeypatch.setattr(schema, "MIGRATIONS", steps)
    await (await open_postgres(server.address(database))).aclose()


async def test_schema__is_brought_up_to_date_from_an_older_one_with_what_it_holds(
    server: Server, database: str, monkeypatch: pytest.MonkeyPatch
):
    steps = MIGRATIONS
    monkeypatch.setattr(schema, "MIGRATIONS", steps[:-1])
    monkeypatch.setattr(schema, "SCHEMA", len(steps) - 1)
    store = await open_postgres(server.address(database))
    log_id = (await store.log_bounds()).log_id
    await store.aclose()
    monkeypatch.undo()
    stores = await asyncio.gather(*(open_postgres(server.address(database)) for _ in range(3)))
    for store in stores:
        assert (await store.log_bounds()).log_id == log_id
        await store.aclose()
    value = server.sql("SELECT value FROM meta WHERE key = 'schema'", database=database)
    assert value == str(len(steps))


@pytest.mark.parametrize(
    "address",
    [
        "mysql://db/tendhost",
        "postgresql://db",
        "postgresql://db:none/tendhost",
        "postgresql://db:99999/tendhost",
        "postgresql://db/tendhost?sslmode",
        "postgresql://db/tendhost?sslmode=require&sslmode=disable",
        "postgresql://[::1/tendhost",
        "tendhost.db",
    ],
)
async def test_address__that_is_none_is_refused_without_being_repeated(address: str):
    with pytest.raises(ConfigurationError) as caught:
        await open_postgres(address)
    assert "postgresql://HOST" in str(caught.value) or "each option once" in str(caught.value)
    assert address not in str(caught.value)


@pytest.fixture
def small_server() -> Iterator[Server]:
    """A server for one connection more than the administrator's three."""
    server = Server(settings=("max_connections = 4",)).start()
    yield server
    server.remove()


async def test_server__without_free_connections_is_refused_with_its_words(small_server: Server):
    small_server.sql("CREATE ROLE app LOGIN", "CREATE DATABASE app OWNER app")
    first = await open_postgres(small_server.address("app", user="app"))
    said = await refused(small_server.address("app", user="app"))
    assert "connection" in said
    await first.aclose()


async def test_server__of_an_older_version_writes_nothing_after_a_newer_one_has_started(
    server: Server, database: str
):
    store = await open_postgres(server.address(database))
    await store.commit(change())
    server.sql(f"UPDATE meta SET value = '{SCHEMA + 1}' WHERE key = 'schema'", database=database)
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="a newer tendhost has changed the database"):
            await store.commit(change())
    with pytest.raises(StoreUnavailable, match="upgrade this server"):
        await store.probe()
    assert server.sql("SELECT revision FROM counter", database=database) == "1"
    await store.aclose()


async def test_password_file__is_read_at_each_connection_and_may_be_away_for_a_while(
    server: Server, database: str, tmp_path: Path
):
    file = tmp_path / "password"
    file.write_text("secret\n")
    store = await open_postgres(f"{server.address(database)}?password_file={file}")
    await store.commit(change())
    file.unlink()
    server.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        f" WHERE datname = '{database}' AND pid <> pg_backend_pid()"
    )
    with pytest.raises(StoreUnavailable, match="password_file"):
        await store.commit(change())
    with pytest.raises(StoreUnavailable, match="password_file"):
        await store.find_host("web1")
    file.write_text("secret\n")
    await store.commit(change())
    await store.aclose()


@pytest.mark.parametrize("kind", ["pipe", "device", "large", "binary", "absent"])
async def test_password_file__that_is_none_is_refused_and_nothing_waits(
    server: Server, database: str, tmp_path: Path, kind: str
):
    file = tmp_path / "password"
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "device":
        file.symlink_to("/dev/zero")
    elif kind == "large":
        file.write_bytes(b"x" * 5000)
    elif kind == "binary":
        file.write_bytes(b"\xff\xfe")
    with pytest.raises(
        ConfigurationError, match=r"store: password_file: .* a file with a password"
    ):
        await open_postgres(f"{server.address(database)}?password_file={file}")
