"""What a host prints is bounded: in the database, on the way there, and in memory while the store is out."""

from dataclasses import replace
from datetime import timedelta

from tendhost.server.domain.events import HostConnected, HostDisconnected
from tendhost.server.domain.operations.log_limit import LEAST_CUT, LogLimit, left_out_line
from tendhost.server.domain.operations.operation import Operation, OperationKind, OperationStatus
from tendhost.server.engine.engine import EngineSettings
from tendhost.server.engine.operations.manager import OperationSettings
from tendhost.server.engine.operations.runner import MOST_CONNECTIONS
from tendhost.server.remote.job import LARGEST_PART
from tests.unit.engine.fake_command import Command, Hold
from tests.unit.engine.fake_host import FakeHost, Pending
from tests.unit.engine.world import World

K, S = OperationKind, OperationStatus
LIMIT = LogLimit(size=1024 * 1024)
SHORT = EngineSettings(operations=replace(OperationSettings(), log_limit=LIMIT))
PRINTED = 16 * 1024 * 1024


async def printing(world: World) -> tuple[FakeHost, Operation, Hold]:
    """A host whose upgrade is under way, and goes on until its hold is released."""
    fake = await world.register("web1")
    fake.pending = {"web": Pending()}
    hold = fake.hold(Command.UPGRADE)
    operation = await world.start(K.UPDATE)
    await world.reached(hold)
    return fake, operation, hold


async def kept(world: World, operation: Operation) -> list[tuple[int, bytes]]:
    """The parts of the log that are stored, each with where it begins."""
    found: list[tuple[int, bytes]] = []
    offset = 0
    while part := await world.store.log(operation.id, offset=offset, limit=PRINTED):
        if not part.data:
            return found
        if found and part.offset == found[-1][0] + len(found[-1][1]):
            found[-1] = (found[-1][0], found[-1][1] + part.data)
        else:
            found.append((part.offset, part.data))
        offset = part.offset + len(part.data)
    raise AssertionError("a log has an end")


async def test_log__of_a_job_that_printed_too_much_keeps_its_beginning_and_its_end(
    world: World, monkeypatch
):
    async with world.running(SHORT):
        fake = await world.register("web1")
        fake.pending = {"web": Pending()}
        status, lines, words = fake.upgrade()
        fake.pending = {"web": Pending()}
        lot = "first\n" + "x" * PRINTED + "\nlast\n"
        monkeypatch.setattr(fake, "upgrade", lambda: (status, lines, lot + words))
        ended = await world.run(K.UPDATE)
        head, tail = await kept(world, ended)
        size = sum(path.stat().st_size for path in world.directory.iterdir())
    assert ended.log_size == len(lot + words)
    assert head[0] == 0
    assert head[1].startswith(b"first\n")
    assert tail[1].endswith(b"\nlast\n" + words.encode())
    assert tail[0] + len(tail[1]) == ended.log_size
    assert LIMIT.size <= len(head[1]) + len(tail[1]) <= LIMIT.size + 4 * LARGEST_PART
    assert fake.jobs.transferred <= LIMIT.size + 4 * LARGEST_PART
    assert size < 8 * LIMIT.size  # twice, for the write-ahead log


async def test_log__of_a_job_that_never_stops_printing_stays_within_its_bound(world: World):
    async with world.running(SHORT):
        fake, operation, hold = await printing(world)
        words = ""
        for _ in range(30):
            words += "y" * 1_000_000 + "\n"
            fake.jobs.say(words)
            await world.go_on()
        hold.released.set()
        ended = await world.ended(operation.id)
        parts = await kept(world, ended)
    assert ended.status is S.SUCCEEDED, ended.problem
    assert ended.log_size > 30_000_000
    assert sum(len(data) for _, data in parts) <= LIMIT.size + 4 * LARGEST_PART
    assert parts[-1][1].endswith(b"Setting up web (2.0-1) ...\n")


