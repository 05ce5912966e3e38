"""Requests that are sent again: carried out once, answered alike however often."""

import asyncio
from dataclasses import replace

import pytest

from tendhost.server.domain.access.audit import AuditRecord
from tendhost.server.domain.request_errors import HostNotFound, RequestIdReused
from tendhost.server.store.protocol import Store
from tendhost.server.store.records import Conflict, RequestRecord
from tests.contract.store.samples import NOW, a_host, change, stored_host

ID = "6b0e3a2e-6d4f-4c5e-9d5e-000000000001"


def a_request(digest: bytes = b"digest", id: str = ID) -> RequestRecord:
    return RequestRecord(id=id, digest=digest, respond=lambda revision: b"at %d" % revision)


async def test_answer_is_made_from_the_revision_that_was_reached(store: Store) -> None:
    committed = await store.commit(change(events=4, request=a_request()))
    assert (committed.revision, committed.replayed) == (4, None)
    assert await store.stored_response(ID, b"digest") == b"at 4"


async def test_request_that_was_never_sent_has_no_answer(store: Store) -> None:
    assert await store.stored_response(ID, b"digest") is None


async def test_request_sent_again_changes_nothing_and_is_answered_as_before(store: Store) -> None:
    await store.commit(change(hosts=(a_host(),), request=a_request()))
    again = await store.commit(change(hosts=(a_host(),), request=a_request()))
    assert again.replayed == b"at 1"
    assert (await store.log_bounds()).current == 1
    assert len(await store.events(after=0, limit=9)) == 1


async def test_request_id_with_another_body_is_refused(store: Store) -> None:
    await store.commit(change(request=a_request()))
    with pytest.raises(RequestIdReused) as caught:
        await store.commit(change(hosts=(a_host(),), request=a_request(b"other")))
    assert caught.value.request_id == ID
    with pytest.raises(RequestIdReused):
        await store.stored_response(ID, b"other")
    with pytest.raises(HostNotFound):
        await store.host("web1")


async def test_request_whose_change_failed_may_be_sent_again(store: Store) -> None:
    host = await stored_host(store)
    stale = replace(host, revision=99)
    with pytest.raises(Conflict):
        await store.commit(change(hosts=(stale,), request=a_request()))
    assert await store.stored_response(ID, b"digest") is None
    committed = await store.commit(change(hosts=(host,), request=a_request()))
    assert committed.replayed is None


async def test_fifty_equal_requests_at_once_are_one_insert_and_fifty_equal_answers(
    store: Store,
) -> None:
    audit = AuditRecord(at=NOW, principal="ann", method="RegisterHost", subject="web1")
    commits = await asyncio.gather(
        *(
            store.commit(change(hosts=(a_host(),), request=a_request(), audit=audit))
            for _ in range(50)
        )
    )
    assert [c.replayed for c in commits].count(None) == 1
    assert {c.replayed or b"at %d" % c.revision for c in commits} == {b"at 1"}
    assert {c.revision for c in commits} == {1}
    assert await store.count_hosts() == 1
