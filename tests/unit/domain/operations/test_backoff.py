"""Pauses between attempts."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from tendhost.server.domain.operations.backoff import Backoff, EndlessBackoff

SECOND = timedelta(seconds=1)
BACKOFF = Backoff(first=2 * SECOND, longest=60 * SECOND, attempts=9)


def test_pauses_double_up_to_the_longest_and_then_there_are_no_more():
    pauses = [BACKOFF.pause(attempt, 1.0) for attempt in range(1, 10)]
    assert pauses == [*(n * SECOND for n in (2, 4, 8, 16, 32, 60, 60, 60)), None]


@given(
    attempt=st.integers(1, 10_000),
    chance=st.floats(0, 1),
    attempts=st.integers(1, 10_000),
)
def test_a_pause_is_between_half_and_the_whole_of_its_length(attempt, chance, attempts):
    backoff = Backoff(first=SECOND, longest=30 * SECOND, attempts=attempts)
    pause = backoff.pause(attempt, chance)
    if attempt >= attempts:
        assert pause is None
        return
    assert pause is not None
    whole = min(30, 2 ** min(attempt - 1, 10)) * SECOND
    assert whole / 2 <= pause <= whole


def test_endless_backoff__never_exceeds_the_longest_pause():
    endless = EndlessBackoff(first=timedelta(seconds=5), longest=timedelta(minutes=10))
    assert endless.length(10**9, 1) == timedelta(minutes=10)
