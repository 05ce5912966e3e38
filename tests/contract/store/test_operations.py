"""Operations and their logs: one at work on a host at a time, any number waiting, newest first."""

from dataclasses import replace
from typing import Any

import pytest

from tendhost.server.domain.operations.operation import Operation, OperationStatus
from tendhost.server.domain.request_errors import HostBusy, OperationNotFound
from tendhost.server.store.protocol import Store
from tendhost.server.store.records import Conflict, LogChunk, Unstorable
from tests.contract.store.samples import NOW, a_host, an_operation, change, stored_operation

QUEUED, RUNNING = OperationStatus.QUEUED, OperationStatus.RUNNING
SUCCEEDED, FAILED = OperationStatus.SUCCEEDED, OperationStatus.FAILED


def ended(operation: Operation, status: OperationStatus = SUCCEEDED) -> Operation:
    return replace(operation, status=status, ended_at=NOW)


async def listed(store: Store, *, limit: int = 100, **parts: Any) -> list[str]:
    """The ids of a list, read in pages of `limit`."""
    found: list[str] = []
    while True:
        page = await store.operations(limit=limit, before=found[-1] if found else "", **parts)
        assert len(page.items) <= limit
        found.extend(operation.id for operation in page.items)
        if not page.more:
            return found


async def test_operation_reads_as_it_was_stored_with_the_revision_of_its_change(
    store: Store,
) -> None:
    operation = an_operation()
    committed = await store.commit(change(operations=(operation,), events=2))
    assert await store.operation(operation.id) == replace(operation, revision=committed.revision)
    assert committed.revision == 2


async def test_operation_that_never_was_is_not_found(store: Store) -> None:
    with pytest.raises(OperationNotFound) as caught:
        await store.operation("op-unheard-of")
    assert caught.value.operation == "op-unheard-of"


async def test_operation_that_was_changed_since_it_was_read_conflicts(store: Store) -> None:
    read = await stored_operation(store, an_operation())
    await stored_operation(store, replace(read, log_size=1))
    with pytest.raises(Conflict, match=read.id):
        await stored_operation(store, replace(read, log_size=2))
    assert (await store.operation(read.id)).log_size == 1


async def test_operation_that_was_never_stored_cannot_be_replaced(store: Store) -> None:
    with pytest.raises(Conflict):
        await stored_operation(store, an_operation(revision=7))


async def test_operation_is_stored_under_its_id_once(store: Store) -> None:
    first = await stored_operation(store, an_operation(status=QUEUED))
    with pytest.raises(Conflict, match=first.id):
        await stored_operation(store, replace(first, revision=0, log_size=9))
    assert await store.operation(first.id) == first


async def test_second_running_operation_of_a_host_is_refused_with_the_first_one_named(
    store: Store,
) -> None:
    running = await stored_operation(store, an_operation("web1"))
    await stored_operation(store, an_operation("web2"))
    with pytest.raises(HostBusy) as caught:
        await stored_operation(store, an_operation("web1"))
    assert (caught.value.host, caught.value.operation) == ("web1", running.id)


async def test_queued_operation_starts_only_once_the_running_one_has_ended(store: Store) -> None:
    running = await stored_operation(store, an_operation())
    queued = await stored_operation(store, an_operation(status=QUEUED))
    with pytest.raises(HostBusy) as caught:
        await stored_operation(store, replace(queued, status=RUNNING))
    assert caught.value.operation == running.id
    await store.commit(
        change(operations=(ended(running), replace(queued, status=RUNNING)), events=2)
    )
    now_running = await store.running_operation("web1")
    assert now_running is not None
    assert now_running.id == queued.id


async def test_start_of_a_queued_operation_that_was_changed_since_conflicts(store: Store) -> None:
    await stored_operation(store, an_operation())
    read = await stored_operation(store, an_operation(status=QUEUED))
    await stored_operation(store, ended(read, OperationStatus.CANCELLED))
    with pytest.raises(Conflict, match=read.id):
        await stored_operation(store, replace(read, status=RUNNING))


async def test_any_number_of_operations_wait_for_a_host_and_the_oldest_is_next(
    store: Store,
) -> None:
    assert await store.next_queued("web1") is None
    assert await store.running_operation("web1") is None
    await stored_operation(store, an_operation())
    waiting = [await stored_operation(store, an_operation(status=QUEUED)) for _ in range(3)]
    await stored_operation(store, an_operation("web2", status=QUEUED))
    assert await store.next_queued("web1") == waiting[0]
    await stored_operation(store, ended(waiting[0], OperationStatus.CANCELLED))
    assert await store.next_queued("web1") == waiting[1]


async def test_unfinished_operations_are_listed_oldest_first(store: Store) -> None:
    operations = [
        await stored_operation(store, an_operation("web2")),
        await stored_operation(store, an_operation("web1", status=QUEUED)),
        await stored_operation(store, an_operation("web1")),
    ]
    await stored_operation(store, ended(an_operation("web3")))
    assert await store.unfinished_operations() == operations
    await stored_operation(store, ended(operations.pop(0)))
    assert await store.unfinished_operations() == operations


