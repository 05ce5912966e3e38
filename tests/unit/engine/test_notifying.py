"""Targets that read the event log: what they are told, in what order, and what a restart leaves of it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tendhost.server.domain.events import (
    Event,
    HostConnected,
    OperationChanged,
    RolloutChanged,
)
from tendhost.server.domain.hosts.host import Host, HostConfig
from tendhost.server.domain.hosts.selection import HostFilter
from tendhost.server.domain.notifications.notices import NoticeKind
from tendhost.server.domain.notifications.target import NotifyTarget
from tendhost.server.domain.notifications.templates import Message
from tendhost.server.domain.operations.operation import OperationKind, OperationStatus
from tendhost.server.domain.rollouts.rollout import (
    Member,
    Rollout,
    RolloutProgress,
    RolloutSpec,
    RolloutStatus,
)
from tendhost.server.engine import notifications
from tendhost.server.engine.notifications import RETRY, Notifier
from tendhost.server.outbound.apprise import AppriseSender, NotDelivered, NotificationSender
from tendhost.server.store.records import Change
from tests.unit.engine.duties import duties_of
from tests.unit.engine.fake_clock import START
from tests.unit.engine.world import World
from tests.unit.remote.web_receiver import free_port, receiving

R = RolloutStatus


@pytest.fixture(autouse=True, scope="module")
def loaded_library() -> None:
    """Apprise takes half a second to load; like the server, do that before there is an event loop."""
    AppriseSender("loaded", ["json://127.0.0.1"])


class FakeSender:
    """Keeps what it is given, fails as often as a test wants, or waits until it may go on."""

    def __init__(self, *, failures: int = 0) -> None:
        self.messages: list[Message] = []
        self.failures = failures
        self.attempts = 0
        self.free = asyncio.Event()
        self.free.set()

    async def send(self, message: Message, reached: set[int]) -> None:
        """See NotificationSender."""
        self.attempts += 1
        await self.free.wait()
        if self.failures:
            self.failures -= 1
            raise NotDelivered("URL 1 answered with status 500")
        self.messages.append(message)

    @property
    def titles(self) -> list[str]:
        return [message.title for message in self.messages]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with World(tmp_path / "tendhost.db").remembered() as world:
        yield world


@asynccontextmanager
async def notifying(
    world: World, *senders: NotificationSender, begun: bool = True, **how: Any
) -> AsyncIterator[Notifier]:
    """A notifier with a target for each sender, that is at the log's end or where it was."""
    names = how.pop("names", [f"t{number}" for number in range(len(senders))])
    targets = [
        (NotifyTarget(name=name, **how), sender)
        for name, sender in zip(names, senders, strict=True)
    ]
    async with duties_of(world) as duties:
        notifier = Notifier(targets, store=world.store, duties=duties, clock=world.clock)
        async with notifier.running():
            if begun:
                await until(world, lambda: all_placed(world, names))
            yield notifier


async def all_placed(world: World, names: Sequence[str]) -> bool:
    return None not in [await world.store.notification_cursor(name) for name in names]


async def until(world: World, condition: Callable[[], Awaitable[bool] | bool]) -> None:
    """Let tasks and threads go on, and time pass, until `condition` holds."""
    async with asyncio.timeout(20):
        while True:
            answer = condition()
            if answer if isinstance(answer, bool) else await answer:
                return
            await asyncio.sleep(0.001)  # for threads, whose end no loop of ready tasks brings on
            await world.go_on()


async def at(world: World, name: str, revision: int) -> bool:
    place = await world.store.notification_cursor(name)
    return place is not None and place.revision == revision


async def happen(world: World, *bodies: Any, **where: Any) -> int:
    """Events, all in one transaction; the revision reached."""
    events = tuple(Event(at=START, body=body, **where) for body in bodies)
    return (await world.store.commit(Change(events=events))).revision  # type: ignore[no-any-return]


