"""How hosts are divided into waves."""

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tendhost.server.domain.request_errors import InvalidArgument
from tendhost.server.domain.rollouts.share import HostCount
from tendhost.server.domain.rollouts.waves import (
    Candidate,
    Dependency,
    Division,
    HostOrder,
    Stage,
    require_sound,
    wave_plan,
)

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
TAGS = ("canary", "staging", "db", "app", "web")

sizes = st.one_of(
    st.integers(1, 30).map(str), st.integers(1, 100).map(lambda percent: f"{percent}%")
)
wave_sizes = st.tuples(st.lists(sizes, max_size=4), st.booleans()).map(
    lambda drawn: (*drawn[0], "rest") if drawn[1] or not drawn[0] else tuple(drawn[0])
)
dates = st.none() | st.integers(0, 400).map(lambda days: NOW - timedelta(days=days))
fleets = st.lists(
    st.tuples(st.lists(st.sampled_from(TAGS), unique=True, max_size=3), dates), max_size=60
).map(
    lambda drawn: [
        Candidate(name=f"h{number:02}", tags=tuple(tags), last_updated=updated)
        for number, (tags, updated) in enumerate(drawn)
    ]
)


def hosts(count: int, *tags: str) -> list[Candidate]:
    return [Candidate(name=f"h{number:03}", tags=tags) for number in range(count)]


def lengths(division: Division, count: int) -> list[int]:
    return [len(wave.hosts) for wave in wave_plan(division, hosts(count))]


@pytest.mark.parametrize(
    ("waves", "count", "expected"),
    [
        (("1", "5", "20%", "rest"), 100, [1, 5, 20, 74]),
        (("1", "20%"), 100, [1, 20, 20, 20, 20, 19]),
        (("2",), 5, [2, 2, 1]),
        (("50%",), 3, [1, 1, 1]),
        (("10%", "rest"), 4, [1, 3]),
        (("rest",), 7, [7]),
        (("100%",), 7, [7]),
        (("5", "rest"), 3, [3]),
    ],
)
def test_waves_are_as_long_as_they_were_asked_for(waves, count, expected):
    assert lengths(Division(waves=waves), count) == expected


@given(wave_sizes, fleets, st.sampled_from(HostOrder), st.integers(0, 9))
def test_every_host_is_in_exactly_one_wave_and_no_wave_is_empty(waves, fleet, order, seed):
    plan = wave_plan(Division(waves=waves, order=order, seed=seed), fleet)
    flat = [name for wave in plan for name in wave.hosts]
    assert sorted(flat) == sorted(host.name for host in fleet)
    assert all(wave.hosts for wave in plan)


@given(fleets, wave_sizes)
def test_no_host_is_before_one_that_has_to_come_first(fleet, waves):
    tags = {tag for host in fleet for tag in host.tags}
    order = [tag for tag in ("db", "app", "web") if tag in tags]
    pairs = tuple(
        Dependency(before=first, after=later) for first, later in itertools.pairwise(order)
    )
    plan = wave_plan(Division(waves=waves, dependencies=pairs), fleet)
    wave_of = {name: number for number, wave in enumerate(plan) for name in wave.hosts}
    for pair in pairs:
        for first in fleet:
            for later in fleet:
                if pair.before in first.tags and pair.after in later.tags:
                    # A host that has the later tag as well comes with the later ones.
                    later_too = set(first.tags) & set(order[order.index(pair.after) :])
                    assert later_too or wave_of[first.name] < wave_of[later.name]


@given(fleets)
def test_stages_come_one_after_the_other_and_whoever_is_in_none_comes_last(fleet):
    tags = {tag for host in fleet for tag in host.tags}
    stages = tuple(Stage(tag=tag, waves=("1",)) for tag in ("canary", "staging") if tag in tags)
    plan = wave_plan(Division(waves=("rest",), stages=stages), fleet)
    named = [wave.stage for wave in plan]
    ranks = [[*(stage.tag for stage in stages), ""].index(stage) for stage in named]
    assert ranks == sorted(ranks)
    by_name = {host.name: host for host in fleet}
    for wave in plan:
        if wave.stage:
            assert len(wave.hosts) == 1
            assert wave.stage in by_name[wave.hosts[0]].tags
        else:
            for name in wave.hosts:
                assert not {stage.tag for stage in stages} & set(by_name[name].tags)


