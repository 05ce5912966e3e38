"""The watchers of the benchmarks notice what they did not see."""

import pytest

from benchmarks.watchers import Ledger
from tendhost.v1 import event_pb2, event_service_pb2


def message(*revisions: int) -> bytes:
    events = [event_pb2.Event(revision=revision) for revision in revisions]
    return event_service_pb2.WatchEventsResponse(events=events).SerializeToString()


def test_message_is_told_by_its_first_and_last_revision():
    assert Ledger().span(message(7, 8, 9)) == (7, 9)


def test_bookmark_holds_no_revision():
    assert Ledger().span(message()) == (0, 0)


def test_gap_within_a_message_is_noticed():
    with pytest.raises(SystemExit, match="between 7 and 9"):
        Ledger().span(message(7, 9))
