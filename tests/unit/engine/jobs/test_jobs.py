"""An upgrade as a detached job: interrupted, lost from sight, refused, and tried again."""

from dataclasses import replace
from datetime import timedelta
from typing import Any, NoReturn

import pytest

from tendhost.server.domain.events import HostConnected, HostDisconnected, StepRetried
from tendhost.server.domain.host_errors import HostError, PrivilegeMissing, ShellUnusable
from tendhost.server.domain.hosts.host import AfterInterruption, Policy
from tendhost.server.domain.hosts.states import HostState
from tendhost.server.domain.operations.operation import (
    Operation,
    OperationKind,
    OperationStatus,
    StepStatus,
)
from tendhost.server.engine.engine import EngineSettings
from tendhost.server.engine.operations.manager import OperationSettings
from tendhost.server.remote import job as jobs
from tendhost.server.remote.job import JobReport
from tests.unit.engine.fake_command import Command
from tests.unit.engine.fake_host import OTHER_KEY, FakeHost, Pending
from tests.unit.engine.world import World, call

K, S = OperationKind, OperationStatus


def steps(operation: Operation) -> list[str]:
    return [str(step.name) for step in operation.steps]


def reason(operation: Operation) -> str:
    return operation.problem.reason if operation.problem else ""


async def in_the_middle(world: World, **config) -> tuple[FakeHost, Operation]:
    """A host whose upgrade is under way, and stays so until `release`."""
    fake = await world.register("web1", **config)
    fake.pending = {"web": Pending()}
    hold = fake.hold(Command.UPGRADE)
    operation = await world.start(K.UPDATE)
    await world.reached(hold)
    return fake, operation


# --- interruptions --------------------------------------------------------------------------------


async def test_an_upgrade_whose_host_goes_down_is_repaired_and_begun_once_more(world: World):
    async with world.running():
        fake, operation = await in_the_middle(world)
        fake.interrupted = True
        fake.boot += 1
        ended = await world.ended(operation.id)
    assert ended.status is S.SUCCEEDED, ended.problem
    assert steps(ended)[3:] == ["apply", "preflight", "list", "apply", "reboot_check", "verify"]
    assert ended.steps[3].status is StepStatus.INTERRUPTED
    assert ended.steps[3].detail.endswith("the host went down while it ran")
    assert ended.update is not None
    assert [c.name for c in ended.update.changes] == ["web"]
    assert (fake.count(Command.UPGRADE), fake.count(Command.REPAIR)) == (2, 1)
    assert (fake.jobs.jobs, fake.jobs.epochs) == ({}, {})


async def test_an_upgrade_that_is_killed_twice_is_given_up_repaired(world: World):
    async with world.running():
        fake, operation = await in_the_middle(world)
        hold = fake.hold(Command.UPGRADE)
        fake.jobs.kill()
        await world.reached(hold)
        fake.jobs.kill()
        ended = await world.ended(operation.id)
    assert reason(ended) == "INTERRUPTED"
    assert steps(ended)[-3:] == ["apply", "preflight", "reboot_check"]
    assert fake.count(Command.UPGRADE) == 2


async def test_a_repair_that_is_interrupted_itself_is_begun_once_more(world: World):
    async with world.running():
        fake, operation = await in_the_middle(world)
        fake.interrupted = True
        hold = fake.hold(Command.REPAIR)
        fake.jobs.kill()
        await world.reached(hold)
        fake.boot += 1
        ended = await world.ended(operation.id)
    assert ended.status is S.SUCCEEDED, ended.problem
    assert fake.count(Command.REPAIR) == 2


async def test_upgrade__whose_dpkg_dies_of_a_signal_is_repaired_and_begins_once_more(world: World):
    async with world.running():
        fake = await world.register("web1")
        fake.pending = {"web": Pending(kills=True)}
        ended = await world.run(K.UPDATE)
    assert ended.status is S.SUCCEEDED, ended.problem
    assert steps(ended)[3:6] == ["apply", "preflight", "list"]
    assert ended.steps[3].status is StepStatus.INTERRUPTED
    assert ended.steps[3].detail.endswith("dpkg received a segmentation fault.")
    assert (fake.count(Command.UPGRADE), fake.count(Command.REPAIR)) == (2, 1)


