"""A running operation of which nobody knows how far it is ends, and its host is in FAILED unless it is spared."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tendhost.server.domain.breaking_off import broken_off
from tendhost.server.domain.events import StateChanged
from tendhost.server.domain.hosts.host import Host, HostConfig, HostStatus, Problem
from tendhost.server.domain.hosts.states import HostState
from tendhost.server.domain.operations.operation import Operation, OperationKind, OperationStatus
from tendhost.server.domain.transitions import started

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
PROBLEM = Problem(reason="BOOKKEEPING_FAILED", message="so")
HOST = Host(
    config=HostConfig(name="web1", address="web1.example.org"),
    host_key="ssh-ed25519 AAAA",
    registered_at=NOW,
)


@pytest.mark.parametrize("retry", [False, True])
@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize("kind", list(OperationKind))
def test_broken_off_operation__spares_a_host_that_it_only_looked_at_unless_it_was_a_retry(
    kind: OperationKind, *, dry_run: bool, retry: bool
):
    updating = replace(HOST, status=HostStatus(state=HostState.UPDATING))
    failed = updating.failed(step="apply", problem=PROBLEM, now=NOW)
    host = failed.retried() if retry else HOST
    operation = Operation(
        id="op2",
        host="web1",
        kind=kind,
        created_at=NOW,
        dry_run=dry_run,
        retried=failed.status.failure if retry else None,
    )
    begun = started(operation, host, NOW)
    ended = broken_off(begun.operation, begun.host, PROBLEM, NOW)
    looks = dry_run or kind in (OperationKind.QUERY, OperationKind.CHECK)
    state = HostState.IDLE if looks and not retry else HostState.FAILED
    assert ended.operation.status is OperationStatus.FAILED
    assert (ended.host.status.state, ended.host.status.last_problem) == (state, PROBLEM)
    assert any(isinstance(e.body, StateChanged) and e.body.to is state for e in ended.events)
