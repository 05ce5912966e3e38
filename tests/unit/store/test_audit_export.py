"""`tendhostd audit …`: exports that are signed, and what verification finds in databases and exports."""

import base64
import json
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from tendhost.server import main
from tendhost.server.clock import SystemClock
from tendhost.server.domain.access.audit import FIRST_HASH, AuditRecord
from tendhost.server.domain.access.principal import CredentialKind
from tendhost.server.store.audit_chain import DROPPED
from tendhost.server.store.audit_export import KEY, SIGNED
from tendhost.server.store.sqlite import open_store
from tests.contract.store.samples import A_DAY, NOW, change

RECORDS = 5


@pytest.fixture
async def state(tmp_path: Path) -> Path:
    """A state folder whose database has some audit records."""
    state = tmp_path / "state"
    state.mkdir()
    store = await open_store(state / main.DATABASE)
    for number in range(RECORDS):
        audit = AuditRecord(
            at=NOW + A_DAY * number,
            principal="änne",
            credential_kind=CredentialKind.TOKEN if number else None,
            method="/tendhost.v1.HostService/StartUpdate",
            subject=f"web{number}",
        )
        await store.commit(change(audit=audit, at=NOW + A_DAY * number))
    await store.aclose()
    return state


@pytest.fixture
def tendhostd(state: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    def run(*words: object) -> tuple[int, str]:
        status = main.main(["audit", *map(str, words), "--state-dir", str(state)])
        said = capsys.readouterr()
        return status, said.out + said.err

    return run


def execute(state: Path, *statements: str) -> None:
    with closing(sqlite3.connect(state / main.DATABASE)) as database:
        for statement in statements:
            database.execute(statement)
        database.commit()


def test_database__that_nobody_altered_is_verified(tendhostd):
    status, said = tendhostd("verify")
    assert (status, "records 1 to 5 are as they were written" in said) == (0, True)


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE audit SET subject = 'web9' WHERE number = 3", "record 3 was altered"),
        ("UPDATE audit SET at = at + 1 WHERE number = 1", "record 1 was altered"),
        ("UPDATE audit SET hash = '' WHERE number = 2", "record 2 has no hash"),
        ("UPDATE audit SET hash = '' WHERE number = 1", "record 1 has no hash"),
        ("UPDATE audit SET hash = '', subject = 'web9'", "record 1 has no hash"),
        ("UPDATE audit SET credential_kind = 'king' WHERE number = 2", "cannot be read"),
        ("DELETE FROM audit WHERE number = 2", "record 2 is missing"),
        ("DELETE FROM audit WHERE number = 1", "record 1 is missing"),
        ("UPDATE audit SET number = 9 WHERE number = 5", "record 5 is missing"),
    ],
)
def test_database__that_was_altered_is_neither_verified_nor_signed(
    tendhostd, state: Path, tmp_path: Path, statement: str, said: str
):
    execute(state, statement)
    status, told = tendhostd("verify")
    assert (status, said in told) == (1, True), told
    assert tendhostd("export", tmp_path / "export")[0] == 1
    assert not (tmp_path / "export").exists()


def test_export__has_a_line_for_each_record_and_a_signed_head(
    tendhostd, state: Path, tmp_path: Path
):
    file = tmp_path / "export"
    assert tendhostd("export", file) == (0, f"wrote records 1 to 5 to {file}\n")
    first, *records, last = map(json.loads, file.read_text().splitlines())
    assert [record["subject"] for record in records] == [f"web{n}" for n in range(RECORDS)]
    assert last["head"] == {"hash": records[-1]["hash"], "number": RECORDS}
    signed = {"head": last["head"], "start": first["start"]}
    body = json.dumps(signed, sort_keys=True, separators=(",", ":")).encode()
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(last["public_key"]))
    key.verify(base64.b64decode(last["signature"]), SIGNED + body)
    assert tendhostd("show-key") == (0, last["public_key"] + "\n")
    assert {(state / KEY).stat().st_mode & 0o777, file.stat().st_mode & 0o777} == {0o600}
    status, said = tendhostd("verify", file, "--key", last["public_key"])
    assert (status, f"signed with {last['public_key']}" in said) == (0, True)
    assert tendhostd("export", file) == (
        1,
        f"tendhostd: {file}: it cannot be written (File exists)\n",
    )