async def test_repair__whose_dpkg_dies_of_a_signal_begins_once_more(world: World):
    async with world.running():
        fake, operation = await in_the_middle(world)
        fake.interrupted, fake.dying_repairs = True, 1
        fake.jobs.kill()
        ended = await world.ended(operation.id)
    assert ended.status is S.SUCCEEDED, ended.problem
    assert fake.count(Command.REPAIR) == 2


async def test_repair__that_dies_twice_is_given_up(world: World):
    async with world.running():
        fake, operation = await in_the_middle(world)
        fake.interrupted, fake.dying_repairs = True, 2
        fake.jobs.kill()
        ended = await world.ended(operation.id)
    assert reason(ended) == "PACKAGE_DATABASE_BROKEN"
    assert ended.problem is not None
    assert "killed by signal 11" in ended.problem.message
    assert fake.count(Command.REPAIR) == 2


async def test_script__that_speaks_of_a_lock_fails_its_package_and_runs_once(world: World):
    lock = "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 7 (apt-get)\n"
    async with world.running():
        fake = await world.register("web1")
        fake.pending = {"web": Pending(breaks=True, says=lock)}
        ended = await world.run(K.UPDATE)
    assert reason(ended) == "PACKAGE_FAILED"
    assert ended.problem is not None
    assert ended.problem.message.startswith("web: post-install script failed (exit 1)")
    assert fake.count(Command.UPGRADE) == 1


async def test_what_cannot_be_repaired_fails_with_the_package_managers_words(world: World):
    async with world.running():
        fake, operation = await in_the_middle(world)
        fake.interrupted, fake.repairable = True, False
        fake.jobs.kill()
        ended = await world.ended(operation.id)
    assert reason(ended) == "PACKAGE_DATABASE_BROKEN"
    assert fake.count(Command.UPGRADE) == 1


async def test_the_policy_may_want_the_repair_alone(world: World):
    policy = Policy(after_interruption=AfterInterruption.REPAIR)
    async with world.running():
        fake, operation = await in_the_middle(world, policy=policy)
        fake.interrupted = True
        fake.jobs.kill()
        ended = await world.ended(operation.id)
        assert (await world.host()).status.state is HostState.FAILED
    assert reason(ended) == "INTERRUPTED"
    assert (fake.count(Command.UPGRADE), fake.count(Command.REPAIR)) == (1, 1)


# --- out of sight ---------------------------------------------------------------------------------


async def test_a_host_that_is_away_for_a_while_is_told_of_once_and_waited_for(world: World):
    async with world.running():
        fake, operation = await in_the_middle(world)
        fake.reachable = False
        world.clock.advance(timedelta(seconds=3))
        for _ in range(20):
            await world.go_on()
        fake.reachable = True
        fake.jobs.release()
        ended = await world.ended(operation.id)
        told = [
            type(event.body)
            for event in await world.events()
            if isinstance(event.body, HostConnected | HostDisconnected)
        ]
    assert ended.status is S.SUCCEEDED, ended.problem
    # In; away and back; a new connection for what follows is none that anybody has to know of.
    assert told == [HostConnected, HostDisconnected, HostConnected, HostDisconnected]


