"""Changes that cannot be stored: each fails alone, and never as if the store were away."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tendhost.server.domain.access.audit import AuditRecord
from tendhost.server.domain.request_errors import HostAlreadyExists
from tendhost.server.store.protocol import Store
from tendhost.server.store.records import (
    Change,
    Conflict,
    LogChunk,
    RequestRecord,
    Unstorable,
)
from tests.contract.store.conftest import Database
from tests.contract.store.samples import NOW, a_host, change, every_host


def _unanswerable(revision: int) -> bytes:
    raise ValueError(f"no answer for {revision}")


BAD: dict[str, Callable[[], Change]] = {
    "a place in a log beyond 64 bits": lambda: change(
        log=(LogChunk(operation="op-1", offset=2**63, data=b"x"),)
    ),
    "a name that is no text": lambda: change(
        audit=AuditRecord(at=NOW, principal="\udcff", method="/test", subject="web1")
    ),
    "an answer that cannot be made": lambda: change(
        request=RequestRecord(id="request", digest=b"", respond=_unanswerable)
    ),
    "no value": lambda: change(hosts=(replace(a_host("bad"), registered_at=object()),)),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("what", BAD)
async def test_bad_change__is_refused_for_what_it_is_and_others_are_stored(
    store: Store, what: str
) -> None:
    results = await asyncio.gather(
        store.commit(change(hosts=(a_host("a"),))),
        store.commit(replace(BAD[what](), hosts=(*BAD[what]().hosts, a_host("b")))),
        store.commit(change(hosts=(a_host("c"),))),
        return_exceptions=True,
    )
    assert isinstance(results[1], Unstorable)
    hosts = await every_host(store)
    assert [host.name for host in hosts] == ["a", "c"], "nothing of the bad one is kept"
    events = await store.events(after=0, limit=9)
    assert [event.revision for event in events] == [1, 2], "it has used no number"


CHANGES = st.one_of(
    st.sampled_from(["a", "b", "c"]),
    st.just("conflicting"),
    st.sampled_from(sorted(BAD)),
)


def _change(what: str) -> Change:
    if what in BAD:
        return BAD[what]()
    if what == "conflicting":
        return change(hosts=(replace(a_host("a"), revision=999),))
    return change(hosts=(a_host(what),))


@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(mix=st.lists(CHANGES, max_size=10))
def test_changes__any_mix_of_them_together_comes_to_the_same_as_one_by_one(
    database: Database, tmp_path_factory: pytest.TempPathFactory, mix: list[str]
) -> None:
    async def outcome(*, together: bool) -> object:
        async with database.another(tmp_path_factory.mktemp("mix")).opened() as store:
            commits = [store.commit(_change(what)) for what in mix]
            if together:
                results = await asyncio.gather(*commits, return_exceptions=True)
            else:
                results = [
                    (await asyncio.gather(one, return_exceptions=True))[0] for one in commits
                ]
            hosts = [(host.name, host.revision) for host in await every_host(store)]
            events = [event.revision for event in await store.events(after=0, limit=99)]
        told = [r if not isinstance(r, BaseException) else type(r) for r in results]
        assert {type(r) for r in results if isinstance(r, Exception)} <= {
            Unstorable,
            Conflict,
            HostAlreadyExists,
        }
        return told, hosts, events

    assert asyncio.run(outcome(together=True)) == asyncio.run(outcome(together=False))