@pytest.mark.parametrize(
    ("alter", "said"),
    [
        (lambda lines: [*lines[:2], *lines[3:]], "record 2 is missing"),
        (lambda lines: [*lines[:-2], lines[-1]], "it ends at record 4, and was signed up to 5"),
        (lambda lines: [line.replace("web2", "web3") for line in lines], "record 3 was altered"),
        (lambda lines: [line.replace('"number":5}', '"number":4}') for line in lines], "signature"),
        (lambda lines: lines[:-1], "no whole export"),
        (lambda lines: [], "no whole export"),
        (lambda lines: ["[]", "1", "null"], "no whole export"),
        (lambda lines: [*lines[:-1], lines[-1][:40]], "no whole export"),
        (lambda lines: ["é", *lines], "no whole export"),
    ],
)
def test_export__that_was_altered_is_refused(tendhostd, tmp_path: Path, alter, said: str):
    file = tmp_path / "export"
    tendhostd("export", file)
    file.write_text("\n".join(alter(file.read_text().splitlines())) + "\n", encoding="utf-8")
    status, told = tendhostd("verify", file)
    assert (status, said in told) == (1, True), told


def test_export__of_another_key_is_refused(tendhostd, tmp_path: Path, state: Path):
    _, key = tendhostd("show-key")
    (state / KEY).unlink()
    tendhostd("export", tmp_path / "export")
    status, said = tendhostd("verify", tmp_path / "export", "--key", key.strip())
    assert (status, "it is signed with another key" in said) == (1, True)


def test_database__whose_newest_records_were_removed_does_not_have_the_head_of_an_export(
    tendhostd, state: Path, tmp_path: Path
):
    tendhostd("export", tmp_path / "export")
    execute(state, "DELETE FROM audit WHERE number > 3")
    assert tendhostd("verify")[0] == 0  # which the chain alone does not show
    status, said = tendhostd("verify", tmp_path / "export")
    assert (status, "record 5 is not the one that was exported, or is gone" in said) == (1, True)


async def test_pruned_database__and_exports_from_before_and_after_are_verified(
    tendhostd, state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    set_clock(monkeypatch, NOW + A_DAY * 5)
    tendhostd("export", tmp_path / "before")
    store = await open_store(state / main.DATABASE)
    await store.prune(
        before=NOW + A_DAY * 2, now=NOW + A_DAY * 5, requests_before=0, keep_events=1000
    )
    await store.aclose()
    assert "records 3 to 5 are" in tendhostd("verify")[1]
    assert tendhostd("export", tmp_path / "after")[0] == 0
    monkeypatch.setenv("TENDHOST_HISTORY_DAYS", "3")
    for file in ("before", "after"):
        assert tendhostd("verify", tmp_path / file)[0] == 0
    execute(state, "DELETE FROM audit WHERE number = 3")
    assert "record 3 is missing" in tendhostd("verify")[1]


# --- records that were removed as if they had been pruned -----------------------------------------


def set_clock(monkeypatch: pytest.MonkeyPatch, now: datetime) -> None:
    monkeypatch.setattr(SystemClock, "now", lambda _: now)


def remove_beginning(state: Path, last: int) -> None:
    """Remove records as pruning does: with the mark that says what the first one that is kept follows."""
    with closing(sqlite3.connect(state / main.DATABASE)) as database:
        (hash,) = database.execute("SELECT hash FROM audit WHERE number = ?", (last,)).fetchone()
        mark = json.dumps({"number": last, "hash": hash})
        database.execute("DELETE FROM audit WHERE number <= ?", (last,))
        database.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (DROPPED, mark))
        database.commit()


@pytest.mark.parametrize("last", range(1, RECORDS + 1))
def test_database__whose_beginning_was_removed_before_its_time_is_refused_with_an_export(
    tendhostd, state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last: int
):
    export = tmp_path / "export"
    tendhostd("export", export)
    lines = export.read_text().splitlines()[1:-1]
    of_sink = tmp_path / "audit.jsonl"
    of_sink.write_text("\n".join(lines) + "\n")
    remove_beginning(state, last)
    assert tendhostd("verify")[0] == 0  # which the chain alone does not show
    monkeypatch.setenv("TENDHOST_HISTORY_DAYS", "3")
    set_clock(monkeypatch, NOW + A_DAY * (3 + last - 1))  # the last of them is 3 days old: kept yet
    for file in (export, of_sink):
        status, said = tendhostd("verify", file)
        assert (status, f"record {last} of 2026-03-0{last} 12:00 UTC is gone" in said) == (
            1,
            True,
        ), said
        assert "history_days (3)" in said
    set_clock(monkeypatch, NOW + A_DAY * (3 + last))  # all of them are older
    assert [tendhostd("verify", file)[0] for file in (export, of_sink)] == [0, 0]


def test_database__whose_mark_has_another_hash_is_refused(tendhostd, state: Path, tmp_path: Path):
    tendhostd("export", tmp_path / "export")
    mark = json.dumps({"number": RECORDS, "hash": "1" * 64})
    execute(state, "DELETE FROM audit", f"INSERT INTO meta VALUES ('{DROPPED}', '{mark}')")
    assert tendhostd("verify")[0] == 0
    assert (
        "record 5 is not the one that was exported" in tendhostd("verify", tmp_path / "export")[1]
    )


