"""Two rollouts over one fleet, with failures, pauses, freezes, hosts that fall ill, servers that are killed
and clocks that jump."""

import asyncio
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tendhost.server.domain.hosts.group_policy import GroupPolicy
from tendhost.server.domain.hosts.group_policy_change import GroupPolicyChange
from tendhost.server.domain.hosts.selection import HostFilter
from tendhost.server.domain.policy.freezes import FreezePeriod
from tendhost.server.domain.request_errors import RequestError
from tendhost.server.domain.rollouts.rollout import (
    DisruptionBudget,
    MemberStatus,
    RolloutProgress,
    RolloutSpec,
)
from tendhost.server.domain.rollouts.waves import Division
from tests.contract.store.samples import whole_view
from tests.unit.engine.fake_command import Command
from tests.unit.engine.fake_host import Pending
from tests.unit.engine.world import World, call

NAMES = "abcdefgh"
ZONES = ("zone=x", "zone=")
"""Every other host has no zone."""

actions = st.one_of(
    st.sampled_from(
        ["pause", "resume", "cancel", "retry", "skip", "kill", "freeze", "thaw", "ill", "well"]
    ).flatmap(lambda what: st.tuples(st.just(what), st.integers(0, 1), st.sampled_from(NAMES))),
    st.tuples(st.just("time"), st.integers(1, 7200), st.just("")),
    st.tuples(st.just("go_on"), st.integers(1, 30), st.just("")),
)
specs = st.builds(
    RolloutSpec,
    filter=st.sampled_from([HostFilter(), HostFilter(names=("a", "b", "c", "d", "e"))]),
    division=st.sampled_from([("1", "rest"), ("3",), ("rest",)]).map(
        lambda waves: Division(waves=waves)
    ),
    max_failures=st.sampled_from(["", "0", "1", "25%"]),
    budgets=st.sampled_from(
        [
            (),
            (DisruptionBudget(limit="1", per_tag="zone"),),
            (DisruptionBudget(limit="25%"),),
            (DisruptionBudget(limit="3"), DisruptionBudget(limit="2", per_tag="zone")),
        ]
    ),
    delay_between_waves=st.sampled_from([timedelta(0), timedelta(minutes=5)]),
    settle=st.sampled_from([timedelta(0), timedelta(minutes=3)]),
)


