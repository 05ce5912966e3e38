"""When a host counts as healthy: tries that fail and pass at any moment."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from tendhost.server.domain.policy.health_evaluation import CheckFinding, CheckRun, Settling

WELL, ILL = CheckFinding(holds=True, words="well"), CheckFinding(holds=False, words="ill")


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


def check(name: str = "tcp 1", *, attempts: int | None = 3, every: float = 5, patience: float = 0):
    return CheckRun(
        name=name, interval=seconds(every), attempts=attempts, patience=seconds(patience)
    )


def settling(*checks: CheckRun, settle: float = 0) -> Settling:
    return Settling(checks=checks, settle=seconds(settle), began=seconds(100))


def lived(state: Settling, *answers: str) -> tuple[Settling, list[float]]:
    """The state after tries that found `answers`, one string for each check; and when they were made.

    The last answer of each is its answer for ever.
    """
    now, used, rounds = state.began, [0] * len(answers), []
    while state.verdict is None:
        now = max(now, state.next_due)
        rounds.append((now - state.began).total_seconds())
        found = {}
        for number in state.due(now):
            said = answers[number][min(used[number], len(answers[number]) - 1)]
            used[number] += 1
            found[number] = WELL if said == "+" else ILL
        assert found, "a round in which nothing was due"
        state = state.after(found, now)
        assert len(rounds) < 5000, "it never ends"
    return state, rounds


def test_without_a_settling_time_once_is_enough():
    state, rounds = lived(settling(check(), check()), "+", "+")
    assert (state.verdict, rounds) == (True, [0])


def test_a_check_may_fail_for_all_but_its_last_attempt():
    state, rounds = lived(settling(check(attempts=3)), "--+")
    assert (state.verdict, rounds) == (True, [0, 5, 10])


def test_a_check_that_has_failed_so_often_as_it_may_is_the_end():
    state, rounds = lived(settling(check(attempts=3), check()), "-", "+")
    assert (state.verdict, rounds) == (False, [0, 5, 10])
    assert (state.checks[0].tries, state.checks[0].failures) == (3, 3)


def test_all_have_to_hold_for_the_settling_time_and_are_looked_at_at_its_end():
    state, rounds = lived(settling(check(every=5), check(every=60), settle=12), "+", "+")
    assert (state.verdict, rounds) == (True, [0, 5, 10, 12])
    assert [c.last_at for c in state.checks] == [seconds(112)] * 2


def test_the_settling_time_begins_anew_when_a_check_fails():
    state, rounds = lived(settling(check(every=5), settle=12), "++-+")
    assert (state.verdict, rounds) == (True, [0, 5, 10, 15, 20, 25, 27])


def test_a_check_that_fails_now_and_then_makes_the_host_unhealthy_in_the_end():
    state, rounds = lived(settling(check(every=5, attempts=3), settle=60), "+-+-+-+")
    assert (state.verdict, rounds[-1]) == (False, 25)


def test_a_check_with_patience_may_fail_until_that_is_over():
    patient = check(attempts=None, every=1, patience=30)
    state, rounds = lived(settling(patient), "-")
    assert (state.verdict, rounds[-1]) == (False, 30)
    assert lived(settling(patient), "-" * 20 + "+")[0].verdict is True


def test_a_check_with_patience_that_fails_after_it_is_the_end():
    patient = check(attempts=None, every=5, patience=30)
    state, rounds = lived(settling(patient, settle=60), "+" * 8 + "-")
    assert (state.verdict, rounds[-1]) == (False, 40)


ANSWERS = st.text(alphabet="+-", min_size=1, max_size=12)


@given(
    said=st.lists(ANSWERS, min_size=1, max_size=4),
    settle=st.integers(0, 40),
    every=st.lists(st.integers(1, 9), min_size=4, max_size=4),
    attempts=st.integers(1, 4),
)
def test_healthy_is_what_has_held_for_the_settling_time_and_a_verdict_always_comes(
    said, settle, every, attempts
):
    checks = [check(f"c{n}", every=every[n], attempts=attempts) for n in range(len(said))]
    state, _ = lived(settling(*checks, settle=settle), *said)
    assert all(c.tries >= 1 for c in state.checks)
    worn_out = [c for c in state.checks if c.failures >= attempts and c.last == ILL]
    assert (state.verdict is False) is bool(worn_out)
    if state.verdict:
        held = [c.last_at - c.held_since for c in state.checks if c.held_since is not None]
        assert len(held) == len(state.checks)
        assert min(held) >= seconds(settle)
    assert state.due(state.next_due) == ()