async def test_a_host_that_is_gone_for_good_fails_and_a_retry_goes_back_to_its_upgrade(
    world: World,
):
    async with world.running() as engine:
        fake, operation = await in_the_middle(world)
        fake.reachable = False
        ended = await world.ended(operation.id)
        assert reason(ended) == "HOST_GONE"
        assert steps(ended)[-1] == "apply"
        assert (await world.host()).status.state is HostState.FAILED
        assert ended.ended_at is not None
        assert ended.started_at is not None
        assert ended.ended_at - ended.started_at < timedelta(minutes=32)
        fake.reachable = True
        fake.jobs.release()
        retried = await engine.operations.retry("web1", call())
        again = await world.ended(retried.operation.id)
    assert again.status is S.SUCCEEDED, again.problem
    assert again.resumes == operation.id
    assert steps(again) == ["connect", "apply", "reboot_check", "verify"]
    assert fake.count(Command.UPGRADE) == 1
    assert (fake.jobs.jobs, fake.jobs.epochs) == ({}, {})


async def test_a_host_with_another_key_is_not_waited_for(world: World):
    async with world.running():
        fake, operation = await in_the_middle(world)
        fake.key = OTHER_KEY
        fake.cut()
        ended = await world.ended(operation.id)
    assert reason(ended) == "HOST_KEY_CHANGED"
    assert steps(ended)[-1] == "apply"
    assert ended.job is not None
    assert not ended.job.concluded


async def test_a_host_that_forgot_the_job_is_never_taken_for_one_that_did_not_begin_it(
    world: World,
):
    async with world.running():
        fake, operation = await in_the_middle(world)
        fake.jobs.say("half of it\n")
        await world.until(lambda: _stored(world, operation))
        fake.jobs.jobs.clear()
        ended = await world.ended(operation.id)
    assert ended.steps[3].status is StepStatus.INTERRUPTED
    assert ended.steps[3].detail.endswith("the host has no record of it any more")


@pytest.mark.parametrize("prepared", [False, True])
async def test_a_silent_job__that_the_host_forgot_is_not_started_again(
    world: World, prepared: bool
):
    async with world.running():
        fake, operation = await in_the_middle(world)
        await world.until(lambda: _begun(world, operation))
        if prepared:  # a host that was set back to a former state of its disk
            fake.jobs.prepared |= fake.jobs.jobs.keys()
        fake.jobs.jobs.clear()
        ended = await world.ended(operation.id)
    assert ended.steps[3].status is StepStatus.INTERRUPTED
    assert ended.steps[3].detail.endswith("the host has no record of it any more")


async def test_a_retry__does_not_start_the_job_that_its_host_forgot(world: World):
    async with world.running() as engine:
        fake, operation = await in_the_middle(world)
        await world.until(lambda: _begun(world, operation))
        fake.reachable = False
        ended = await world.ended(operation.id)
        assert reason(ended) == "HOST_GONE"
        fake.reachable = True
        fake.jobs.jobs.clear()
        fake.jobs.epochs.clear()
        retried = await engine.operations.retry("web1", call())
        again = await world.ended(retried.operation.id)
    assert steps(again)[1] == "apply"
    assert again.steps[1].status is StepStatus.INTERRUPTED


async def _begun(world: World, operation: Operation) -> bool:
    job = (await world.store.operation(operation.id)).job
    return job is not None and job.begun


async def _stored(world: World, operation: Operation) -> bool:
    return bool((await world.store.operation(operation.id)).log_size)


# --- refused --------------------------------------------------------------------------------------


async def test_a_host_that_cannot_keep_a_job_says_why_and_nothing_was_begun(world: World):
    async with world.running():
        fake = await world.register("web1")
        fake.pending = {"web": Pending()}
        fake.jobs.refuses = "mkdir: cannot create directory: No space left on device"
        operation = await world.run(K.UPDATE)
    assert reason(operation) == "JOB_REFUSED"
    assert operation.problem is not None
    assert "No space left on device" in operation.problem.message
    assert fake.count(Command.UPGRADE) == 0


NOTHING_RUNS = [
    PrivilegeMissing(host="web1", user="toor", problem="sudo: not found"),
    ShellUnusable(host="web1", user="toor", problem="the host printed 'Choose:'"),
]