def changed(status: RolloutStatus = R.RUNNING, wave: int = 0, message: str = "") -> RolloutChanged:
    progress = RolloutProgress(total_hosts=4, pending=4)
    if status is R.COMPLETED:
        progress = RolloutProgress(total_hosts=4, pending=0, completed=4)
    return RolloutChanged(status=status, progress=progress, wave=wave, waves=3, message=message)


def failed(message: str = "no space left") -> OperationChanged:
    return OperationChanged(
        kind=OperationKind.UPDATE, status=OperationStatus.FAILED, message=message
    )


COURSE = (changed(), changed(wave=1), changed(R.HALTED, wave=1), changed(wave=1))
COURSE_TITLES = ["Rollout ro1 started", "Rollout ro1: wave 1 of 3 done", "Rollout ro1 halted"]


async def test_what_happens_is_told_in_order(world: World):
    sender = FakeSender()
    async with notifying(world, sender) as notifier:
        for body in COURSE:
            await happen(world, body, rollout="ro1")
        await until(world, lambda: len(sender.messages) == 3)
    assert sender.titles == COURSE_TITLES
    assert notifier.delivery_status[0].delivered == 3


async def test_what_happened_before_a_target_was_there_is_not_told(world: World):
    await happen(world, failed("before"), host="web1", operation="op1")
    sender = FakeSender()
    async with notifying(world, sender):
        await happen(world, failed("after"), host="web2", operation="op2")
        await until(world, lambda: bool(sender.messages))
    assert [message.body for message in sender.messages] == ["after"]


async def test_what_happens_while_no_server_runs_is_told_by_the_next_one(world: World):
    async with notifying(world, FakeSender()):
        pass
    for body in COURSE:
        await happen(world, body, rollout="ro1")
    sender = FakeSender()
    async with notifying(world, sender):
        await until(world, lambda: len(sender.messages) == 3)
    assert sender.titles == COURSE_TITLES


@pytest.mark.parametrize("stops", range(4))
async def test_servers_that_come_and_go_tell_each_thing_once_and_nothing_twice(
    world: World, stops: int
):
    first, second = FakeSender(), FakeSender()
    async with notifying(world, first):
        for body in COURSE[:stops]:
            revision = await happen(world, body, rollout="ro1")
        if stops:
            expected = min(stops, 3)
            await until(world, lambda: len(first.messages) == expected)
            await until(world, lambda: at(world, "t0", revision))
    async with notifying(world, second):
        for body in COURSE[stops:]:
            await happen(world, body, rollout="ro1")
        await until(world, lambda: len(first.messages) + len(second.messages) == 3)
    assert first.titles + second.titles == COURSE_TITLES


async def test_a_message_that_was_on_its_way_at_the_end_is_told_again(world: World):
    hanging, sender = FakeSender(), FakeSender()
    hanging.free.clear()
    async with notifying(world, hanging):
        await happen(world, failed(), host="web1", operation="op1")
        await until(world, lambda: hanging.attempts == 1)
    async with notifying(world, sender):
        await until(world, lambda: bool(sender.messages))
    assert sender.titles == ["web1 failed"]


async def test_of_an_event_with_two_notices_the_second_is_not_lost_with_the_server(world: World):
    first, second = FakeSender(), FakeSender()

    class OnlyOnce(FakeSender):
        async def send(self, message: Message, reached: set[int]) -> None:
            await super().send(message, reached)
            self.free.clear()

    first = OnlyOnce()
    async with notifying(world, first):
        await happen(world, changed(), rollout="ro1")
        await until(world, lambda: first.titles == COURSE_TITLES[:1])
        first.free.set()
        await happen(world, changed(R.HALTED, wave=1), rollout="ro1")
        await until(world, lambda: first.attempts == 3)
    async with notifying(world, second):
        await until(world, lambda: "Rollout ro1 halted" in second.titles)
    assert second.titles == COURSE_TITLES[1:]


