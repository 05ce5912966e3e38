"""Statements that find their rows by an index, however much history there is."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tendhost.server.domain.operation import OperationStatus
from tendhost.server.domain.selection import HostFilter
from tendhost.server.store import sql
from tendhost.server.store.opening import open_for_writing

FAILED = OperationStatus.FAILED


@pytest.fixture
def database(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(open_for_writing(tmp_path / "tendhost.db")) as database:
        yield database


def plan_of(database: sqlite3.Connection, statement: str) -> str:
    """How SQLite would go about it: SCAN reads all rows, TEMP B-TREE sorts all that it found."""
    highest = max((int(number) for number in re.findall(r"\?(\d+)", statement)), default=0)
    steps = database.execute(f"EXPLAIN QUERY PLAN {statement}", (0,) * highest)
    return "; ".join(step[3] for step in steps)


def hosts(**parts: Any) -> str:
    return sql.select_hosts(HostFilter(**parts), after="a", limit=51)[0]


def operations(**parts: Any) -> str:
    given = {"host": "", "rollout": "", "statuses": (), "before": "op-9", **parts}
    return sql.select_operations(limit=51, **given)[0]


@pytest.mark.parametrize(
    "statement",
    [
        sql.GET_HOST,
        sql.UPDATE_HOST,
        sql.RELABEL_HOST,
        sql.GET_INVENTORY,
        sql.GET_OPERATION,
        sql.UPDATE_OPERATION,
        sql.RUNNING_OPERATION,
        sql.NEXT_QUEUED,
        sql.GET_LOG,
        sql.GET_ROLLOUT,
        sql.GET_WAVES,
        sql.CHANGED_WAVES,
        sql.GET_MEMBER,
        sql.GET_MEMBERS,
        sql.NEXT_OPENING,
        sql.COUNT_WITH_TAG,
        sql.GET_PLAN,
        sql.GET_EVENTS,
        sql.GET_REQUEST,
        sql.PRUNE_EVENTS,
        sql.PRUNE_LOGS,
        sql.PRUNE_OPERATIONS,
        sql.PRUNE_REQUESTS,
        sql.PRUNE_AUDIT,
        hosts(),
        hosts(search="web"),
        hosts(names=("web1", "web2")),
        hosts(groups=("berlin",), all_tags=("web", "db")),
        sql.select_members("ro-1", wave=None, statuses=("failed",), after=-1, limit=9)[0],
        sql.select_startable("ro-1", 0, now=1, blocked=("down:",), limit=9)[0],
        operations(),
        operations(host="web1"),
        operations(rollout="ro-1"),
        operations(statuses=(FAILED,)),
        operations(host="web1", statuses=(FAILED,)),
    ],
)
def test_rows_are_found_and_ordered_by_an_index(
    database: sqlite3.Connection, statement: str
) -> None:
    plan = plan_of(database, statement)
    assert "SEARCH" in plan
    # A list that is given with the statement is no table.
    assert "SCAN" not in plan.replace("SCAN json_each", "")
    assert "TEMP B-TREE" not in plan


def test_what_is_unfinished_is_found_without_reading_what_has_ended(
    database: sqlite3.Connection,
) -> None:
    plan = plan_of(database, sql.UNFINISHED_OPERATIONS)
    assert "USING INDEX operations_unfinished" in plan
    assert "TEMP B-TREE" not in plan


def test_newest_of_several_statuses_are_found_by_index_and_only_they_are_sorted(
    database: sqlite3.Connection,
) -> None:
    plan = plan_of(database, operations(statuses=(FAILED, OperationStatus.SUCCEEDED)))
    assert plan.count("SEARCH operations USING INDEX operations_by_status") == 2
    assert "SCAN operations" not in plan
