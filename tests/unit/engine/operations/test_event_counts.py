"""How many durable events work leaves: what a user wants to know, however much a host prints."""

from collections import Counter
from datetime import timedelta

from tendhost.server.domain.events import HostConnected, HostDisconnected, UpdateProgress
from tendhost.server.domain.operations.operation import OperationKind, OperationStatus
from tests.unit.engine.fake_command import Command
from tests.unit.engine.fake_host import FakeHost, Pending
from tests.unit.engine.world import World

K, S = OperationKind, OperationStatus
MOST_OF_AN_UPDATE = 40
MOST_OF_A_QUERY = 6
MOST_OF_A_SWEEP = 4


async def told_of(world: World, operation: str) -> list[type]:
    return [type(e.body) for e in await world.events() if e.operation == operation]


class ChattyHost(FakeHost):
    """An apt that tells five lines of each package, as the real one does."""

    def upgrade(self) -> tuple[int, str, str]:
        names = list(self.pending)
        status, _, words = super().upgrade()
        lines = [f"dlstatus:{n}:{100 * n / 50:.4f}:Retrieving" for n in range(1, 51)]
        done, verbs = 0, ("Preparing", "Unpacking", "Preparing to configure", "Configuring")
        for verb in (*verbs, "Installed"):
            for name in names:
                done += 1
                lines.append(f"pmstatus:{name}:{100 * done / (5 * len(names)):.4f}:{verb} {name}")
        return status, "\n".join(lines) + "\n", words


async def chatty(world: World) -> FakeHost:
    fake = await world.register("web1")
    fake.__class__ = ChattyHost
    fake.installed |= {f"lib{n}": "1.0-1" for n in range(50)}
    fake.pending = {f"lib{n}": Pending(wants_reboot=n == 1) for n in range(50)}
    return fake


async def test_update__of_fifty_packages_that_prints_for_ten_minutes_leaves_few_events(
    world: World,
):
    async with world.running():
        fake = await chatty(world)
        hold = fake.hold(Command.UPGRADE)
        operation = await world.start(K.UPDATE)
        await world.reached(hold)
        began, words, number = world.clock.now(), "", 0
        while world.clock.now() - began < timedelta(minutes=10):
            number += 1
            words += f"Get:{number} http://deb.example.org line of output\n"
            fake.jobs.say(words)
            await world.go_on()
        hold.released.set()
        ended = await world.ended(operation.id)
        told = await told_of(world, operation.id)
        log = (await world.store.log(operation.id, offset=0, limit=ended.log_size)).data
    assert ended.status is S.SUCCEEDED, ended.problem
    assert f"Get:{number} ".encode() in log
    assert 4 <= told.count(UpdateProgress) <= 16
    assert len(told) <= MOST_OF_AN_UPDATE, Counter(told)


async def test_update__whose_host_never_stops_telling_progress_leaves_few_events(
    world: World, monkeypatch
):
    async with world.running():
        fake = await world.register("web1")
        fake.pending = {"web": Pending()}
        lines = "".join(f"pmstatus:web{n}:{n % 101}.0:Unpacking web\n" for n in range(5_000))
        monkeypatch.setattr(fake, "upgrade", lambda: (0, lines, "done\n"))
        operation = await world.run(K.UPDATE)
        told = await told_of(world, operation.id)
    assert len(told) <= MOST_OF_AN_UPDATE, Counter(told)


async def test_update__shows_its_latest_progress_while_it_is_under_way(world: World):
    async with world.running():
        fake = await chatty(world)
        hold = fake.hold(Command.UPGRADE)
        operation = await world.start(K.UPDATE)
        await world.reached(hold)
        lines = "dlstatus:1:50.0:Retrieving\npmstatus:web:12.5:Unpacking web\n"
        fake.jobs.tell(lines)

        async def shown() -> bool:
            return (await world.store.operation(operation.id)).progress is not None

        await world.until(shown)
        progress = (await world.store.operation(operation.id)).progress
        assert progress is not None
        assert (progress.package, progress.percent, progress.phase) == ("web", 12.5, "unpack")
        hold.released.set()
        assert (await world.ended(operation.id)).progress is None


async def test_query__leaves_few_events_and_one_that_learns_nothing_new_fewer(world: World):
    async with world.running():
        await world.register("web1")
        first = await world.run(K.QUERY)
        again = await world.run(K.QUERY)
        told = [await told_of(world, operation.id) for operation in (first, again)]
    assert first.status is S.SUCCEEDED
    assert len(told[0]) <= MOST_OF_A_QUERY, Counter(told[0])
    assert len(told[1]) <= MOST_OF_A_SWEEP, Counter(told[1])


async def test_query__of_a_host_that_stays_dark_leaves_as_few_events_as_any(world: World):
    async with world.running():
        fake = await world.register("web1")
        await world.run(K.QUERY)
        fake.reachable = False
        lost = await told_of(world, (await world.run(K.QUERY)).id)
        dark = await told_of(world, (await world.run(K.QUERY)).id)
        fake.reachable = True
        back = await told_of(world, (await world.run(K.QUERY)).id)
    assert HostDisconnected in lost
    assert HostDisconnected not in dark
    assert len(dark) <= MOST_OF_A_SWEEP, Counter(dark)
    assert back.count(HostConnected) == back.count(HostDisconnected) == 1
    assert len(back) <= MOST_OF_A_QUERY, Counter(back)


async def test_check__leaves_as_few_events_as_a_query(world: World):
    async with world.running():
        await world.register("web1")
        await world.run(K.QUERY)
        check = await world.run(K.CHECK)
        assert check.status is S.SUCCEEDED
        told = await told_of(world, check.id)
    assert len(told) <= MOST_OF_A_SWEEP, Counter(told)


async def test_look__is_stored_as_it_goes_without_an_event_for_each_step(world: World):
    async with world.running():
        fake = await world.register("web1")
        hold = fake.hold(Command.QUERY)
        operation = await world.start(K.QUERY)
        await world.reached(hold)

        async def listing() -> bool:
            return len((await world.store.operation(operation.id)).steps) == 2

        await world.until(listing)
        hold.released.set()
        assert (await world.ended(operation.id)).status is S.SUCCEEDED