async def test_targets_do_not_wait_for_each_other(world: World):
    hanging, well = FakeSender(), FakeSender()
    hanging.free.clear()
    async with notifying(world, hanging, well):
        for number in range(3):
            await happen(world, failed(), host=f"web{number}", operation=f"op{number}")
        await until(world, lambda: len(well.messages) == 3)
    assert hanging.messages == []


async def test_a_target_hears_only_what_it_has_chosen(world: World):
    sender = FakeSender()
    async with notifying(world, sender, kinds=(NoticeKind.ROLLOUT_HALTED,)):
        for body in COURSE:
            await happen(world, body, rollout="ro1")
        await until(world, lambda: bool(sender.messages))
    assert sender.titles == ["Rollout ro1 halted"]


# --- deliveries that fail -------------------------------------------------------------------------


async def test_a_message_is_tried_again_until_it_is_taken(world: World):
    sender = FakeSender(failures=3)
    async with notifying(world, sender) as notifier:
        await happen(world, failed(), host="web1", operation="op1")
        await until(world, lambda: bool(sender.messages))
        await until(world, lambda: notifier.delivery_status[0].delivered == 1)
        status = notifier.delivery_status[0]
    assert (sender.attempts, status.retried, status.undelivered) == (4, 3, 0)
    assert status.problem == ""
    assert world.clock.now() - START >= timedelta(seconds=(5 + 10 + 20) / 2)


async def test_a_message_that_nobody_takes_is_given_up_in_the_log_and_what_follows_is_told(
    world: World, caplog: pytest.LogCaptureFixture
):
    sender = FakeSender(failures=RETRY.attempts)
    async with notifying(world, sender) as notifier:
        await happen(world, failed(), host="web1", operation="op1")
        await until(world, lambda: notifier.delivery_status[0].undelivered == 1)
        assert notifier.delivery_status[0].problem == "URL 1 answered with status 500"
        await happen(world, failed(), host="web2", operation="op2")
        await until(world, lambda: bool(sender.messages))
    assert sender.titles == ["web2 failed"]
    (record,) = [r for r in caplog.records if r.message == "a notification was not delivered"]
    assert (record.target, record.title) == ("t0", "web1 failed")  # type: ignore[attr-defined]


async def test_a_web_server_that_answers_500_three_times_and_then_200_is_told_once(world: World):
    async with receiving(500, 500, 500, 200) as receiver:
        sender = AppriseSender("t0", [f"json://127.0.0.1:{receiver.port}"])
        async with notifying(world, sender) as notifier:
            await happen(world, failed(), host="web1", operation="op1")
            await until(world, lambda: notifier.delivery_status[0].delivered == 1)
    assert receiver.titles == ["web1 failed"] * 4
    assert notifier.delivery_status[0].retried == 3


async def test_a_web_server_that_is_down_is_told_once_it_is_up(world: World):
    port = free_port()
    sender = AppriseSender("t0", [f"json://127.0.0.1:{port}"])
    async with notifying(world, sender) as notifier:
        await happen(world, failed(), host="web1", operation="op1")
        await until(world, lambda: notifier.delivery_status[0].retried == 2)
        assert notifier.delivery_status[0].problem.startswith("URL 1 could not be reached")
        async with receiving(port=port) as receiver:
            await until(world, lambda: notifier.delivery_status[0].delivered == 1)
    assert receiver.titles == ["web1 failed"]


async def test_a_web_server_that_hangs_holds_up_neither_the_store_nor_the_stop(world: World):
    async with receiving(answers=False) as receiver:
        sender = AppriseSender("t0", [f"json://127.0.0.1:{receiver.port}"])
        async with asyncio.timeout(2):  # less than Apprise waits for an answer
            async with notifying(world, sender):
                await happen(world, failed(), host="web1", operation="op1")
                await receiver.received(1)
                await happen(world, failed(), host="web2", operation="op2")


# --- too much at once -----------------------------------------------------------------------------


