"""Members that get another chance with a retry, against an oracle that asks every host."""

from hypothesis import given
from hypothesis import strategies as st

from tendhost.server.domain.rollouts.retries import another_chance
from tendhost.server.domain.rollouts.rollout import MemberStatus
from tests.unit.domain.rollouts.test_prerequisites import Example, hosts, pairs, stages

M = MemberStatus
ended = st.sampled_from([status for status in M if status.ended])


@given(hosts, pairs, stages, st.data())
def test_member_with_another_chance__has_no_prerequisite_that_stays_without_success(
    tags, pairs, stages, data
):
    example = Example(tags, pairs, stages)
    for number in range(len(tags)):
        example.move(number, data.draw(ended))
    members = example.members
    retried = [m for m in members if m.status.failed and data.draw(st.booleans())]
    skipped = [m for m in members if m.status is M.SKIPPED and data.draw(st.booleans())]
    found = another_chance(example.rollout, retried, skipped)
    assert len(found) == len({member.host for member in found})
    chosen = {member.host for member in (*retried, *found)}
    for member in skipped:
        before = [other for other, _ in example.before(member.position)]
        may = all(o.status is M.COMPLETED or o.host in chosen for o in before)
        assert (member in found) is may, member


def test_member_with_another_chance__gives_one_to_those_behind_it():
    chain = [(("db", "app"), True), (("app", "web"), True)]
    example = Example([("web",), ("app",), ("db",), ("db",)], chain, [])
    for number, status in enumerate((M.SKIPPED, M.SKIPPED, M.FAILED, M.COMPLETED)):
        example.move(number, status)
    web, app, db, _ = example.members
    assert set(another_chance(example.rollout, [db], [web, app])) == {web, app}
    assert another_chance(example.rollout, [db], [web]) == []
    assert another_chance(example.rollout, [], [web, app]) == []
