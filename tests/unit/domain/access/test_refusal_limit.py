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
    Omitted,
    RefusalLimit,
)

START = WINDOW * 5


def admits(limit: RefusalLimit, caller: str, *, authenticated: bool = False) -> bool:
    return limit.admits(caller, START, authenticated=authenticated)


def test_caller__that_is_refused_too_often_leaves_room_for_others():
    limit = RefusalLimit()
    assert [admits(limit, "a") for _ in range(PER_CALLER + 2)].count(True) == PER_CALLER
    assert admits(limit, "b")
    assert limit.take() == [Omitted(caller="a", authenticated=False, count=2)]


def test_callers__that_have_proved_their_names_are_recorded_whatever_strangers_do():
    limit = RefusalLimit()
    for number in range(IN_ALL * 3):
        admits(limit, f"stranger{number}")
    for _ in range(PER_CALLER + 1):
        admits(limit, "ci")  # a stranger who calls itself as a principal is called
    assert all(admits(limit, "ci", authenticated=True) for _ in range(PER_CALLER))
    assert not admits(limit, "ci", authenticated=True)
    assert Omitted(caller="ci", authenticated=True, count=1) in limit.take()


def test_window__ends_after_its_length_and_begins_with_the_next_refusal():
    limit = RefusalLimit()
    assert not limit.ended(START)
    admits(limit, "a")
    assert not limit.ended(START + WINDOW / 2)
    assert limit.ended(START + WINDOW)
    limit.take()
    assert not limit.ended(START + WINDOW * 9)


CALLERS = st.tuples(st.integers(0, 150).map(str), st.booleans())


@given(st.lists(CALLERS, max_size=800))
def test_refusals__are_each_recorded_or_counted_and_the_records_are_bounded(
    callers: list[tuple[str, bool]],
):
    limit = RefusalLimit()
    recorded = Counter(
        (caller, proved)
        for caller, proved in callers
        if admits(limit, caller, authenticated=proved)
    )
    taken = limit.take()
    omitted = {(each.caller, each.authenticated): each.count for each in taken}
    assert recorded.total() + sum(omitted.values()) == len(callers)
    for kind in (True, False):
        assert sum(count for (_, proved), count in recorded.items() if proved is kind) <= IN_ALL
    assert max(recorded.values(), default=0) <= PER_CALLER
    assert len(taken) == len(omitted) <= 2 * (NAMED + 1)
    asked = Counter(callers)
    assert all(
        recorded[caller] + count <= asked[caller]
        for caller, count in omitted.items()
        if caller[0] != OTHERS
    )
    limit.put_back(taken, START)
    assert limit.take() == taken


def test_refusals__whose_number_could_not_be_stored_are_counted_with_those_of_the_next_window():
    limit = RefusalLimit()
    limit.put_back([Omitted(caller="ci", authenticated=True, count=3)], START)
    assert not limit.ended(START)
    limit.put_back([Omitted(caller="ci", authenticated=True, count=4)], START + WINDOW / 2)
    assert limit.ended(START + WINDOW)
    assert limit.take() == [Omitted(caller="ci", authenticated=True, count=7)]
    limit.put_back([], START)
    assert not limit.ended(START + WINDOW)


def test_memory__does_not_grow_with_callers():
    limit = RefusalLimit()
    for number in range(5_000):
        admits(limit, f"caller{number}", authenticated=number % 2 == 0)
        limit.put_back([Omitted(caller=f"x{number}", authenticated=True, count=1)], START)
    for allowance in (limit._proved, limit._others):
        assert len(allowance.recorded) <= IN_ALL
        assert len(allowance.omitted) <= NAMED + 1
