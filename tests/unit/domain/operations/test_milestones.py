"""Which steps of an update's progress become events."""

from hypothesis import given
from hypothesis import strategies as st

from tendhost.server.domain.operations.milestones import MOST, Milestones
from tendhost.server.domain.operations.operation import JobProgress

ANY = st.builds(
    JobProgress,
    package=st.sampled_from(("", "web", "db")),
    percent=st.floats(0, 100),
    phase=st.sampled_from(("download", "unpack", "configure", "compose", "error", "other")),
)


def told(steps: list[JobProgress]) -> list[JobProgress]:
    milestones, found = Milestones(), []
    for step in steps:
        following = milestones.after(step)
        if following is not None:
            milestones = following
            found.append(step)
    return found


def progress(phase: str, *percents: float) -> list[JobProgress]:
    return [JobProgress(package="web", percent=percent, phase=phase) for percent in percents]


def test_milestones__of_a_small_update_are_all_that_it_does():
    steps = [*progress("download", 100.0), *progress("unpack", 50.0), *progress("configure", 75.0)]
    assert told(steps) == steps


def test_milestones__of_a_large_update_are_quarters():
    steps = progress("unpack", *(n / 10 for n in range(1001)))
    assert [step.percent for step in told(steps)] == [0.0, 0.1, 25.1, 50.1, 75.1]


def test_milestones__do_not_begin_again_where_a_host_counts_again():
    steps = progress("unpack", *(0.0, 50.0, 100.0) * 1000)
    assert len(told(steps)) == 3


@given(st.lists(ANY, max_size=200))
def test_milestones__are_few_whatever_a_host_tells(steps: list[JobProgress]):
    assert len(told(steps)) <= MOST
    assert not steps or told(steps)[0] == steps[0]
