"""How many refusals are recorded, and that each of the others is counted."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from tendhost.server.domain.access.refusal_limit import (
    IN_ALL,
    NAMED,
    OTHERS,
    PER_CALLER,
    WINDOW,
    RefusalLimit,
)

START = WINDOW * 5


def test_caller__that_is_refused_too_often_leaves_room_for_others():
    limit = RefusalLimit()
    assert [limit.admits("a", START) for _ in range(PER_CALLER + 2)].count(True) == PER_CALLER
    assert limit.admits("b", START)
    assert limit.take() == {"a": 2}


def test_window__ends_after_its_length_and_begins_with_the_next_refusal():
    limit = RefusalLimit()
    assert not limit.ended(START)
    limit.admits("a", START)
    assert not limit.ended(START + WINDOW / 2)
    assert limit.ended(START + WINDOW)
    limit.take()
    assert not limit.ended(START + WINDOW * 9)


@given(st.lists(st.integers(0, 150), max_size=800))
def test_refusals__are_each_recorded_or_counted_and_the_records_are_bounded(callers: list[int]):
    limit = RefusalLimit()
    recorded = Counter(str(each) for each in callers if limit.admits(str(each), START))
    omitted = limit.take()
    assert recorded.total() + sum(omitted.values()) == len(callers)
    assert recorded.total() <= IN_ALL
    assert max(recorded.values(), default=0) <= PER_CALLER
    assert len(omitted) <= NAMED + 1
    asked = Counter(map(str, callers))
    assert all(
        recorded[caller] + count <= asked[caller]
        for caller, count in omitted.items()
        if caller != OTHERS
    )


def test_memory__does_not_grow_with_callers():
    limit = RefusalLimit()
    for number in range(5_000):
        limit.admits(f"caller{number}", START)
    assert len(limit._recorded) <= IN_ALL
    assert len(limit._omitted) <= NAMED + 1