async def test_what_is_over_the_limit_is_gathered_to_one_message(world: World):
    sender = FakeSender()
    async with notifying(world, sender, per_minute=3) as notifier:
        for number in range(7):
            revision = await happen(world, failed(), host=f"web{number}", operation=f"op{number}")
        await until(world, lambda: len(sender.messages) == 3)
        await until(world, lambda: at(world, "t0", revision))
        assert notifier.delivery_status[0].waiting == 0
    assert sender.titles == ["web0 failed", "web1 failed", "5 events: 5 × host_failed"]
    lines = sender.messages[2].body.splitlines()
    assert [line.split()[1] for line in lines] == [f"web{number}" for number in range(2, 7)]
    assert world.clock.now() - START >= timedelta(minutes=1)


async def storm(world: World, first: int = 0) -> None:
    for number in range(first, first + 5):
        await happen(world, failed(), host=f"web{number}", operation=f"op{number}")


async def test_halt_and_approval__go_before_failed_hosts_and_wait_for_no_minute(world: World):
    sender = FakeSender()
    async with notifying(world, sender, per_minute=8) as notifier:
        await happen(world, changed(), rollout="ro1")
        await storm(world)
        await storm(world, 5)
        await happen(world, changed(R.HALTED, message="5 failed"), rollout="ro1")
        await happen(world, changed(R.AWAITING_APPROVAL), rollout="ro2")
        async with asyncio.timeout(20):
            while len(sender.messages) < 8:  # and no time passes
                await asyncio.sleep(0)
                await world.store.calm.wait()
        assert sender.titles[6:] == ["Rollout ro1 halted", "Rollout ro2: wave 2 waits for approval"]
        assert world.clock.now() == START
        await until(world, lambda: len(sender.messages) == 9)
        assert notifier.delivery_status[0].waiting == 0
    assert sender.titles[8] == "5 events: 5 × host_failed"


async def test_halt__is_the_first_of_what_waits_if_nothing_may_be_sent_now(world: World):
    sender = FakeSender()
    async with notifying(world, sender, per_minute=1):
        await storm(world)
        await happen(world, changed(R.HALTED, message="5 failed"), rollout="ro1")
        await until(world, lambda: len(sender.messages) == 3)
    assert sender.titles == ["web0 failed", "Rollout ro1 halted", "4 events: 4 × host_failed"]


async def test_halt_that_was_sent_before_others__is_not_repeated_by_the_next_server(world: World):
    first, second = FakeSender(), FakeSender()
    async with notifying(world, first, per_minute=4) as notifier:
        await storm(world)
        await happen(world, changed(R.HALTED, message="5 failed"), rollout="ro1")
        async with asyncio.timeout(20):
            while len(first.messages) < 4 or notifier.delivery_status[0].waiting < 2:
                await asyncio.sleep(0)
                await world.store.calm.wait()
    assert first.titles == [*(f"web{n} failed" for n in range(3)), "Rollout ro1 halted"]
    async with notifying(world, second, per_minute=4, begun=False):
        await until(world, lambda: len(second.messages) == 2)
        last = await happen(world, failed(), host="web9", operation="op9")
        await until(world, lambda: len(second.messages) == 3)
        await until(world, lambda: at(world, "t0", last))
    assert second.titles == ["web3 failed", "web4 failed", "web9 failed"]


async def test_one_that_is_over_the_limit_is_told_as_it_is(world: World):
    sender = FakeSender()
    async with notifying(world, sender, per_minute=1):
        for number in range(2):
            await happen(world, failed(), host=f"web{number}", operation=f"op{number}")
        await until(world, lambda: len(sender.messages) == 2)
    assert sender.titles == ["web0 failed", "web1 failed"]


async def test_what_was_gathered_when_the_server_stopped_is_told_by_the_next_one(world: World):
    first, second = FakeSender(), FakeSender()
    async with notifying(world, first, per_minute=1) as notifier:
        await happen(world, *map(failed, "abcd"), host="web1", operation="op1")
        async with asyncio.timeout(20):
            while notifier.delivery_status[0].waiting < 3:  # and no time passes
                await asyncio.sleep(0)
                await world.store.calm.wait()
    async with notifying(world, second, per_minute=1):
        await until(world, lambda: len(second.messages) == 2)
    assert [message.body for message in first.messages] == ["a"]
    # The place is behind the event that was told, whichever others came with it.
    assert second.messages[0].body.splitlines()[0] == "b"
    assert second.titles[1] == "2 events: 2 × host_failed"


