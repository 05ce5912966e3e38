"""What migrations make of the rows of older schemas."""

import asyncio
import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tendhost.server.domain.hosts.host import Duplicate, HostConfig, HostStatus
from tendhost.server.store import database as opening
from tendhost.server.store.migrations import MIGRATIONS
from tendhost.server.store.sqlite import open_store

BEFORE_HOST_KEYS = 4
"""The schema in which a host's key and address stood in its document alone."""
BEFORE_MACHINE_IDS = 6
BEFORE_TAG_KEYS = 8
KEY = "ssh-ed25519 AAAA"


def document(name: str, address: str, port: int, key: str) -> Mapping[str, Any]:
    """A host as an older version stored it."""
    return {
        "config": {"name": name, "address": address, "port": port},
        "host_key": key,
        "registered_at": "2026-03-01T12:00:00Z",
        "revision": 1,
    }


HOSTS = (
    document("local", "local", 22, "local"),
    document("upper", "WEB1.Example.org", 2222, KEY),
    document("web1", "web1.example.org", 2222, KEY),
    document("web2", "web2.example.org", 22, "ssh-ed25519 BBBB"),
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tendhost.db"


def made(path: Path, schema: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Has a database of an older schema at `path`, with HOSTS."""
    with monkeypatch.context() as older:
        older.setattr(opening, "MIGRATIONS", MIGRATIONS[:schema])
        older.setattr(opening, "SCHEMA", schema)
        with closing(opening.open_for_writing(path)) as database:
            for host in HOSTS:
                values = (host["config"]["name"], "idle", "unknown", "[[],[]]", 1, json.dumps(host))
                database.execute(
                    "INSERT INTO hosts (name, state, reboot_need, labels, revision, document)"
                    " VALUES (?, ?, ?, ?, ?, ?)",
                    values,
                )


def rows(path: Path, columns: str) -> list[tuple[str, ...]]:
    with closing(sqlite3.connect(path)) as database:
        return database.execute(f"SELECT {columns} FROM hosts ORDER BY name").fetchall()


def test_host_key_and_address__of_older_hosts_are_found(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(path, BEFORE_HOST_KEYS, monkeypatch)
    opening.open_for_writing(path).close()
    written = rows(path, "host_key, endpoint")
    # As they are written today, by HostConfig.endpoint.
    expected = [
        (
            host["host_key"],
            HostConfig(
                name="any", address=host["config"]["address"], port=host["config"]["port"]
            ).endpoint,
        )
        for host in HOSTS
    ]
    assert written == expected
    assert written[1] == (KEY, "web1.example.org 2222")


@pytest.mark.parametrize("schema", [BEFORE_HOST_KEYS, BEFORE_MACHINE_IDS])
def test_machine_id__of_older_hosts_is_not_known_and_makes_no_duplicates(
    path: Path, schema: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(path, schema, monkeypatch)
    if schema == BEFORE_MACHINE_IDS:
        with closing(sqlite3.connect(path, isolation_level=None)) as database:
            database.execute("UPDATE hosts SET host_key = name, endpoint = name")
    opening.open_for_writing(path).close()
    assert rows(path, "machine_id") == [("",)] * len(HOSTS)

    async def found() -> tuple[HostStatus, tuple[Duplicate, ...]]:
        store = await open_store(path)
        try:
            host = await store.host("web1")
            return host.status, await store.duplicates(host)
        finally:
            await store.aclose()

    status, duplicates = asyncio.run(found())
    assert status == HostStatus()
    alike = Duplicate(host="upper", host_key=True, address=True, machine_id=False)
    assert duplicates == ((alike,) if schema == BEFORE_HOST_KEYS else ())


def test_tag_keys__of_older_hosts_are_counted(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(path, BEFORE_TAG_KEYS, monkeypatch)
    tags = {"local": ("zone=a", "zone=b"), "upper": ("zone=a", "web"), "web1": ("zone=", "=x")}
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        for host, those in tags.items():
            for tag in those:
                database.execute("INSERT INTO host_tags (name, host) VALUES (?, ?)", (tag, host))
    opening.open_for_writing(path).close()
    with closing(sqlite3.connect(path)) as database:
        keys = database.execute("SELECT name, hosts FROM host_counts WHERE kind = 'key'").fetchall()
    assert keys == [("zone", 2)]
