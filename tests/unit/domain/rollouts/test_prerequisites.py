"""Hosts that must succeed before others, against an oracle that asks every host."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tendhost.server.domain.hosts.selection import HostFilter
from tendhost.server.domain.rollouts.prerequisites import (
    Dependence,
    MissingPrerequisites,
    after_move,
    missing,
    prerequisites_of,
)
from tendhost.server.domain.rollouts.rollout import (
    Member,
    MemberStatus,
    Rollout,
    RolloutProgress,
    RolloutSpec,
)
from tendhost.server.domain.rollouts.rollout_update import RolloutUpdate
from tendhost.server.domain.rollouts.waves import (
    Candidate,
    Dependency,
    Division,
    Stage,
    dependence_by_tags,
    wave_plan,
)
from tests.unit.domain.rollouts.test_advance import NOW

TAGS = ("db", "app", "web", "zoo")
CHAIN = (("db", "app"), ("app", "web"), ("zoo", "web"), ("db", "web"))
M = MemberStatus

hosts = st.lists(st.lists(st.sampled_from(TAGS), unique=True).map(tuple), min_size=1, max_size=8)
pairs = st.lists(
    st.tuples(st.sampled_from(CHAIN), st.booleans()),
    min_size=1,
    max_size=4,
    unique_by=lambda p: p[0],
)
stages = st.lists(st.sampled_from(TAGS), max_size=2, unique=True)
statuses = st.sampled_from(M)


class Example:
    """A rollout of hosts with these tags, with the oracle that asks every host."""

    def __init__(self, tags, pairs, stages) -> None:
        self.tags, self.pairs = tags, pairs
        division = Division(
            waves=("rest",),
            stages=tuple(Stage(tag=tag) for tag in stages),
            dependencies=tuple(
                Dependency(before=before, after=after, only_if_succeeded=strict)
                for (before, after), strict in pairs
            ),
        )
        candidates = [Candidate(name=str(number), tags=each) for number, each in enumerate(tags)]
        waves = wave_plan(division, candidates, require_tags=False)
        self.wave_of = {name: number for number, wave in enumerate(waves) for name in wave.hosts}
        depends = dependence_by_tags(division)
        self.members = [
            Member(rollout="r", host=c.name, wave=0, position=n, dependence=depends(c.tags))
            for n, c in enumerate(candidates)
        ]
        count = len(self.members)
        self.rollout = Rollout(
            id="r",
            spec=RolloutSpec(filter=HostFilter(), division=division),
            created_at=NOW,
            progress=RolloutProgress(total_hosts=count, pending=count),
            waves=len(waves),
            prerequisites=prerequisites_of([m.dependence for m in self.members], ()),
        )

    def move(self, number: int, to: MemberStatus) -> None:
        update = RolloutUpdate(self.rollout)
        update.move(self.members[number], to)
        self.rollout, self.members[number] = update.rollout, update.members[0]

    def before(self, number: int) -> list[tuple[Member, str]]:
        """The members that must succeed before this one, each with the tag that says so."""
        # With waves of any size, a wave is a rank: it has all the hosts of one stage and depth.
        return [
            (other, pair[0])
            for other, other_tags in zip(self.members, self.tags, strict=True)
            for pair, strict in self.pairs
            if strict
            and pair[1] in self.tags[number]
            and pair[0] in other_tags
            and self.wave_of[other.host] < self.wave_of[self.members[number].host]
        ]


@given(hosts, pairs, stages, st.data())
def test_missing_prerequisites__are_those_that_asking_every_host_finds(tags, pairs, stages, data):
    example = Example(tags, pairs, stages)
    for _ in range(2):
        for number in range(len(tags)):
            example.move(number, data.draw(statuses))
    for number, member in enumerate(example.members):
        of_member = {other.host for other, _ in example.before(number)}
        counted = (o.host for o in example.members if o.dependence.counts_for(member.dependence))
        assert set(counted) == of_member
        before = [(other.status, tag) for other, tag in example.before(number)]
        unfinished = {tag for status, tag in before if not status.ended}
        wrong = {tag for status, tag in before if status.ended and status is not M.COMPLETED}
        found = missing(example.rollout.prerequisites, member.dependence)
        if not unfinished and not wrong:
            assert found is None
        else:
            assert found is not None
            assert (set(found.unfinished), set(found.unsuccessful)) == (unfinished, wrong)


def test_host_with_both_tags__waits_for_the_earlier_ones_and_not_for_itself():
    division = Division(
        dependencies=(Dependency(before="db", after="app", only_if_succeeded=True),)
    )
    depends = dependence_by_tags(division)
    db, both, app, other = (depends(t) for t in (("db",), ("db", "app"), ("app",), ("web",)))
    found = prerequisites_of((db, both, app, other), ())
    assert missing(found, both) == missing(found, app)
    assert missing(found, app) == MissingPrerequisites(unfinished=("db",), unsuccessful=())
    done = after_move(found, db, ended=1, succeeded=1)
    assert missing(done, both) is missing(done, app) is None
    assert other == Dependence()


@pytest.mark.parametrize(("ended", "succeeded"), [(1, 0), (1, 1)])
def test_prerequisite_that_was_excluded_at_the_start__has_not_succeeded(ended, succeeded):
    depends = dependence_by_tags(
        Division(dependencies=(Dependency(before="db", after="app", only_if_succeeded=True),))
    )
    found = prerequisites_of((depends(("db",)), depends(("app",))), (depends(("db",)),))
    found = after_move(found, depends(("db",)), ended=ended, succeeded=succeeded)
    assert missing(found, depends(("app",))) == MissingPrerequisites(
        unfinished=(), unsuccessful=("db",)
    )
