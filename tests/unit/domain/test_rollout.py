"""Rollouts: batches in order, progress that always adds up, and a decision that can be asked twice."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from tendhost.server.domain.rollout import (
    Member,
    MemberStatus,
    Progress,
    Rollout,
    RolloutSpec,
    RolloutStatus,
    Save,
    SkipRest,
    Start,
    Wait,
    advance,
    batch_of,
)
from tendhost.server.domain.selection import HostFilter

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
M, R = MemberStatus, RolloutStatus
DELAY = timedelta(seconds=30)


def rollout(hosts: int, batch_size: int) -> tuple[Rollout, list[Member]]:
    members = [
        Member(rollout="r", host=f"h{n:03}", batch=batch_of(n, batch_size)) for n in range(hosts)
    ]
    return (
        Rollout(
            id="r",
            spec=RolloutSpec(filter=HostFilter(), batch_size=batch_size),
            created_at=NOW,
            progress=Progress(total_hosts=hosts, pending=hosts),
            batches=batch_of(hosts - 1, batch_size) + 1,
        ),
        members,
    )


class Carried:
    """A rollout carried forward by hand: what the engine does, without a store and without hosts."""

    def __init__(self, hosts: int, batch_size: int) -> None:
        self.rollout, self.members = rollout(hosts, batch_size)
        self.now = NOW
        self.started: list[list[str]] = []
        self.most_at_once = 0

    def move(self, host: str, to: MemberStatus) -> None:
        position = int(host[1:])
        member = self.members[position]
        progress = self.rollout.progress.moved(member.status, to)
        self.rollout = replace(self.rollout, progress=progress)
        self.members[position] = replace(member, status=to)
        self.most_at_once = max(self.most_at_once, progress.in_progress)

    def step(self, end: Callable[[str], MemberStatus]) -> None:
        batch = [m for m in self.members if m.batch == self.rollout.batch]
        decision = advance(self.rollout, batch, self.now)
        assert advance(self.rollout, batch, self.now) == decision
        match decision:
            case Start(hosts=hosts):
                self.started.append(list(hosts))
                for host in hosts:
                    self.move(host, M.IN_PROGRESS)
            case Save(rollout=moved):
                self.rollout = moved
            case SkipRest():
                for member in list(self.members):
                    if member.status is M.PENDING:
                        self.move(member.host, M.SKIPPED)
            case Wait(until=None):
                running = next(m.host for m in self.members if m.status is M.IN_PROGRESS)
                self.move(running, end(running))
            case Wait(until=until):
                assert until is not None
                self.now = until


outcomes = st.sampled_from([M.COMPLETED, M.FAILED, M.SKIPPED])


@given(st.integers(1, 40), st.integers(1, 12), st.data())
def test_every_host_is_started_once_in_order_and_the_progress_adds_up(hosts, size, data):
    carried = Carried(hosts, size)
    for _ in range(10 * hosts + 10):
        if carried.rollout.over:
            break
        carried.step(lambda _: data.draw(outcomes))
        progress = carried.rollout.progress
        parts = (progress.pending, progress.in_progress, progress.completed)
        assert sum(parts) + progress.failed + progress.skipped == hosts
        assert min(parts) >= 0
    assert carried.rollout.status is R.COMPLETED
    flat = [host for batch in carried.started for host in batch]
    assert flat == [m.host for m in carried.members]
    assert carried.most_at_once <= size
    waited = carried.now - NOW
    assert waited == DELAY * (carried.rollout.batches - 1)


@given(st.integers(1, 40), st.integers(1, 12), st.integers(0, 30), st.data())
def test_a_cancelled_rollout_starts_nothing_more_and_ends_when_the_running_hosts_have(
    hosts, size, steps, data
):
    carried = Carried(hosts, size)
    for _ in range(steps):
        if carried.rollout.over:
            return
        carried.step(lambda _: data.draw(outcomes))
    if carried.rollout.over:
        return
    carried.rollout = replace(carried.rollout, status=R.CANCELLED)
    begun = len(carried.started)
    for _ in range(2 * hosts + 2):
        if carried.rollout.over:
            break
        carried.step(lambda _: data.draw(outcomes))
    assert carried.rollout.over
    assert carried.rollout.progress.pending == carried.rollout.progress.in_progress == 0
    assert len(carried.started) == begun


def test_a_paused_rollout_waits_for_a_word():
    paused, members = rollout(4, 2)
    assert advance(replace(paused, status=R.PAUSED), members[:2], NOW) == Wait()


def test_the_next_batch_waits_for_the_delay():
    running, members = rollout(4, 2)
    done = [replace(m, status=M.COMPLETED) for m in members[:2]]
    decision = advance(running, done, NOW)
    assert isinstance(decision, Save)
    assert decision.rollout.next_batch_at == NOW + DELAY
    assert advance(decision.rollout, done, NOW) == Wait(until=NOW + DELAY)
    following = advance(decision.rollout, done, NOW + DELAY)
    assert isinstance(following, Save)
    assert (following.rollout.batch, following.rollout.next_batch_at) == (1, None)