async def test_log__of_the_next_server_goes_on_where_the_middle_was_left_out(world: World):
    async with world.running(SHORT):
        fake, operation, hold = await printing(world)
        fake.jobs.say("z" * PRINTED)

        async def far() -> bool:
            return bool((await world.store.operation(operation.id)).log_size > PRINTED // 2)

        await world.until(far)
    hold.released.set()
    async with world.running(SHORT):
        ended = await world.ended(operation.id)
        parts = await kept(world, ended)
    assert ended.status is S.SUCCEEDED, ended.problem
    assert ended.log_size == PRINTED + len("Setting up web (2.0-1) ...\n")
    assert parts[-1][1].endswith(b"Setting up web (2.0-1) ...\n")


async def test_output__that_cannot_be_stored_is_not_read(world: World):
    async with world.running():
        fake, operation, hold = await printing(world)
        words = ""
        world.store.outage_of = {"commit"}
        for _ in range(100):
            words += "w" * 100_000 + "\n"
            fake.jobs.say(words)
            await world.go_on()
        # One part is on its way to the store, one waits for it, and one was read before that was seen.
        assert fake.jobs.transferred <= 4 * LARGEST_PART
        world.store.outage_of = set()
        hold.released.set()
        ended = await world.ended(operation.id)
        parts = await kept(world, ended)
    assert ended.status is S.SUCCEEDED, ended.problem
    assert parts == [(0, (words + "Setting up web (2.0-1) ...\n").encode())]


async def test_output__of_64_jobs_waits_on_their_hosts_while_the_store_is_full_for_a_minute(
    world: World,
):
    async with world.running():
        names = [f"web{number}" for number in range(64)]
        fakes = [await world.register(name) for name in names]
        for fake in fakes:
            fake.pending = {"web": Pending()}
        holds = [fake.hold(Command.UPGRADE) for fake in fakes]
        operations = [await world.start(K.UPDATE, name) for name in names]
        for hold in holds:
            await world.reached(hold)
        world.store.outage_of = {"commit"}
        began, words = world.clock.elapsed(), ""
        while world.clock.elapsed() - began < timedelta(minutes=1):
            words += "v" * 400_000 + "\n"
            for fake in fakes:
                fake.jobs.say(words)
            await world.go_on()
        held = sum(fake.jobs.transferred for fake in fakes)
        assert held <= len(fakes) * 4 * LARGEST_PART
        assert len(words) > 8 * LARGEST_PART
        world.store.outage_of = set()
        for hold in holds:
            hold.released.set()
        for operation in operations:
            ended = await world.ended(operation.id)
            assert ended.status is S.SUCCEEDED, ended.problem
            assert ended.log_size == len(words + "Setting up web (2.0-1) ...\n")


async def test_link__that_comes_and_goes_for_long_is_told_of_for_a_while(world: World):
    async with world.running():
        fake, operation, hold = await printing(world)
        for _ in range(MOST_CONNECTIONS):
            fake.reachable = False
            fake.cut()
            world.clock.advance(timedelta(seconds=3))
            for _ in range(6):
                await world.go_on()
            fake.reachable = True
            for _ in range(12):
                await world.go_on()
        hold.released.set()
        ended = await world.ended(operation.id)
        told = [
            type(event.body)
            for event in await world.events()
            if isinstance(event.body, HostConnected | HostDisconnected)
        ]
    assert ended.status is S.SUCCEEDED, ended.problem
    assert MOST_CONNECTIONS < len(told) <= MOST_CONNECTIONS + 2
    assert told == [HostConnected, HostDisconnected] * (len(told) // 2)


def test_left_out__is_counted_in_words_that_are_shorter_than_it():
    assert left_out_line(184_549_376) == "\n[… 184,549,376 bytes omitted …]\n".encode()
    assert len(left_out_line(10**18)) < LEAST_CUT


def test_log_limit__leaves_a_log_alone_that_is_within_it():
    for end in (0, LIMIT.size, LIMIT.size + LEAST_CUT - 1):
        assert LIMIT.cut(end) == (0, 0)
    assert LIMIT.cut(LIMIT.size + LEAST_CUT) == (LIMIT.head, LIMIT.head + LEAST_CUT)
