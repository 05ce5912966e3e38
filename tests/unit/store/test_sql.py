"""Statements that find their rows by an index, however many hosts and however much history there is.

Every statement of the store is looked at: one that reads a whole table, or sorts what it found, fails here
unless ALLOWED says why it may.
"""

import ast
import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tendhost.server.domain.access.scope import Scope
from tendhost.server.domain.hosts.selection import HostFilter
from tendhost.server.domain.hosts.states import HostState
from tendhost.server.domain.operations.operation import OperationStatus
from tendhost.server.store import host_sql, sql
from tendhost.server.store.database import open_for_writing

FAILED, SUCCEEDED = OperationStatus.FAILED, OperationStatus.SUCCEEDED
STATEMENT = re.compile(r"\s*(?:SELECT|INSERT|UPDATE|DELETE|WITH)\b")

ALLOWED: Mapping[str, str] = {
    "ALL_GROUP_POLICIES": "one row for each group that has a policy; read once at the start",
    "POLICIES_VERSION": "one row for each group that has a policy",
    "ALL_TOKENS": "one row for each token; every call looks for one, so they are kept in memory",
    "AUDIT_CURSORS": "one row for each audit sink",
    "IDLE_QUEUES": "hosts with queued operations alone, each once; read at the start and every few minutes",
    "UNFINISHED_ROLLOUTS": "by an index of what is unfinished alone",
    "DELETE_OLD_REPLICAS": "one row for each replica",
    "ALL_REPLICAS": "one row for each replica",
    "LAST_EVENT": "the last of the table's own index",
    "READERS": "one row for each target of notifications",
    "UNFINISHED_OPERATIONS": "by an index of what is unfinished alone; read once at the start",
    "NEXT_PRUNED_ROLLOUT": "the first of an index, of rollouts whose members are being dropped",
    "DOWN": "counts hosts that are down, found by indexes; one that is down twice counts once",
    "FAILED_NAMES": "by an index of failed hosts alone",
    "DUE_SCHEDULES": "sorts schedules that are due at the same microsecond",
    "BLOCKED_BY": "the keys of its own recursion, each found by index",
    "select_startable": "the keys of its own recursion, each found by index",
    "select_hosts: several ways": "takes the first of as many sorted pages as there are ways",
    "select_hosts: saved": "takes the first of as many sorted pages as there are ways",
    "select_hosts: saved and scope": "takes the first of as many sorted pages as there are ways",
    "HOST_NAMES": "globs are matched against every name",
    "select_hosts: saved and a state": "takes the first of as many sorted pages as there are ways",
    "select_operations: several": "takes the first of as many sorted pages as there are statuses",
    "select_rollouts: several": "takes the first of as many sorted pages as there are statuses",
    "select_members: several": "takes the first of as many sorted pages as there are statuses",
    "PRUNE_LOGS": "the first of two pages, each found by index",
    "PRUNE_OPERATIONS": "the first of two pages, each found by index",
    "NOTE_PRUNED_ROLLOUTS": "the first of two pages, each found by index",
    "PRUNE_ROLLOUTS": "the first of two pages, each found by index",
}
"""The statements that scan or sort, and why they may."""


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    path = tmp_path_factory.mktemp("sql") / "tendhost.db"
    with closing(open_for_writing(path)) as database:
        database.create_function("database_clock", 0, lambda: 0)
        yield database


def hosts(**parts: Any) -> str:
    return host_sql.select_hosts(HostFilter(**parts), after="a", limit=51)[0]


def pending(**parts: Any) -> str:
    return host_sql.select_pending(HostFilter(**parts), after="a", limit=51)[0]


def operations(**parts: Any) -> str:
    given = {"host": "", "rollout": "", "statuses": (), "before": "op-9", **parts}
    return sql.select_operations(limit=51, **given)[0]


def rollouts(*statuses: str) -> str:
    return sql.select_rollouts(statuses=statuses, before="", limit=51)[0]


