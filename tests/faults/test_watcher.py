"""The watcher of the fault suite finds what was left out, told twice, or never told."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from typing import Any, cast

import pytest

from tendhost.v1 import event_pb2, event_service_pb2
from tendhost.v1.event_service_pb2_grpc import EventServiceStub
from tests.faults import watcher
from tests.faults.watcher import Watcher


class Stream:
    """Tells the revisions once, and then nothing more."""

    def __init__(self, revisions: Sequence[int], current: int) -> None:
        self._revisions = revisions
        self._current = current

    async def __aiter__(self) -> AsyncIterator[event_service_pb2.WatchEventsResponse]:
        yield event_service_pb2.WatchEventsResponse(current_revision=self._current)
        for revision in self._revisions:
            yield event_service_pb2.WatchEventsResponse(events=[event_pb2.Event(revision=revision)])
        await asyncio.Event().wait()

    def cancel(self) -> None:
        pass


class Events:
    """A service whose first stream tells something, and whose others tell only how far it is."""

    def __init__(self, revisions: Sequence[int], current: int) -> None:
        self._left = [revisions]
        self._current = current

    def WatchEvents(self, request: Any, *, wait_for_ready: bool) -> Stream:
        assert wait_for_ready
        return Stream(self._left.pop() if self._left else (), self._current)


@pytest.mark.parametrize(
    ("revisions", "gaps"),
    [
        ((1, 2, 3), []),
        ((1, 3), ["revision 3 came after 1"]),
        ((1, 2, 2, 3), ["revision 2 came after 2"]),
        ((1, 2), ["stayed at revision 2 of 3: TimeoutError()"]),
    ],
    ids=["all of them", "one left out", "one twice", "one never told"],
)
async def test_each_revision_is_expected_once_and_in_order(
    monkeypatch: pytest.MonkeyPatch, revisions: Sequence[int], gaps: Sequence[str]
) -> None:
    monkeypatch.setattr(watcher, "CATCH_UP_SECONDS", 0.2)
    service = cast(EventServiceStub, Events(revisions, current=3))
    watching = Watcher(lambda: service, random.Random(1))
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(watching.run())
        await asyncio.sleep(0)  # so that the watcher's is the first stream
        await watching.caught_up()
        task.cancel()
    assert watching.gaps == gaps