@pytest.mark.parametrize("error", NOTHING_RUNS, ids=lambda error: error.reason)
@pytest.mark.parametrize("asked", ["attach", "started"])
async def test_a_job__of_a_user_who_can_run_nothing_fails_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch, error: HostError, asked: str
):
    def refused(*_: object) -> NoReturn:
        raise error

    monkeypatch.setattr(jobs, asked, refused)
    async with world.running():
        fake = await world.register("web1")
        fake.pending = {"web": Pending()}
        fake.jobs.never_begins = True
        began = world.clock.elapsed()
        operation = await world.run(K.UPDATE)
        assert world.clock.elapsed() - began < timedelta(minutes=1)
    assert reason(operation) == error.reason
    assert fake.count(Command.UPGRADE) == 0


@pytest.mark.parametrize("error", NOTHING_RUNS, ids=lambda error: error.reason)
async def test_a_job__that_has_begun_is_followed_although_nothing_runs_for_a_while(
    world: World, monkeypatch: pytest.MonkeyPatch, error: HostError
):
    """A shell that is replaced in the upgrade, or sudo before its new configuration is there."""
    poll, refusals = jobs.poll, [error] * 3

    async def asked(*request: Any) -> JobReport:
        if refusals:
            raise refusals.pop()
        return await poll(*request)

    async with world.running():
        fake = await world.register("web1")
        fake.pending = {"web": Pending()}
        hold = fake.hold(Command.UPGRADE)
        operation = await world.start(K.UPDATE)
        await world.until(lambda: _begun(world, operation))
        monkeypatch.setattr(jobs, "poll", asked)
        hold.released.set()
        ended = await world.ended(operation.id)
    assert (ended.status, refusals) == (S.SUCCEEDED, []), ended.problem
    assert fake.count(Command.UPGRADE) == 1


async def test_a_job_that_no_wrapper_begins_is_given_up_after_some_tries(world: World):
    async with world.running():
        fake = await world.register("web1")
        fake.pending = {"web": Pending()}
        fake.jobs.never_begins = True
        operation = await world.run(K.UPDATE)
    assert reason(operation) == "JOB_REFUSED"
    assert fake.count(Command.UPGRADE) == 0


async def test_a_server_that_was_superseded_on_the_host_acts_no_more(world: World):
    async with world.running():
        fake, operation = await in_the_middle(world)
        fake.jobs.epochs[operation.id] += 10
        ended = await world.ended(operation.id)
    assert reason(ended) == "SUPERSEDED"


# --- tried again ----------------------------------------------------------------------------------


async def test_what_passes_by_itself_is_tried_again_with_pauses_that_grow(world: World):
    async with world.running():
        fake = await world.register("web1")
        fake.reachable = False
        operation = await world.run(K.QUERY)
        retried = [e.body for e in await world.events() if isinstance(e.body, StepRetried)]
    assert reason(operation) == "HOST_UNREACHABLE"
    assert [body.attempt for body in retried] == [1, 2, 3]
    assert [step.attempts for step in operation.steps] == [4]
    for body, whole in zip(retried, (2, 4, 8), strict=True):
        assert whole / 2 <= body.pause.total_seconds() <= whole
        assert body.problem.reason == "HOST_UNREACHABLE"


async def test_a_host_that_answers_the_second_time_has_only_that_to_tell(world: World):
    async with world.running():
        fake = await world.register("web1")
        fake.reachable = False
        operation = await world.start(K.QUERY)
        await world.until(lambda: _tried(world, operation))
        fake.reachable = True
        ended = await world.ended(operation.id)
    assert ended.status is S.SUCCEEDED
    assert ended.steps[0].attempts == 2
    assert ended.problem is None


async def test_permanent_errors_are_never_tried_again(world: World):
    async with world.running():
        fake = await world.register("web1")
        fake.accepts_key = False
        operation = await world.run(K.QUERY)
        assert not [e for e in await world.events() if isinstance(e.body, StepRetried)]
    assert [step.attempts for step in operation.steps] == [1]