async def test_operations_are_listed_newest_first_by_host_rollout_and_status(store: Store) -> None:
    a = await stored_operation(store, ended(an_operation("web1", rollout="ro-1")))
    b = await stored_operation(store, ended(an_operation("web1"), FAILED))
    c = await stored_operation(store, an_operation("web1", rollout="ro-2"))
    d = await stored_operation(store, an_operation("web1", status=QUEUED, rollout="ro-1"))
    e = await stored_operation(store, an_operation("web2", rollout="ro-1"))
    assert await listed(store) == [e.id, d.id, c.id, b.id, a.id]
    assert await listed(store, limit=2) == [e.id, d.id, c.id, b.id, a.id]
    assert await listed(store, host="web1", limit=1) == [d.id, c.id, b.id, a.id]
    assert await listed(store, rollout="ro-1") == [e.id, d.id, a.id]
    assert await listed(store, rollout="ro-1", host="web1") == [d.id, a.id]
    assert await listed(store, statuses=(RUNNING,)) == [e.id, c.id]
    assert await listed(store, statuses=(RUNNING, QUEUED), limit=1) == [e.id, d.id, c.id]
    assert await listed(store, statuses=(QUEUED, SUCCEEDED)) == [d.id, a.id]
    assert await listed(store, statuses=(FAILED,), host="web1") == [b.id]
    assert await listed(store, host="web3") == []


async def test_log_is_read_across_its_chunks_from_any_offset(store: Store) -> None:
    operation = await stored_operation(store, an_operation())
    other = await stored_operation(store, an_operation("web2"))
    whole = b"".join(bytes([65 + number]) * size for number, size in enumerate((5, 1, 7, 3, 4)))
    position = 0
    for size in (5, 1, 7, 3, 4):
        data = whole[position : position + size]
        chunk = LogChunk(operation=operation.id, offset=position, data=data)
        elsewhere = LogChunk(operation=other.id, offset=position, data=b"-" * size)
        await store.commit(change(log=(chunk, elsewhere)))
        position += size
    for offset in range(len(whole) + 2):
        for limit in range(1, len(whole) + 2):
            read = (await store.log(operation.id, offset=offset, limit=limit)).data
            assert read == whole[offset : offset + limit]


async def test_log_of_an_operation_that_has_none_is_empty(store: Store) -> None:
    assert (await store.log("op-unheard-of", offset=0, limit=10)).data == b""


async def test_log_is_written_once_at_each_offset(store: Store) -> None:
    operation = await stored_operation(store, an_operation())
    await store.commit(change(log=(LogChunk(operation=operation.id, offset=0, data=b"first"),)))
    with pytest.raises(Conflict):
        await store.commit(change(log=(LogChunk(operation=operation.id, offset=0, data=b"other"),)))
    assert (await store.log(operation.id, offset=0, limit=99)).data == b"first"


# --- without an event -----------------------------------------------------------------------------


async def test_operation_stored_without_an_event__keeps_its_revision_and_no_event_is_written(
    store: Store,
) -> None:
    read = await stored_operation(store, an_operation())
    await store.commit(change(hosts=()))
    chunk = LogChunk(operation=read.id, offset=0, data=b"abc")
    committed = await store.commit(
        change(events=0, operations=(replace(read, log_size=3),), log=(chunk,))
    )
    assert committed.revision == 2
    assert await store.operation(read.id) == replace(read, log_size=3, quiet_writes=1)
    assert len(await store.events(after=0, limit=10)) == 2


async def test_operation_stored_without_an_event__is_compared_and_swapped(store: Store) -> None:
    read = await stored_operation(store, an_operation())
    await store.commit(change(events=0, operations=(replace(read, log_size=1),)))
    for events in (0, 1):
        with pytest.raises(Conflict, match=read.id):
            await store.commit(change(events=events, operations=(replace(read, log_size=2),)))
    current = await store.operation(read.id)
    assert (current.log_size, current.quiet_writes) == (1, 1)
    await store.commit(change(operations=(replace(current, log_size=3),)))
    again = await store.operation(read.id)
    assert (again.log_size, again.quiet_writes, again.revision) == (3, 0, 2)


async def test_change_without_an_event__holds_nothing_that_readers_of_the_log_would_miss(
    store: Store,
) -> None:
    read = await stored_operation(store, an_operation())
    for parts in ({"hosts": (a_host(),)}, {"operations": (an_operation("web2"),)}):
        with pytest.raises(Unstorable, match="without events"):
            await store.commit(change(events=0, **parts))
    assert await store.operation(read.id) == read


# --- with the middle left out ---------------------------------------------------------------------


async def test_log__whose_middle_was_left_out_is_read_up_to_the_gap_and_from_its_end_on(
    store: Store,
) -> None:
    operation = await stored_operation(store, an_operation())
    chunks = [LogChunk(operation=operation.id, offset=n * 4, data=b"abcd") for n in range(5)]
    await store.commit(change(log=chunks))
    last = LogChunk(operation=operation.id, offset=30, data=b"last", cut=(4, 15))
    await store.commit(change(log=(last,)))
    read = [await store.log(operation.id, offset=offset, limit=99) for offset in range(36)]
    for offset, part in enumerate(read):
        match offset:
            case offset if offset < 4:
                expected = (offset, b"abcd"[offset:])
            case offset if offset < 12:
                expected = (12, b"abcdabcd")
            case offset if offset < 20:
                expected = (offset, b"abcdabcd"[offset - 12 :])
            case _:
                expected = (max(30, offset), b"last"[max(0, offset - 30) :])
        assert (part.offset, part.data) == expected
    short = await store.log(operation.id, offset=6, limit=3)
    assert (short.offset, short.data) == (12, b"abc")
