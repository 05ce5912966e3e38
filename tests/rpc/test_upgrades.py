"""Upgrades of a server: the database of an older one is opened, and says what it said before."""

import json
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tendhost.server.store.migrations import SCHEMA
from tendhost.v1 import host_service_pb2
from tests.rpc.process import channel_to, serving_process
from tests.rpc.record_database import Calls

RECORDED = Path(__file__).parent / "recorded"
OF_THE_MOMENT = {"etag", "nextRuns"}
"""Fields that depend on the time, or the version of the server, at which they are read (docs/compatibility.md)."""
recordings = pytest.mark.parametrize(
    "recording", sorted(RECORDED.glob("schema-*.sql")), ids=lambda path: path.stem
)


def restore(recording: Path, state: Path) -> None:
    """Have a state folder with the database of a recording."""
    state.mkdir()
    with closing(sqlite3.connect(state / "tendhost.db")) as database:
        database.executescript(recording.read_text(encoding="utf-8"))


def lost(old: Any, new: Any, where: str = "") -> Iterator[str]:
    """What was said and is not said any more. What is new in a message is nothing lost."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in old.keys() - OF_THE_MOMENT:
            yield from lost(old[key], new.get(key), f"{where}.{key}")
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for number, pair in enumerate(zip(old, new, strict=True)):
            yield from lost(*pair, f"{where}[{number}]")
    elif old != new:
        yield f"{where}: {old!r} became {new!r}"


def schema(state: Path) -> int:
    with closing(sqlite3.connect(state / "tendhost.db")) as database:
        (number,) = database.execute("PRAGMA user_version").fetchone()
    return int(number)


@recordings
async def test_database_of_an_older_server__says_what_it_said_before(
    tmp_path: Path, recording: Path
):
    state = tmp_path / "state"
    restore(recording, state)
    before = json.loads(recording.with_suffix(".json").read_text(encoding="utf-8"))
    assert schema(state) == int(recording.stem.removeprefix("schema-")) <= SCHEMA
    async with serving_process(tmp_path) as process:
        async with channel_to(process) as channel:
            after = dict(await Calls(channel).everything())
            # Events are added to the log, never taken from it.
            after["events"] = after["events"][: len(before["events"])]
            assert list(lost(before, after)) == []
        assert (await process.ended_after(signal.SIGTERM)).status == 0
    assert schema(state) == SCHEMA


@recordings
async def test_database_of_an_older_server__is_written_to_and_opened_again(
    tmp_path: Path, recording: Path
):
    restore(recording, tmp_path / "state")
    async with serving_process(tmp_path) as process:
        async with channel_to(process) as channel:
            calls = Calls(channel)
            await calls.hosts.UnregisterHost(host_service_pb2.UnregisterHostRequest(name="db1"))
        await process.ended_after(signal.SIGTERM)
    async with serving_process(tmp_path) as process, channel_to(process) as channel:
        answers = await Calls(channel).everything()
    assert [host["config"]["name"] for host in answers["hosts"]] == ["web1", "web2"]
    assert answers["events"][-1]["host"] == "db1"


def test_lost__finds_what_is_changed_shorter_or_gone():
    old = {"a": [1, {"b": 2}], "nextRuns": [1]}
    assert not list(lost(old, {"a": [1, {"b": 2, "new": 3}]}))
    assert list(lost(old, {"a": [1, {"b": 3}]})) == [".a[1].b: 2 became 3"]
    assert list(lost(old, {"a": [1]})) == [".a: [1, {'b': 2}] became [1]"]
    assert list(lost(old, {})) == [".a: [1, {'b': 2}] became None"]