async def test_a_cancellation_between_two_tries_takes_effect_at_once(world: World):
    async with world.running() as engine:
        fake = await world.register("web1")
        fake.reachable = False
        operation = await world.start(K.UPDATE)
        await world.until(lambda: _tried(world, operation))
        before = world.clock.now()
        await engine.operations.cancel(operation.id, call("sam"))
        ended = await world.ended(operation.id)
        told = [type(e.body) for e in await world.events()]
    assert (ended.status, ended.problem) == (S.CANCELLED, None)
    assert ended.steps[0].status is StepStatus.FAILED
    assert ended.ended_at == before
    assert HostConnected not in told
    assert (await world.host()).status.state is HostState.IDLE


async def test_whoever_waits_for_the_next_try_keeps_no_place_from_others(world: World):
    one = EngineSettings(operations=replace(OperationSettings(), at_once=1))
    async with world.running(one):
        dark = await world.register("dark")
        dark.reachable = False
        await world.register("web1")
        waiting = await world.start(K.QUERY, "dark")
        await world.until(lambda: _tried(world, waiting))
        hold = world.fleet.hosts["web1.example.org"].hold(Command.QUERY)
        other = await world.start(K.QUERY)
        await world.reached(hold)
        assert (await world.store.operation(waiting.id)).steps[-1].attempts == 2
        hold.released.set()
        assert (await world.ended(other.id)).status is S.SUCCEEDED
        assert reason(await world.ended(waiting.id)) == "HOST_UNREACHABLE"


async def test_hosts_that_were_dark_before_keep_no_place_from_those_that_answer(world: World):
    one = EngineSettings(operations=replace(OperationSettings(), at_once=1))
    async with world.running(one):
        dark = await world.register("dark")
        dark.reachable = False
        assert reason(await world.run(K.QUERY, "dark")) == "HOST_UNREACHABLE"
        fake = await world.register("web1")
        dark.reachable = True
        slow = dark.hold(Command.QUERY)
        waiting = await world.start(K.QUERY, "dark")
        await world.reached(slow)
        hold = fake.hold(Command.QUERY)
        other = await world.start(K.QUERY)
        await world.reached(hold)
        for each in (slow, hold):
            each.released.set()
        assert (await world.ended(waiting.id)).status is S.SUCCEEDED
        assert (await world.ended(other.id)).status is S.SUCCEEDED


async def _tried(world: World, operation: Operation) -> bool:
    stored = await world.store.operation(operation.id)
    return bool(stored.steps and stored.steps[-1].attempts > 1)


# --- deadlines ------------------------------------------------------------------------------------


@pytest.mark.parametrize("minutes", [1, 60])
async def test_an_operation_whose_time_is_over_finishes_its_upgrade_and_does_not_reboot(
    world: World, minutes: int
):
    limit = EngineSettings(
        operations=replace(OperationSettings(), time_limit=timedelta(minutes=minutes))
    )
    async with world.running(limit):
        fake, operation = await in_the_middle(world)
        fake.pending["web"].wants_reboot = True
        world.clock.advance(timedelta(minutes=10))
        fake.jobs.release()
        ended = await world.ended(operation.id)
    assert fake.count(Command.UPGRADE) == 1
    if minutes == 60:
        assert ended.status is S.SUCCEEDED
        return
    assert reason(ended) == "DEADLINE_EXCEEDED"
    assert fake.count(Command.REBOOT) == 0


async def test_time_that_passed_without_a_server_counts(world: World):
    async with world.running():
        fake, operation = await in_the_middle(world)
        fake.pending["web"].wants_reboot = True
    world.clock.advance(timedelta(hours=7))
    fake.jobs.release()
    async with world.running():
        ended = await world.ended(operation.id)
    assert reason(ended) == "DEADLINE_EXCEEDED"
    assert (fake.count(Command.UPGRADE), fake.count(Command.REBOOT)) == (1, 0)