def members(*statuses: str, wave: int | None = None) -> str:
    return sql.select_members("ro-1", wave=wave, statuses=statuses, after=-1, limit=9)[0]


SCOPE = Scope(groups=("berlin",), all_tags=("web",))
WEB = HostFilter(all_tags=("web",), states=(HostState.FAILED,))


def audit(**wanted: Any) -> str:
    every: dict[str, Any] = {"principal": "", "subject": "", "methods": (), "since": None}
    every |= {"until": None, "before": 0, "limit": 9}
    return sql.select_audit(**every | wanted)[0]


BUILT: Mapping[str, str] = {
    "select_hosts: all": hosts(),
    "select_hosts: search": hosts(name_prefix="web"),
    "select_hosts: names": hosts(names=("web1", "web2")),
    "select_hosts: glob": hosts(names=("web*",)),
    "select_hosts: state": hosts(states=(HostState.FAILED,), reboot_needed=True),
    "select_hosts: state of one": hosts(states=(HostState.FAILED,), names=("web1",)),
    "select_hosts: reboot needed": hosts(reboot_needed=True),
    "select_hosts: tag": hosts(all_tags=("web", "db"), groups=("berlin",)),
    "select_hosts: group": hosts(groups=("berlin",)),
    "select_hosts: saved": hosts(also=WEB),
    "select_hosts: saved and a state": hosts(also=WEB, states=(HostState.IDLE,)),
    "select_hosts: scope": hosts(also=SCOPE.filter),
    "select_hosts: saved and scope": hosts(also=SCOPE.narrow(WEB)),
    "select_hosts: several ways": hosts(
        states=(HostState.IDLE, HostState.PENDING_UPDATES), any_tags=("web", "db")
    ),
    "select_pending": pending(groups=("berlin",)),
    "select_operations": operations(),
    "select_operations: host": operations(host="web1", statuses=(FAILED,)),
    "select_operations: rollout": operations(rollout="ro-1"),
    "select_operations: status": operations(statuses=(FAILED,)),
    "select_operations: scope": operations(scope=SCOPE),
    "select_operations: several": operations(statuses=(FAILED, SUCCEEDED)),
    "select_rollouts": rollouts(),
    "select_rollouts: status": rollouts("running"),
    "select_rollouts: several": rollouts("running", "paused"),
    "select_members": members("failed"),
    "select_members: wave": members(wave=1),
    "select_members: several": members("failed", "rolled_back"),
    "select_audit": audit(),
    "select_audit: page": audit(before=9),
    "select_audit: principal": audit(principal="ci"),
    "select_audit: subject": audit(subject="web1", principal="ci"),
    "select_audit: method": audit(methods=("/a",)),
    "select_audit: several": audit(methods=("/a", "/b")),
    "select_audit: time": audit(since=1, until=2),
    "select_audit: time, page": audit(since=1, until=2, before=9),
    "select_audit: time, principal": audit(since=1, principal="ci", before=9),
    "select_audit: time, subject": audit(until=2, subject="web1"),
    "select_audit: time, method": audit(until=2, methods=("/a",)),
    "select_startable": sql.select_startable("ro-1", 0, now=1, blocked=("down:",), limit=9)[0],
}
"""What the functions that put statements together make, for each way that they can go."""
FIXED: Mapping[str, str] = {
    name: text
    for name, text in vars(sql).items()
    if isinstance(text, str) and STATEMENT.match(text) and not name.startswith("_")
}


def plan_of(database: sqlite3.Connection, statement: str) -> list[str]:
    """How SQLite would go about it: SCAN reads all rows, TEMP B-TREE sorts all that it found."""
    highest = max((int(number) for number in re.findall(r"\?(\d+)", statement)), default=0)
    steps = database.execute(f"EXPLAIN QUERY PLAN {statement}", (0,) * highest)
    # A list that is given with the statement is no table, nor is a row that was put together.
    own = re.compile(r"SCAN (?:json_each|CONSTANT ROW)")
    return [step[3] for step in steps if not own.match(step[3])]