@given(fleets, st.integers(0, 2**31))
def test_a_seed_gives_the_same_order_every_time(fleet, seed):
    division = Division(waves=("rest",), order=HostOrder.RANDOM, seed=seed)
    assert wave_plan(division, fleet) == wave_plan(division, list(reversed(fleet)))


def test_another_seed_gives_another_order():
    orders = {
        wave_plan(Division(waves=("rest",), order=HostOrder.RANDOM, seed=seed), hosts(50))
        for seed in range(5)
    }
    assert len(orders) == 5


def test_the_longest_not_updated_come_first_and_the_never_updated_before_them():
    fleet = [
        Candidate(name="a", last_updated=NOW),
        Candidate(name="b"),
        Candidate(name="c", last_updated=NOW - timedelta(days=9)),
        Candidate(name="d"),
    ]
    (wave,) = wave_plan(Division(waves=("rest",), order=HostOrder.LAST_UPDATE), fleet)
    assert wave.hosts == ("b", "d", "c", "a")


@pytest.mark.parametrize(
    ("division", "fields"),
    [
        (Division(waves=()), ["waves"]),
        (Division(waves=("0",)), ["waves[0]"]),
        (Division(waves=("0%", "101%")), ["waves[0]", "waves[1]"]),
        (Division(waves=("rest", "5")), ["waves[0]"]),
        (Division(waves=("many",)), ["waves[0]"]),
        (Division(stages=(Stage(tag="a", waves=("0",)),)), ["stages[0].waves[0]"]),
        (Division(stages=(Stage(tag="a"), Stage(tag="a"))), ["stages"]),
        (
            Division(
                dependencies=(
                    Dependency(before="db", after="app"),
                    Dependency(before="app", after="web"),
                    Dependency(before="web", after="db"),
                )
            ),
            ["dependencies"],
        ),
        (Division(dependencies=(Dependency(before="a", after="a"),)), ["dependencies"]),
    ],
)
def test_what_cannot_be_divided_is_refused_by_its_field(division, fields):
    with pytest.raises(InvalidArgument) as refused:
        require_sound(division)
    assert [violation.field for violation in refused.value.violations] == fields


def test_a_circle_is_named_in_the_order_of_its_updates():
    circle = (
        Dependency(before="db", after="app"),
        Dependency(before="app", after="web"),
        Dependency(before="web", after="db"),
        Dependency(before="web", after="lonely"),
    )
    with pytest.raises(InvalidArgument, match="app before web before db before app"):
        require_sound(Division(dependencies=circle))


def test_a_tag_that_no_host_has_is_refused():
    division = Division(
        stages=(Stage(tag="canary"),), dependencies=(Dependency(before="db", after="app"),)
    )
    with pytest.raises(InvalidArgument) as refused:
        wave_plan(division, hosts(3, "app"))
    fields = [violation.field for violation in refused.value.violations]
    assert fields == ["stages[0].tag", "dependencies[0].before"]


@given(st.integers(0, 100), st.integers(0, 10_000))
def test_a_percentage_is_rounded_down(percent, total):
    share = HostCount.parse(f"{percent}%")
    assert share.of(total, at_least=0) == percent * total // 100
    assert share.of(total, at_least=1) == max(1, percent * total // 100)


@pytest.mark.parametrize("text", ["", "-1", "1.5", "101%", "%", "5 %", "٣", "1e3", "1000000"])
def test_what_is_no_share_is_refused(text):
    with pytest.raises(ValueError, match=r"neither a number|more than 100%"):
        HostCount.parse(text)