def text_of(documents: Sequence[object]) -> str:
    return "".join(f"{json.dumps(document)}\n" for document in documents)


def signed_export(state: Path, start: object, records: Sequence[Any], hash: str) -> str:
    """An export of these records that is signed with the server's key."""
    key = serialization.load_pem_private_key((state / KEY).read_bytes(), None)
    assert isinstance(key, Ed25519PrivateKey)
    told = {"head": {"hash": hash, "number": RECORDS}, "start": start}
    body = json.dumps(told, sort_keys=True, separators=(",", ":")).encode()
    last = {
        "head": told["head"],
        "public_key": base64.b64encode(key.public_key().public_bytes_raw()).decode(),
        "signature": base64.b64encode(key.sign(SIGNED + body)).decode(),
    }
    return text_of([{"start": start, "tendhost_audit": 1}, *records, last])


def test_export__whose_beginning_was_removed_is_refused_with_the_database(
    tendhostd, state: Path, tmp_path: Path
):
    file = tmp_path / "export"
    tendhostd("export", file)
    _, *records, _ = map(json.loads, file.read_text().splitlines())
    start = {"hash": records[1]["hash"], "number": 2}
    file.write_text(signed_export(state, start, records[2:], records[-1]["hash"]))
    status, said = tendhostd("verify", file)
    assert (status, "the export begins with record 3" in said) == (1, True), said


@pytest.mark.parametrize("signed", [True, False])
def test_export__with_a_record_without_a_hash_is_refused(
    tendhostd, state: Path, tmp_path: Path, signed: bool
):
    file = tmp_path / "export"
    tendhostd("export", file)
    _, *records, _ = map(json.loads, file.read_text().splitlines())
    bare = [record | {"hash": "", "former": FIRST_HASH, "subject": "web9"} for record in records]
    start = {"hash": FIRST_HASH, "number": 0}
    file.write_text(signed_export(state, start, bare, FIRST_HASH) if signed else text_of(bare))
    status, said = tendhostd("verify", file)
    assert (status, "record 1 has no hash" in said) == (1, True), said


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"x", "it holds no private key"), (None, "cannot be read: it is a folder")],
)
def test_key__that_cannot_be_used_is_told(tendhostd, state: Path, content: bytes | None, said: str):
    if content is None:
        (state / KEY).mkdir()
    else:
        (state / KEY).write_bytes(content)
    assert said in tendhostd("show-key")[1]


def test_verify__without_a_database_says_so(tendhostd, state: Path):
    (state / main.DATABASE).unlink()
    assert "there is no database" in tendhostd("verify")[1]


# --- files of sinks -------------------------------------------------------------------------------


def sink_file(tendhostd, tmp_path: Path) -> tuple[Path, list[str]]:
    """A file as a sink writes it, and its lines."""
    tendhostd("export", tmp_path / "export")
    lines = (tmp_path / "export").read_text().splitlines()[1:-1]
    file = tmp_path / "audit.jsonl"
    file.write_text("\n".join(lines) + "\n")
    return file, lines


def test_sink_file__is_verified_with_the_database(tendhostd, tmp_path: Path, state: Path):
    file, _ = sink_file(tendhostd, tmp_path)
    status, said = tendhostd("verify", file)
    assert (status, "records 1 to 5 are as they were written" in said) == (0, True), said
    execute(state, "DELETE FROM audit WHERE number > 3")
    assert "record 5 is not the one that was exported" in tendhostd("verify", file)[1]


def test_sink_file__that_was_rotated_and_has_records_twice_is_verified(tendhostd, tmp_path: Path):
    file, lines = sink_file(tendhostd, tmp_path)
    file.write_text("\n".join([*lines[1:4], *lines[2:]]) + "\n")
    assert "records 2 to 5 are as they were written" in tendhostd("verify", file)[1]


@pytest.mark.parametrize(
    ("alter", "said"),
    [
        (lambda lines: [*lines[:2], *lines[3:]], "record 3 is missing"),
        (lambda lines: [*lines[:3], lines[3].replace("web3", "web9"), *lines[4:]], "record 4 was"),
        (lambda lines: [*lines, lines[1].replace("web1", "web9")], "record 2 is in it twice"),
        (lambda lines: [*lines, lines[-1][:40]], "it is no whole export"),
        (lambda lines: [lines[0], "{}"], "it is no whole export"),
    ],
)
def test_sink_file__that_was_altered_is_refused(tendhostd, tmp_path: Path, alter, said: str):
    file, lines = sink_file(tendhostd, tmp_path)
    file.write_text("\n".join(alter(lines)) + "\n")
    status, told = tendhostd("verify", file)
    assert (status, said in told) == (1, True), told


def test_sink_file__has_no_signature(tendhostd, tmp_path: Path):
    file, _ = sink_file(tendhostd, tmp_path)
    assert "has no signature" in tendhostd("verify", file, "--key", "x")[1]
