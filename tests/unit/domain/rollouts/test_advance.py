"""Rollouts as a model: whatever ends, fails, pauses or is late, budgets hold and every count adds up."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from tendhost.server.domain.hosts.selection import HostFilter
from tendhost.server.domain.rollouts.advance import (
    CheckWave,
    Enter,
    Leave,
    Save,
    SkipRest,
    Start,
    Wait,
    advance,
    after_wave_check,
    expired,
)
from tendhost.server.domain.rollouts.budgets import overspent
from tendhost.server.domain.rollouts.rollout import (
    Halt,
    HaltCause,
    Member,
    MemberStatus,
    Rollout,
    RolloutProgress,
    RolloutSpec,
    RolloutStatus,
    WaitingFor,
    Wave,
)
from tendhost.server.domain.rollouts.rollout_update import RolloutUpdate, entered, estimated_end
from tendhost.server.domain.rollouts.settling import settling_from
from tendhost.server.domain.rollouts.waves import Candidate, Division, wave_plan

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
M, R = MemberStatus, RolloutStatus
DELAY = timedelta(seconds=30)
AT_ONCE = 8


class Carried:
    """A rollout carried forward by hand: what the engine does, without a store and without hosts."""

    def __init__(self, hosts: int, spec: RolloutSpec, *, at_once: int = AT_ONCE) -> None:
        names = [Candidate(name=f"h{n:03}") for n in range(hosts)]
        cuts = wave_plan(spec.division, names)
        self.at_once = at_once
        self.now = NOW
        self.started: list[str] = []
        self.unhealthy: dict[str, str] = {}
        self.looks: list[datetime] = []
        self.waves = [
            Wave(
                rollout="r",
                number=number,
                progress=RolloutProgress(total_hosts=len(cut.hosts), pending=len(cut.hosts)),
                expected=timedelta(minutes=5),
            )
            for number, cut in enumerate(cuts)
        ]
        placed = [(number, name) for number, cut in enumerate(cuts) for name in cut.hosts]
        self.members = {
            name: Member(rollout="r", host=name, wave=number, position=position)
            for position, (number, name) in enumerate(placed)
        }
        self.rollout = Rollout(
            id="r",
            spec=spec,
            created_at=NOW,
            progress=RolloutProgress(total_hosts=hosts, pending=hosts),
            waves=len(cuts),
        )

    def move(self, name: str, to: MemberStatus, **changes: object) -> None:
        member = self.members[name]
        update = RolloutUpdate(self.rollout)
        update.move(member, to, **changes)
        updated = update.applied([self.waves[number] for number in update.waves], self.now)
        self.rollout = updated.rollout
        for wave in updated.waves:
            self.waves[wave.number] = wave
        (self.members[name],) = updated.members

    def of(self, *statuses: MemberStatus) -> list[str]:
        return [name for name, m in self.members.items() if m.status in statuses]

    @property
    def wave(self) -> Wave:
        return self.waves[self.rollout.wave]

    def startable(self) -> list[str]:
        current = self.rollout.wave
        return [
            m.host
            for m in self.members.values()
            if m.wave == current
            and not m.status.begun
            and (m.not_before is None or m.not_before <= self.now)
        ]

    def step(self) -> bool:
        """Carry out one decision; whether there was one to carry out."""
        decision = advance(self.rollout, self.wave, self.now, at_once=self.at_once)
        assert advance(self.rollout, self.wave, self.now, at_once=self.at_once) == decision
        match decision:
            case Start(room=room):
                chosen = self.startable()[:room]
                for name in chosen:
                    self.started.append(name)
                    self.move(name, M.IN_PROGRESS)
                return bool(chosen)
            case Enter(rollout=moved):
                self.rollout = entered(moved, self.wave)
                self.waves[moved.wave] = replace(self.wave, started_at=self.now)
            case Leave(rollout=moved):
                self.waves[moved.wave] = replace(self.wave, ended_at=self.now)
                self.rollout = moved
            case Save(rollout=moved):
                self.rollout = moved
            case CheckWave(rollout=looking):
                self.looks.append(self.now)
                unhealthy = {
                    n: words for n, words in self.unhealthy.items() if n in self.of(M.COMPLETED)
                }
                self.rollout, wave = after_wave_check(
                    looking, self.wave, self.now, unhealthy=unhealthy, reboots_left={}
                )
                self.waves[wave.number] = wave
            case SkipRest():
                for name in self.of(M.PENDING, M.WAITING):
                    self.move(name, M.SKIPPED)
            case Wait(until=until):
                assert until is None or until > self.now
                return False
        return True

    def settle(self) -> None:
        """Carry out decisions until something else has to happen first."""
        for _ in range(10 * len(self.members) + 50):
            if self.rollout.over or not self.step():
                return
        raise AssertionError("a rollout that never comes to rest")

    def drain(self, end: Callable[[str], MemberStatus]) -> None:
        """Go on until it is over or rests, with members that end as `end` says."""
        while True:
            self.settle()
            running = self.of(M.IN_PROGRESS)
            if running:
                self.move(running[0], end(running[0]))
            elif self.rollout.over or self.rollout.status in (R.HALTED, R.PAUSED):
                return
            else:
                waiting = [m.not_before for m in self.members.values() if m.not_before]
                settling = self.rollout.settling
                soon = [self.rollout.next_wave_at, self.rollout.approval_until, *waiting]
                if settling is not None:
                    soon = [settling.next_look_at]
                self.now = max(self.now, min(at for at in soon if at is not None))


def spec(*waves: str, **how: object) -> RolloutSpec:
    division = Division(waves=waves or ("2",))
    return RolloutSpec(filter=HostFilter(), division=division, **how)  # type: ignore[arg-type]


outcomes = st.sampled_from([M.COMPLETED, M.FAILED, M.ROLLED_BACK, M.SKIPPED])
budgets = st.sampled_from(["", "0", "1", "3", "10%", "50%", "100%"])


@given(st.integers(1, 40), st.sampled_from(["1", "3", "40%", "rest"]), st.data())
def test_every_host_is_started_once_in_order(hosts, size, data):
    carried = Carried(hosts, spec(size))
    carried.drain(lambda _: data.draw(outcomes))
    assert carried.rollout.status is R.COMPLETED
    assert carried.started == list(carried.members)
    assert carried.now - NOW == DELAY * (carried.rollout.waves - 1)
    assert all(wave.started_at and wave.ended_at for wave in carried.waves)


def test_the_example_of_the_contract_halts_as_it_is_told_there():
    carried = Carried(6, spec("1", "50%", "rest", max_failures="1"))
    a, b, c, d, e, f = carried.members
    carried.settle()
    assert carried.of(M.IN_PROGRESS) == [a]
    carried.move(a, M.COMPLETED)
    carried.settle()
    carried.now += DELAY
    carried.settle()
    assert carried.of(M.IN_PROGRESS) == [b, c, d]
    carried.move(b, M.FAILED)
    carried.settle()
    statuses = [carried.rollout.status]
    carried.move(c, M.FAILED)
    carried.settle()
    statuses.append(carried.rollout.status)
    assert statuses == [R.RUNNING, R.HALTED]
    halt = carried.rollout.halt
    assert halt is not None
    assert (halt.cause, halt.hosts) == (HaltCause.FAILURES, (b, c))
    assert halt.message == f"2 failed, more than max_failures = 1: {b}, {c}"
    assert carried.of(M.IN_PROGRESS) == [d]
    carried.move(d, M.COMPLETED)
    carried.settle()
    assert carried.of(M.PENDING) == [e, f]


@given(st.integers(1, 40), budgets, st.data())
def test_nothing_starts_once_the_budget_is_spent(hosts, max_failures, data):
    carried = Carried(hosts, spec("5", max_failures=max_failures))
    failures: set[str] = set()

    def end(name: str) -> MemberStatus:
        begun = len(carried.started)
        if overspent(max_failures, carried.rollout.progress):
            assert len(carried.started) == begun
        outcome: MemberStatus = data.draw(outcomes)
        if outcome.failed:
            failures.add(name)
        return outcome

    carried.drain(end)
    limit = len(failures) + 1
    if max_failures:
        percent = max_failures.endswith("%")
        number = int(max_failures.rstrip("%"))
        limit = hosts * number // 100 if percent else number
    if len(failures) > limit:
        assert carried.rollout.status is R.HALTED
        assert carried.rollout.halt is not None
        assert carried.rollout.halt.cause is HaltCause.FAILURES
        assert set(carried.rollout.halt.hosts) <= failures
    else:
        assert carried.rollout.status is R.COMPLETED


@pytest.mark.parametrize("waves", [("rest",), ("1", "rest"), ("2", "1")])
def test_failure_budget__halts_in_the_last_wave_as_in_any_other(waves: tuple[str, ...]):
    carried = Carried(3, spec(*waves, max_failures="0"))
    carried.drain(lambda name: M.FAILED if name == "h002" else M.COMPLETED)
    assert carried.rollout.status is R.HALTED
    assert carried.rollout.halt is not None
    assert carried.rollout.halt.hosts == ("h002",)
    # With a greater budget nothing is left to do.
    greater = replace(carried.rollout.spec, max_failures="1")
    carried.rollout = replace(carried.rollout, spec=greater, status=R.RUNNING, halt=None)
    carried.settle()
    assert carried.rollout.status is R.COMPLETED
    assert carried.waves[-1].ended_at is not None


def test_each_wave_but_the_first_waits_for_its_approval_and_halts_without_it():
    carried = Carried(3, spec("1", approve_waves=True, approval_timeout=timedelta(hours=1)))
    carried.settle()
    carried.move("h000", M.COMPLETED)
    carried.settle()
    carried.now += DELAY
    carried.settle()
    assert carried.rollout.status is R.AWAITING_APPROVAL
    assert carried.rollout.approval_until == carried.now + timedelta(hours=1)
    approved = replace(carried.rollout, status=R.RUNNING, approved_wave=1, approval_until=None)
    carried.rollout = approved
    carried.settle()
    assert carried.of(M.IN_PROGRESS) == ["h001"]
    carried.move("h001", M.COMPLETED)
    carried.settle()
    carried.now += DELAY
    carried.settle()
    carried.now += timedelta(hours=1)
    carried.settle()
    assert carried.rollout.status is R.HALTED
    assert carried.rollout.halt is not None
    assert carried.rollout.halt.cause is HaltCause.APPROVAL
    assert carried.of(M.PENDING) == ["h002"]


@given(st.integers(2, 20), st.integers(1, 7200), st.data())
def test_no_wave_begins_before_its_former_one_was_healthy_for_as_long_as_was_asked(
    hosts, seconds, data
):
    settle = timedelta(seconds=seconds)
    carried = Carried(hosts, spec("30%", settle=settle))
    carried.drain(lambda _: data.draw(outcomes))
    assert carried.rollout.status is R.COMPLETED
    assert carried.rollout.settling is None
    for former, wave in pairwise(carried.waves):
        pause = DELAY
        assert former.ended_at is not None
        assert wave.started_at is not None
        if former.progress.completed:
            assert former.settled_at is not None
            assert former.settled_at - former.ended_at >= DELAY + settle
            assert former.settled_at in carried.looks
            pause += settle
        else:
            assert former.settled_at is None
        assert wave.started_at - former.ended_at >= pause
    assert all(wave.settled_at is None for wave in carried.waves[-1:])
    settled = sum(wave.settled_at is not None for wave in carried.waves)
    assert len(carried.looks) <= 11 * settled


@pytest.mark.parametrize("passed", [timedelta(), DELAY + timedelta(minutes=5)])
def test_a_clock_that_is_put_back_keeps_no_wave_waiting(passed: timedelta):
    settle = timedelta(minutes=10)
    carried = Carried(2, spec("1", settle=settle))
    carried.settle()
    carried.move("h000", M.COMPLETED)
    carried.settle()
    carried.now += passed
    carried.settle()
    carried.now -= timedelta(days=1)
    put_back = carried.now
    while not carried.of(M.IN_PROGRESS):
        carried.settle()
        carried.now += timedelta(seconds=10)
        assert carried.now - put_back < timedelta(hours=1)
    # The time that has to pass is measured anew.
    assert carried.wave.started_at is not None
    assert carried.wave.started_at - put_back >= settle


def test_an_unhealthy_host_halts_between_waves_and_a_resumed_wave_settles_anew():
    carried = Carried(3, spec("2", settle=timedelta(minutes=10)))
    carried.settle()
    for name in ("h000", "h001"):
        carried.move(name, M.COMPLETED)
    carried.settle()
    carried.now += DELAY
    carried.settle()
    carried.unhealthy = {"h001": "failed units: web.service"}
    carried.now += timedelta(minutes=1)
    carried.settle()
    halt = carried.rollout.halt
    assert halt is not None
    assert (halt.cause, halt.hosts) == (HaltCause.UNHEALTHY, ("h001",))
    assert halt.message == "wave 1 did not stay healthy: h001: failed units: web.service"
    carried.unhealthy = {}
    carried.now += timedelta(hours=1)
    carried.rollout = replace(carried.rollout, status=R.RUNNING, halt=None)
    resumed = carried.now
    while not carried.of(M.IN_PROGRESS):
        carried.settle()
        carried.now += timedelta(seconds=20)
    assert carried.wave.started_at is not None
    assert carried.wave.started_at - resumed >= timedelta(minutes=10)


@given(st.integers(1, 3600), st.integers(0, 4000))
def test_the_estimate_counts_the_rest_of_the_settling_time(seconds, later):
    settle = timedelta(seconds=seconds)
    carried = Carried(2, spec("1", settle=settle))
    carried.settle()
    carried.rollout = replace(carried.rollout, expected_rest=DELAY + settle + timedelta(minutes=5))
    carried.move("h000", M.COMPLETED)
    carried.settle()
    ended = carried.now
    carried.now += DELAY
    carried.step()
    carried.now += min(timedelta(seconds=later), settle)
    end = estimated_end(carried.rollout, carried.wave, carried.now)
    assert end == ended + DELAY + settle + timedelta(minutes=5)


def test_a_rollout_that_expires_skips_what_has_not_begun():
    carried = Carried(3, spec("1", expires_after=timedelta(hours=1)))
    carried.settle()
    carried.now += timedelta(hours=1)
    carried.settle()
    assert (carried.rollout.status, carried.rollout.over) == (R.EXPIRED, False)
    carried.move("h000", M.COMPLETED)
    carried.settle()
    assert carried.rollout.over
    assert carried.rollout.progress.skipped == 2


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"status": R.PAUSED}, "the rollout was paused"),
        ({"status": R.AWAITING_APPROVAL}, "nobody had approved wave 2"),
        ({"next_wave_at": NOW}, "the pause after wave 1 of 3 had not passed"),
        ({"settling": settling_from(NOW, DELAY)}, "wave 1 of 3 had not settled"),
        ({}, "wave 1 of 3 had not ended"),
        (
            {
                "status": R.HALTED,
                "halt": Halt(cause=HaltCause.FAILURES, message="2 failed: a, b", at=NOW),
            },
            "the rollout had halted: 2 failed: a, b",
        ),
    ],
)
def test_expired_rollout__remembers_what_it_waited_for(changes, cause):
    carried = Carried(3, spec("1"))
    after = expired(replace(carried.rollout, **changes))
    assert (after.status, after.expired_while) == (R.EXPIRED, cause)


def test_estimate__expects_no_end_while_every_host_that_is_left_waits():
    carried = Carried(3, spec("2"))
    carried.settle()
    carried.move("h000", M.COMPLETED)
    carried.move("h001", M.WAITING, waiting=WaitingFor.WINDOW)
    assert estimated_end(carried.rollout, carried.wave, carried.now) is None
    carried.move("h001", M.IN_PROGRESS)
    assert estimated_end(carried.rollout, carried.wave, carried.now) is not None


@given(st.integers(1, 30), st.integers(0, 30))
def test_the_estimate_of_the_end_comes_nearer_with_every_host(hosts, ended):
    carried = Carried(hosts, spec("rest"), at_once=hosts)
    carried.settle()
    ends = [estimated_end(carried.rollout, carried.wave, carried.now)]
    for name in carried.of(M.IN_PROGRESS)[:ended]:
        carried.move(name, M.COMPLETED)
        ends.append(estimated_end(carried.rollout, carried.wave, carried.now))
    assert all(end is not None for end in ends)
    assert ends == sorted(ends, key=lambda end: end or NOW, reverse=True)
    assert ends[0] == carried.now + timedelta(minutes=5)


class RolloutModel(RuleBasedStateMachine):
    """Users, hosts and the clock, in any order."""

    @initialize(
        hosts=st.integers(1, 25),
        waves=st.lists(st.sampled_from(["1", "3", "25%"]), min_size=1, max_size=3),
        max_failures=budgets,
        approve=st.booleans(),
        expires=st.sampled_from([None, timedelta(hours=2)]),
        settle=st.sampled_from([timedelta(), timedelta(minutes=20)]),
        at_once=st.integers(1, 6),
    )
    def begin(self, hosts, waves, max_failures, approve, expires, settle, at_once):
        self.carried = Carried(
            hosts,
            spec(
                *waves,
                max_failures=max_failures,
                approve_waves=approve,
                expires_after=expires,
                settle=settle,
            ),
            at_once=at_once,
        )
        self.retried: set[str] = set()
        self.begun_when_spent: int | None = None

    @property
    def rollout(self) -> Rollout:
        return self.carried.rollout

    @rule(steps=st.integers(1, 5))
    def go_on(self, steps):
        before = len(self.carried.started)
        resting = self.rollout.status not in (R.RUNNING, R.AWAITING_APPROVAL)
        spent = overspent(self.rollout.spec.max_failures, self.rollout.progress)
        for _ in range(steps):
            self.carried.step()
        if resting or spent:
            assert len(self.carried.started) == before

    @rule(outcome=outcomes, data=st.data())
    def a_host_ends(self, outcome, data):
        running = self.carried.of(M.IN_PROGRESS)
        if running:
            self.carried.move(data.draw(st.sampled_from(running)), outcome)

    @rule(data=st.data(), minutes=st.integers(1, 90))
    def a_host_has_to_wait_for_its_window(self, data, minutes):
        pending = [n for n in self.carried.startable() if self.rollout.status is R.RUNNING]
        if pending:
            opens = self.carried.now + timedelta(minutes=minutes)
            self.carried.move(
                data.draw(st.sampled_from(pending)),
                M.WAITING,
                waiting=WaitingFor.WINDOW,
                not_before=opens,
            )

    @rule(seconds=st.integers(-120, 7200))
    def the_clock_moves_or_jumps(self, seconds):
        self.carried.now += timedelta(seconds=seconds)

    @rule(data=st.data())
    def an_updated_host_falls_ill_or_gets_well(self, data):
        done = self.carried.of(M.COMPLETED)
        ill = data.draw(st.sets(st.sampled_from(done), max_size=2)) if done else ()
        self.carried.unhealthy = dict.fromkeys(ill, "failed units: web.service")

    @precondition(lambda self: self.rollout.status in (R.RUNNING, R.AWAITING_APPROVAL))
    @precondition(lambda self: not self.rollout.over)
    @rule()
    def pause(self):
        self.carried.rollout = replace(self.rollout, status=R.PAUSED, approval_until=None)

    @precondition(lambda self: self.rollout.status in (R.PAUSED, R.HALTED))
    @precondition(lambda self: not self.rollout.over)
    @rule()
    def resume(self):
        if not overspent(self.rollout.spec.max_failures, self.rollout.progress):
            self.carried.rollout = replace(self.rollout, status=R.RUNNING, halt=None, settling=None)

    @precondition(lambda self: self.rollout.status is R.AWAITING_APPROVAL)
    @rule()
    def approve(self):
        self.carried.rollout = replace(
            self.rollout,
            status=R.RUNNING,
            approval_until=None,
            approved_wave=self.rollout.wave + 1,
        )

    @precondition(lambda self: not self.rollout.over)
    @rule()
    def cancel(self):
        self.carried.rollout = replace(self.rollout, status=R.CANCELLED, halt=None)

    @precondition(lambda self: self.rollout.status in (R.RUNNING, R.HALTED, R.PAUSED))
    @precondition(lambda self: not self.rollout.over)
    @rule()
    def retry(self):
        failed = self.carried.of(M.FAILED, M.ROLLED_BACK)
        for name in failed:
            self.retried.add(name)
            self.carried.move(name, M.PENDING, wave=self.rollout.wave)
        if failed:
            self.carried.waves[self.rollout.wave] = replace(
                self.carried.wave, ended_at=None, settled_at=None
            )
            self.carried.rollout = replace(
                self.rollout, status=R.RUNNING, halt=None, next_wave_at=None, settling=None
            )

    @invariant()
    def every_count_adds_up(self):
        if not hasattr(self, "carried"):
            return
        members = self.carried.members.values()
        for wave in self.carried.waves:
            of_wave = [m.status for m in members if m.wave == wave.number]
            assert wave.progress.total_hosts == len(of_wave)
            for status in M:
                assert getattr(wave.progress, status.value) == of_wave.count(status)
        total = sum(
            (w.progress for w in self.carried.waves), RolloutProgress(total_hosts=0, pending=0)
        )
        assert total == self.rollout.progress

    @invariant()
    def no_more_than_may_be_are_under_way(self):
        if hasattr(self, "carried"):
            assert len(self.carried.of(M.IN_PROGRESS)) <= self.carried.at_once

    @invariant()
    def no_host_is_begun_twice_unless_it_was_retried(self):
        if hasattr(self, "carried"):
            again = {n for n in self.carried.started if self.carried.started.count(n) > 1}
            assert again <= self.retried

    @invariant()
    def nothing_has_begun_beyond_the_current_wave(self):
        if hasattr(self, "carried"):
            ahead = [m for m in self.carried.members.values() if m.wave > self.rollout.wave]
            assert all(m.status in (M.PENDING, M.SKIPPED) for m in ahead)

    @invariant()
    def waves_that_settle_did_so_before_the_next_one_began(self):
        if hasattr(self, "carried") and self.rollout.spec.settles:
            for former in self.carried.waves[: self.rollout.wave]:
                assert former.settled_at is not None or not former.progress.completed

    @invariant()
    def what_is_over_has_no_host_under_way(self):
        if hasattr(self, "carried") and self.rollout.over:
            assert not self.carried.of(M.PENDING, M.WAITING, M.IN_PROGRESS)

    def teardown(self):
        """From wherever it is, it comes to its end once nobody interferes any more."""
        if not hasattr(self, "carried") or self.rollout.over:
            return
        self.carried.unhealthy = {}
        self.carried.rollout = replace(
            self.rollout,
            status=R.RUNNING if self.rollout.status is not R.CANCELLED else R.CANCELLED,
            halt=None,
            spec=replace(self.rollout.spec, max_failures="", approve_waves=False),
        )
        self.carried.drain(lambda _: M.COMPLETED)
        assert self.rollout.over


TestRolloutModel = RolloutModel.TestCase
TestRolloutModel.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