# --- the log and the place in it ------------------------------------------------------------------


async def test_events_that_were_pruned_unread_are_told_as_such(world: World):
    async with notifying(world, FakeSender()):
        await happen(world, changed(), rollout="ro1")
    await happen(world, *[HostConnected()] * 10, host="web1")
    await happen(world, failed(), host="web2", operation="op2")
    await world.store.prune(before=START, now=START, requests_before=0, keep_events=1)
    sender = FakeSender()
    async with notifying(world, sender, kinds=(NoticeKind.HOST_FAILED,)):
        await until(world, lambda: len(sender.messages) == 2)
    assert sender.titles == ["Events were pruned before they were sent", "web2 failed"]
    assert sender.messages[0].body.startswith("1")


async def test_events_that_were_all_pruned_unread_are_told_as_such(world: World):
    async with notifying(world, FakeSender()):
        pass
    await happen(world, *[HostConnected()] * 10, host="web1")
    later = START + timedelta(days=1)
    await world.store.prune(before=later, now=later, requests_before=0, keep_events=100)
    sender = FakeSender()
    async with notifying(world, sender):
        await until(world, lambda: bool(sender.messages))
        await until(world, lambda: at(world, "t0", 10))
    assert sender.messages[0].body.startswith("10 events (revisions 1 to 10)")


async def test_events_that_are_pruned_after_they_were_told_are_not_missed(world: World):
    sender = FakeSender()
    async with notifying(world, sender):
        revision = await happen(world, failed(), host="web1", operation="op1")
        await until(world, lambda: at(world, "t0", revision))
        later = START + timedelta(days=1)
        await world.store.prune(before=later, now=later, requests_before=0, keep_events=100)
        await happen(world, failed(), host="web2", operation="op2")
        await until(world, lambda: len(sender.messages) == 2)
    assert sender.titles == ["web1 failed", "web2 failed"]


