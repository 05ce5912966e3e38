"""Versions of stored documents: what they cost, and how an older program meets a newer one."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tendhost.server.domain.events import Undecodable
from tendhost.server.domain.request_errors import StoreUnavailable
from tendhost.server.store import documents, rows
from tendhost.server.store.documents import Form, NewerForm
from tendhost.server.store.migrations import MIGRATIONS, SCHEMA
from tendhost.server.store.records import DocumentUnreadable
from tendhost.server.store.sqlite import open_store
from tests.contract.store.samples import a_host, an_event, change, stored_host

OPENING = "tendhost.server.store.database"


@dataclass(frozen=True, slots=True, kw_only=True)
class Old:
    name: str
    size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class New:
    name: str
    size: int = 0
    colour: str = "red"


OLD, NEW = Form(Old, "thing"), Form(New, "thing")


def at_version(monkeypatch: pytest.MonkeyPatch, version: int) -> None:
    monkeypatch.setattr(documents, "VERSIONS", {"thing": version})


def test_document_of_version_1__is_as_if_there_were_no_versions() -> None:
    assert OLD.encode(Old(name="a")) == '{"name":"a","size":0}'
    assert NEW.decode('{"name":"a"}') == New(name="a")


def test_document_of_a_later_version__says_so_in_few_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = NEW.encode(New(name="a"))
    at_version(monkeypatch, 12)
    text = NEW.encode(New(name="a", colour="blue"))
    assert json.loads(text) == {"v": 12, "name": "a", "size": 0, "colour": "blue"}
    assert len(NEW.encode(New(name="a"))) - len(plain) == len('"v":12,')
    assert NEW.decode(text) == New(name="a", colour="blue")
    assert NEW.decode(plain) == New(name="a"), "what was stored before the versions"


def test_newer_document__is_refused_with_both_versions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at_version(monkeypatch, 3)
    text = NEW.encode(New(name="a", colour="blue"))
    at_version(monkeypatch, 2)
    with pytest.raises(NewerForm, match="version 3 of its form, and this program reads up to 2"):
        OLD.decode(text)


def test_event_of_a_newer_form__is_told_as_one_that_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as newer:
        newer.setattr(documents, "VERSIONS", {"event host_connected": 4})
        row = rows.event_row(replace(an_event(), revision=7))
    event = rows.event_of(row)
    assert isinstance(event.body, Undecodable)
    assert "version 4 of its form" in event.body.problem


async def test_host_that_a_newer_server_stored__is_neither_read_nor_written_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "tendhost.db"
    store = await open_store(path)
    other = await stored_host(store, "web2")
    with monkeypatch.context() as newer:
        newer.setattr(documents, "VERSIONS", {"host": 2})
        host = await stored_host(store, "web1")
        assert await store.host("web1") == host
    with pytest.raises(DocumentUnreadable, match=r"host 'web1' .*version 2 of its form"):
        await store.host("web1")
    with pytest.raises(DocumentUnreadable, match="host 'web1'"):
        await store.survey(list)
    assert await store.host("web2") == other
    await store.commit(change(hosts=(a_host("web3"),)))
    with monkeypatch.context() as newer:
        newer.setattr(documents, "VERSIONS", {"host": 2})
        assert await store.host("web1") == host
    await store.aclose()


async def test_database_of_a_newer_version__is_refused_with_both_versions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "tendhost.db"
    with monkeypatch.context() as newer:
        newer.setattr(f"{OPENING}.MIGRATIONS", (*MIGRATIONS, ("CREATE TABLE more (x)",)))
        newer.setattr(f"{OPENING}.SCHEMA", SCHEMA + 1)
        await (await open_store(path)).aclose()
    before = path.read_bytes()
    words = (
        rf"tendhost\.db was written by a newer tendhost \(its schema is {SCHEMA + 1},"
        rf" this program knows {SCHEMA}\)"
    )
    with pytest.raises(StoreUnavailable, match=words):
        await open_store(path)
    assert path.read_bytes() == before
