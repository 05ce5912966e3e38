"""What the server runs between waves: when, how it holds a rollout up, and what becomes of a crash."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tendhost.server.domain.hosts.selection import HostFilter
from tendhost.server.domain.request_errors import ConfigurationError
from tendhost.server.domain.rollouts.rollout import (
    HaltCause,
    Rollout,
    RolloutProgress,
    RolloutSpec,
    RolloutStatus,
)
from tendhost.server.domain.rollouts.wave_hooks import WaveHook, WaveHookResult, WaveMoment, key_of
from tendhost.server.engine.rollouts.wave_hooks import WaveHooks
from tests.unit.engine.fake_command import Hold
from tests.unit.engine.rollouts.test_rollout_control import NO_DELAY, is_in, is_now, passes
from tests.unit.engine.rollouts.test_rollouts import begin, fleet, statuses
from tests.unit.engine.world import World, call
from tests.unit.remote.web_receiver import free_port, receiving

R = RolloutStatus
BEFORE, AFTER = WaveMoment.BEFORE_WAVE, WaveMoment.AFTER_WAVE
ROLLOUT = Rollout(
    id="ro1",
    spec=RolloutSpec(filter=HostFilter()),
    created_at=datetime(2026, 3, 1, tzinfo=UTC),
    created_by="alex",
    progress=RolloutProgress(total_hosts=3, pending=2, completed=1),
    waves=3,
    wave=1,
)


class FakeWaveHooks(WaveHooks):
    """Notes when hooks would be run, and answers what a test wants."""

    def __init__(self) -> None:
        super().__init__((), environment={})
        self.ran: list[str] = []
        self.failing: set[str] = set()
        self.hold: Hold | None = None

    async def run(self, when: WaveMoment, rollout: Rollout) -> WaveHookResult:
        """See WaveHooks."""
        key = key_of(when, rollout).partition("/")[2]
        self.ran.append(key)
        if self.hold is not None:
            await self.hold.wait()
        if key in self.failing:
            words = f"wave hook 'lb' ({when}) failed: exit status 3"
            return WaveHookResult(succeeded=False, hook="lb", message=words)
        return WaveHookResult()


async def test_hooks_are_run_once_before_and_after_each_wave(world: World):
    hooks = FakeWaveHooks()
    async with world.running(wave_hooks=hooks):
        await fleet(world, "abc")
        rollout = await begin(world, waves=("2",), delay_between_waves=NO_DELAY)
        assert (await world.rollout_ended(rollout.id)).progress.completed == 3
    assert hooks.ran == ["1/before_wave", "1/after_wave", "2/before_wave", "2/after_wave"]


@pytest.mark.parametrize(
    ("failing", "updated"),
    [("1/before_wave", "ppp"), ("1/after_wave", "ccp"), ("2/before_wave", "ccp")],
)
async def test_a_hook_that_fails_halts_and_is_run_again_by_what_resumes(
    world: World, failing: str, updated: str
):
    hooks = FakeWaveHooks()
    hooks.failing = {failing}
    async with world.running(wave_hooks=hooks) as engine:
        await fleet(world, "abc")
        rollout = await begin(world, waves=("2",), delay_between_waves=NO_DELAY)
        await is_now(world, rollout.id, R.HALTED)
        assert await statuses(world, rollout.id) == updated
        halt = (await world.store.rollout(rollout.id)).halt
        assert halt is not None
        assert halt.cause is HaltCause.WAVE_HOOK
        assert halt.message.endswith("failed: exit status 3")
        hooks.failing = set()
        await engine.rollouts.resume(rollout.id, call())
        assert (await world.rollout_ended(rollout.id)).progress.completed == 3
    assert hooks.ran.count(failing) == 2
    assert len(hooks.ran) == 5


async def test_a_last_hook_that_fails_leaves_a_rollout_that_can_be_ended(world: World):
    hooks = FakeWaveHooks()
    hooks.failing = {"1/after_wave"}
    async with world.running(wave_hooks=hooks) as engine:
        await fleet(world, "a")
        rollout = await begin(world, waves=("rest",))
        await is_now(world, rollout.id, R.HALTED)
        await engine.rollouts.cancel(rollout.id, call())
        ended = await world.rollout_ended(rollout.id)
        assert (ended.status, ended.progress.completed) == (R.CANCELLED, 1)


async def test_a_rollout_can_be_steered_while_a_hook_runs_and_does_not_run_it_again(world: World):
    hooks = FakeWaveHooks()
    hooks.hold = Hold()
    async with world.running(wave_hooks=hooks) as engine:
        fakes = await fleet(world, "ab")
        rollout = await begin(world, waves=("1",), delay_between_waves=NO_DELAY)
        await world.reached(hooks.hold)
        await engine.rollouts.pause(rollout.id, call())
        hooks.hold.released.set()
        for _ in range(20):
            await world.go_on()
        assert (await world.store.rollout(rollout.id)).status is R.PAUSED
        assert fakes["a"].ran == []
        await engine.rollouts.resume(rollout.id, call())
        assert (await world.rollout_ended(rollout.id)).progress.completed == 2
    assert hooks.ran == ["1/before_wave", "1/after_wave", "2/before_wave", "2/after_wave"]


async def test_a_hook_that_runs_when_the_server_stops_is_run_again_with_the_same_key(world: World):
    hooks = FakeWaveHooks()
    hooks.hold = Hold()
    async with world.running(wave_hooks=hooks):
        await fleet(world, "a")
        rollout = await begin(world, waves=("1",))
        await world.reached(hooks.hold)
    hooks.hold = None
    async with world.running(wave_hooks=hooks):
        assert (await world.rollout_ended(rollout.id)).progress.completed == 1
    assert hooks.ran == ["1/before_wave", "1/before_wave", "1/after_wave"]


async def test_a_wave_that_is_gone_back_to_ends_with_its_hook_once_more(world: World):
    hooks = FakeWaveHooks()
    async with world.running(wave_hooks=hooks) as engine:
        fakes = await fleet(world, "ab")
        fakes["a"].accepts_key = False
        rollout = await begin(world, waves=("1",), delay_between_waves=timedelta(minutes=50))

        async def pauses() -> bool:
            return (await world.store.rollout(rollout.id)).next_wave_at is not None

        await world.until(pauses)
        fakes["a"].accepts_key = True
        await engine.rollouts.retry(rollout.id, call())
        await is_in(world, rollout.id, "cp")
        await world.until(pauses)
        await passes(world, timedelta(minutes=50))
        assert (await world.rollout_ended(rollout.id)).progress.completed == 2
    first = ["1/before_wave", "1/after_wave", "1/after_wave"]
    assert hooks.ran == [*first, "2/before_wave", "2/after_wave"]


# --- real commands and webhooks -------------------------------------------------------------------


def command(script: str, *, when: WaveMoment = BEFORE, seconds: float = 20) -> WaveHook:
    argv = ("/bin/sh", "-c", script)
    return WaveHook(name="lb", when=when, command=argv, timeout=timedelta(seconds=seconds))


def hooks(*wanted: WaveHook) -> WaveHooks:
    environment = {"PATH": "/usr/bin:/bin", "TENDHOST_SSH_KEY": "secret", "LANG": "C"}
    return WaveHooks(wanted, environment=environment)


async def test_a_command_is_told_of_its_wave_and_of_no_secret(tmp_path):
    out = tmp_path / "out"
    hook = command(f"env >{out}")
    assert (await hooks(hook).run(BEFORE, ROLLOUT)).succeeded
    told = dict(line.split("=", 1) for line in out.read_text().splitlines())
    assert told["TENDHOST_KEY"] == "ro1/2/before_wave"
    assert told["TENDHOST_ROLLOUT"] == "ro1"
    assert (told["TENDHOST_WAVE"], told["TENDHOST_WAVES"]) == ("2", "3")
    assert (told["TENDHOST_COMPLETED"], told["TENDHOST_PENDING"]) == ("1", "2")
    assert told["LANG"] == "C"
    assert "TENDHOST_SSH_KEY" not in told


async def test_only_the_hooks_of_the_moment_are_run_and_none_after_one_that_fails(tmp_path):
    names = [tmp_path / name for name in "abc"]
    wanted = (
        command(f"touch {names[0]}"),
        replace(command("echo no room >&2; exit 3"), name="second"),
        command(f"touch {names[1]}"),
        command(f"touch {names[2]}", when=AFTER),
    )
    outcome = await hooks(*wanted).run(BEFORE, ROLLOUT)
    assert (outcome.succeeded, outcome.hook) == (False, "second")
    assert outcome.message == "wave hook 'second' (before_wave) failed: exit status 3: no room"
    assert [name.exists() for name in names] == [True, False, False]


async def test_a_command_that_hangs_is_killed_with_all_it_has_begun(tmp_path):
    mark = tmp_path / "mark"
    hook = command(f"(sleep 2; touch {mark}) & wait", seconds=0.5)
    outcome = await hooks(hook).run(BEFORE, ROLLOUT)
    assert outcome.message.endswith("failed: killed after 0.5 s")
    await asyncio.sleep(2.5)  # what is left behind would have shown itself by then
    assert not mark.exists()


async def test_a_program_that_is_not_there_is_refused_at_once():
    with pytest.raises(ConfigurationError, match=r"wave_hook 'lb': command.*nowhere-to-be-found"):
        hooks(WaveHook(name="lb", when=BEFORE, command=("nowhere-to-be-found",)))


async def test_a_webhook_is_posted_the_facts_with_its_key():
    async with receiving(200) as receiver:
        url = f"http://127.0.0.1:{receiver.port}/hook"
        hook = WaveHook(name="lb", when=AFTER, url=url)
        assert (await hooks(hook).run(AFTER, ROLLOUT)).succeeded
    (document,), (head,) = receiver.documents, receiver.heads
    assert head.startswith("POST /hook HTTP/1.1")
    assert "Idempotency-Key: ro1/2/after_wave" in head
    assert (document["key"], document["when"]) == ("ro1/2/after_wave", "after_wave")
    assert (document["wave"], document["completed"]) == (2, 1)


@pytest.mark.parametrize(("status", "words"), [(500, "status 500"), (302, "status 302")])
async def test_a_webhook_that_does_not_answer_2xx_has_failed(status: int, words: str):
    async with receiving(status) as receiver:
        hook = WaveHook(name="lb", when=BEFORE, url=f"http://127.0.0.1:{receiver.port}/s3cret")
        outcome = await hooks(hook).run(BEFORE, ROLLOUT)
    assert words in outcome.message
    assert "s3cret" not in outcome.message


@pytest.mark.parametrize("url", ["http://127.0.0.1/é", f"http://{'a' * 80}.example/"])
async def test_a_webhook_whose_url_cannot_be_used_has_failed(url: str):
    hooks = WaveHooks((WaveHook(name="board", when=AFTER, url=url),), environment={})
    outcome = await hooks.run(AFTER, ROLLOUT)
    assert not outcome.succeeded
    assert outcome.message == "wave hook 'board' (after_wave) failed: its URL cannot be used"


async def test_a_webhook_that_is_down_or_hangs_has_failed():
    down = WaveHook(name="lb", when=BEFORE, url=f"http://127.0.0.1:{free_port()}/")
    assert "Connection refused" in (await hooks(down).run(BEFORE, ROLLOUT)).message
    async with receiving(answers=False) as receiver:
        silent = WaveHook(
            name="lb",
            when=BEFORE,
            url=f"http://127.0.0.1:{receiver.port}/",
            timeout=timedelta(seconds=0.5),
        )
        outcome = await hooks(silent).run(BEFORE, ROLLOUT)
    assert "no answer" in outcome.message