class Course:
    """A world in which things happen, and what must hold in it at every moment."""

    def __init__(self, world: World, chosen: list[RolloutSpec], failing: str) -> None:
        self.world, self.chosen, self.failing = world, chosen, failing
        self.ids: list[str] = []
        self.retried = False
        self.frozen = False
        self.most_begun = 0
        self.down: dict[str, int] = {}

    async def set_up(self) -> None:
        for number, name in enumerate(NAMES):
            tags = () if number % 2 else (ZONES[0],)
            fake = await self.world.register(name, tags=tags)
            fake.pending = {"web": Pending(breaks=name in self.failing)}
        for spec in self.chosen:
            rollout = await self.world.engine.rollouts.start(spec, call())
            self.ids.append(rollout.id)

    async def act(self, action: tuple[str, int, str]) -> None:
        what, which, name = action
        rollouts = self.world.engine.rollouts
        try:
            match what:
                case "time":
                    self.world.clock.advance(timedelta(seconds=which))
                case "go_on":
                    for _ in range(which):
                        await self.world.go_on()
                        await self.check()
                case "pause":
                    await rollouts.pause(self.ids[which], call())
                case "resume":
                    await rollouts.resume(self.ids[which], call(), max_failures="100%")
                case "cancel":
                    await rollouts.cancel(self.ids[which], call())
                case "freeze" | "thaw":
                    await self.freeze(what == "freeze")
                case "ill" | "well":
                    fake = self.world.fleet.hosts[f"{name}.example.org"]
                    fake.failed_units = ["web.service"] if what == "ill" else []
                case "skip":
                    await rollouts.skip(self.ids[which], name, call())
                case "retry":
                    again = await rollouts.retry(self.ids[which], call())
                    self.retried = True
                    self.ids[which] = again.id
        except RequestError:
            pass  # it was not to be had at this moment
        await self.check()

    async def freeze(self, frozen: bool) -> None:
        now = self.world.clock.now()
        period = FreezePeriod(
            name="x", starts_at=now, ends_at=now + timedelta(days=30), reason="y", time_zone="UTC"
        )
        wish = GroupPolicy(group="", freezes=(period,) if frozen else ())
        await self.world.engine.policies.change(GroupPolicyChange(given=wish), call())
        self.frozen = frozen
        # Those under way may have had their permission a moment before the freeze.
        self.most_begun = self.begun + len(await self.world.store.busy_hosts())

    @property
    def begun(self) -> int:
        return sum(fake.count(Command.UPGRADE) for fake in self.world.fleet.hosts.values())

    async def check(self) -> None:
        """Budgets hold and counts add up, at this very moment."""
        if self.frozen:
            assert self.begun <= self.most_begun
        store = self.world.store
        before, self.down = self.down, {}
        for scope in ("", *ZONES):
            self.down[scope] = (await store.usage(scope)).down
        unfinished = [r for r in (await store.rollouts(limit=99)).items if not r.over]
        for rollout in unfinished:
            for budget in rollout.spec.budgets:
                for scope in ZONES if budget.per_tag else ("",):
                    hosts = len(NAMES) // (2 if scope else 1)
                    limit = max(1, hosts // 4) if "%" in budget.limit else int(budget.limit)
                    # What went down before there was the budget comes up again in its own time.
                    allowed = max(limit, before.get(scope, len(NAMES)))
                    assert self.down[scope] <= allowed, (scope, self.down, budget)
        for id in self.ids:
            view = await whole_view(store, id)
            statuses = [member.status for member in view.members]
            for status in MemberStatus:
                assert statuses.count(status) == getattr(view.rollout.progress, status.value)
            waves = [wave.progress for wave in view.waves]
            assert sum(waves, RolloutProgress(total_hosts=0, pending=0)) == view.rollout.progress

    async def over(self) -> bool:
        return all([(await self.world.store.rollout(id)).over for id in self.ids])

    async def finish(self) -> None:
        """Nobody interferes any more, and every rollout comes to its end."""
        for fake in self.world.fleet.hosts.values():
            fake.failed_units = []
            for pending in fake.pending.values():
                pending.breaks = False
        await self.freeze(False)
        for _ in range(3):
            for id in self.ids:
                for ask in ("retry", "resume"):
                    try:
                        rollouts = self.world.engine.rollouts
                        rollout = await self.world.store.rollout(id)
                        if ask == "retry" and not rollout.over:
                            await rollouts.retry(id, call())
                            self.retried = True
                        elif ask == "resume":
                            await rollouts.resume(id, call(), max_failures="100%")
                    except RequestError:
                        pass
            for _ in range(60):
                self.world.clock.advance(timedelta(minutes=2))
                await self.world.go_on()
                await self.check()
                if await self.over():
                    return


async def carried_out(
    folder: Path, chosen: list[RolloutSpec], failing: str, script: list[tuple[str, int, str]]
) -> None:
    world = World(folder / "tendhost.db")
    async with world.remembered():
        course = Course(world, chosen, failing)
        left = list(script)
        begun = False
        while True:
            async with world.running():
                if not begun:
                    await course.set_up()
                    begun = True
                while left and left[0][0] != "kill":
                    await course.act(left.pop(0))
                if not left:
                    await course.finish()
                    break
                left.pop(0)
        failed = [name for name in NAMES if (await world.host(name)).status.failure]
        for id in course.ids:
            rollout = await world.store.rollout(id)
            assert rollout.over or failed, rollout
        if not course.retried and not failing:
            for fake in world.fleet.hosts.values():
                # Once in each of the two rollouts at most, and the second one finds nothing to do.
                assert fake.count(Command.UPGRADE) <= 1


# Forty worlds take longer than the limit for one test where the machine is busy.
# Hypothesis makes the values of an example within a turn of the test's own.
@pytest.mark.long_turns
@pytest.mark.timeout(600)
@settings(
    max_examples=40,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.too_slow],
)
@given(
    st.lists(specs, min_size=2, max_size=2),
    st.sampled_from(["", "b", "ace"]),
    st.lists(actions, max_size=12),
)
def test_budgets_hold_at_every_moment_and_every_rollout_comes_to_its_end(chosen, failing, script):
    with TemporaryDirectory(prefix="tendhost-model-") as folder:
        asyncio.run(carried_out(Path(folder), chosen, failing, script))