async def test_a_place_moves_over_what_is_not_told(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(notifications, "LONGEST_QUIET", timedelta(milliseconds=5))
    sender = FakeSender()
    async with notifying(world, sender):
        revision = await happen(world, *[HostConnected()] * 10, host="web1")
        await until(world, lambda: at(world, "t0", revision))
    assert sender.messages == []


async def test_a_place_is_stored_after_many_events_though_there_is_no_quiet(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(notifications, "UNSTORED", 10)
    async with notifying(world, FakeSender()):
        await happen(world, *[HostConnected()] * 25, host="web1")
        await until(world, lambda: at(world, "t0", 25))


async def test_a_target_that_was_taken_away_is_forgotten(world: World):
    async with notifying(world, FakeSender(), FakeSender(), names=["old", "kept"]):
        pass
    async with notifying(world, FakeSender(), names=["kept"]):
        assert await world.store.notification_cursor("old") is None
        assert await world.store.notification_cursor("kept") is not None


async def test_a_full_disk_has_nothing_told_over_and_over(
    world: World, caplog: pytest.LogCaptureFixture
):
    sender = FakeSender()
    async with notifying(world, sender):
        world.store.outage_of = {"save_notification_cursor"}
        revision = await happen(world, failed(), host="web1", operation="op1")
        await until(world, lambda: world.store.failures >= 5)
        world.store.outage_of = set()
        await until(world, lambda: at(world, "t0", revision))
    assert sender.titles == ["web1 failed"]
    assert "the cursor of notifications was not stored" in caplog.text


async def test_a_store_that_cannot_be_read_is_waited_for(world: World):
    sender = FakeSender()
    async with notifying(world, sender):
        world.store.outage_of = {"events", "log_bounds"}
        await happen(world, failed(), host="web1", operation="op1")
        await until(world, lambda: world.store.failures >= 3)
        world.store.outage_of = set()
        await until(world, lambda: bool(sender.messages))
    assert sender.titles == ["web1 failed"]


async def test_a_fault_is_logged_and_what_it_befell_is_told_after_a_while(
    world: World, caplog: pytest.LogCaptureFixture
):
    class Stumbling(FakeSender):
        async def send(self, message: Message, reached: set[int]) -> None:
            if not self.attempts:
                self.attempts += 1
                raise ZeroDivisionError
            await super().send(message, reached)

    sender = Stumbling()
    async with notifying(world, sender):
        await happen(world, failed(), host="web1", operation="op1")
        await until(world, lambda: bool(sender.messages))
    assert sender.titles == ["web1 failed"]
    assert "notifications failed" in caplog.text


# --- whom it concerns -----------------------------------------------------------------------------


async def a_fleet(world: World) -> None:
    """web1 in the group berlin with the tag prod, web2 in neither; ro1 is about both, ro2 about web2."""
    hosts = tuple(
        Host(
            config=HostConfig(name=name, address=f"{name}.example.org", groups=groups, tags=tags),
            host_key="",
            registered_at=START,
        )
        for name, groups, tags in (("web1", ("berlin",), ("prod",)), ("web2", (), ()))
    )
    for id, names in (("ro1", ("web1", "web2")), ("ro2", ("web2",))):
        rollout = Rollout(
            id=id,
            spec=RolloutSpec(filter=HostFilter()),
            created_at=START,
            progress=RolloutProgress(total_hosts=len(names), pending=len(names)),
            waves=1,
        )
        members = [
            Member(rollout=id, host=name, wave=0, position=position)
            for position, name in enumerate(names)
        ]
        event = Event(at=START, body=HostConnected())
        await world.store.commit(Change(events=(event,), rollouts=(rollout,), members=members))
    await world.store.commit(Change(events=(Event(at=START, body=HostConnected()),), hosts=hosts))


@pytest.mark.parametrize("how", [{"groups": ("berlin",)}, {"tags": ("prod", "other")}])
async def test_a_target_of_a_group_or_a_tag_hears_of_its_hosts_and_their_rollouts(
    world: World, how: dict[str, Any]
):
    await a_fleet(world)
    sender = FakeSender()
    async with notifying(world, sender, **how):
        for host in ("web2", "web1", "unknown"):
            await happen(world, failed(), host=host, operation=f"op-{host}")
        for rollout in ("ro2", "ro1"):
            await happen(world, changed(), rollout=rollout)
        await until(world, lambda: len(sender.messages) == 3)
    # Of a host that is not registered any more nobody knows what it was in.
    assert sender.titles == ["web1 failed", "unknown failed", "Rollout ro1 started"]


async def test_an_ended_rollout_whose_end_was_pruned_is_forgotten(world: World):
    await a_fleet(world)
    async with notifying(world, FakeSender(), FakeSender(), names=["t0", "t1"]):
        revision = await happen(world, changed(R.PAUSED), rollout="ro1")
        revision = await happen(world, failed(), host="web1", operation="op1")
        await until(world, lambda: at(world, "t0", revision))
    rollout = await world.store.rollout("ro1")
    over = replace(rollout, status=R.COMPLETED, ended_at=START)
    event = Event(at=START, body=changed(R.COMPLETED), rollout="ro1")
    await world.store.commit(Change(events=(event,), rollouts=(over,)))
    await world.store.prune(
        before=START - timedelta(days=1), now=START, requests_before=0, keep_events=0
    )
    sender = FakeSender()
    async with notifying(world, sender, names=["t0"]):
        await until(world, lambda: bool(sender.messages))
        await until(world, lambda: at(world, "t0", revision + 1))
    place = await world.store.notification_cursor("t0")
    assert place.following.rollouts == {}