def costly(plan: list[str]) -> list[str]:
    return [step for step in plan if "SCAN" in step or "TEMP B-TREE" in step]


@pytest.mark.parametrize("name", [*FIXED, *BUILT])
def test_statement__finds_its_rows_by_an_index_or_has_a_reason(
    database: sqlite3.Connection, name: str
) -> None:
    found = costly(plan_of(database, {**FIXED, **BUILT}[name]))
    if name in ALLOWED:
        assert found, f"{name} needs no reason any more"
    else:
        assert not found


def test_statement__that_is_put_together_is_looked_at() -> None:
    built = {
        name
        for module in (sql, host_sql)
        for name, value in vars(module).items()
        if name.startswith("select_") and isinstance(value, Callable)  # type: ignore[arg-type]
    }
    assert built == {name.partition(":")[0] for name in BUILT}
    assert not ALLOWED.keys() - FIXED.keys() - BUILT.keys()


def test_statement__stands_where_it_is_looked_at() -> None:
    elsewhere = [
        f"{path.name}:{node.lineno}"
        for path in Path(sql.__file__).parent.glob("*.py")
        if path.name not in ("sql.py", "host_sql.py", "migrations.py", "backup.py")
        # Of every table alike, in the order of its key.
        and path.name != "transfer.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and STATEMENT.match(node.value)
    ]
    assert elsewhere == []


def test_what_is_unfinished_is_found_without_reading_what_has_ended(
    database: sqlite3.Connection,
) -> None:
    plan = plan_of(database, sql.UNFINISHED_OPERATIONS)
    assert plan == ["SCAN operations USING INDEX operations_unfinished"]


def test_names_of_failed_hosts__are_read_in_order_without_reading_other_hosts(
    database: sqlite3.Connection,
) -> None:
    plan = plan_of(database, sql.FAILED_NAMES)
    assert plan[0] == "SCAN hosts USING INDEX hosts_failed"
    assert not [step for step in plan if "TEMP B-TREE" in step]


@pytest.mark.parametrize(
    ("statement", "step", "times"),
    [
        (
            operations(statuses=(FAILED, SUCCEEDED)),
            "operations USING INDEX operations_by_status",
            2,
        ),
        (audit(since=1, until=2), "audit USING INDEX audit_by_time (at>? AND at<?)", 1),
        (audit(until=2, before=9), "audit USING INDEX audit_by_time (at<?)", 1),
        (
            audit(since=1, until=2, principal="ci", methods=("/a",)),
            "audit USING INDEX audit_by_principal_and_time (principal=? AND at>? AND at<?)",
            1,
        ),
        (
            audit(until=2, subject="web1"),
            "audit USING INDEX audit_by_subject_and_time (subject=? AND at<?)",
            1,
        ),
        (audit(principal="ci"), "audit USING INDEX audit_by_principal (", 1),
        (rollouts("running", "paused"), "rollouts USING INDEX rollouts_by_status", 2),
        (members("failed", "rolled_back"), "members USING INDEX members_by_status", 2),
        (hosts(states=(HostState.FAILED,)), "hosts USING COVERING INDEX hosts_by_state", 3),
        (hosts(reboot_needed=False), "hosts USING COVERING INDEX hosts_by_reboot_need", 2),
        (hosts(any_tags=("a", "b")), "label USING COVERING INDEX sqlite_autoindex_host_tags_1", 2),
        (hosts(groups=("a",)), "label USING COVERING INDEX sqlite_autoindex_host_groups_1", 1),
        (
            hosts(names=("web*",)),
            "hosts USING INDEX sqlite_autoindex_hosts_1 (name>? AND name<?)",
            1,
        ),
    ],
)
def test_page__is_read_by_the_index_in_its_order(
    database: sqlite3.Connection, statement: str, step: str, times: int
) -> None:
    plan = plan_of(database, statement)
    assert sum(f"SEARCH {step}" in line for line in plan) == times, plan
