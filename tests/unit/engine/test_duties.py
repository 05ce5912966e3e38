"""Duties: of several replicas one notifies, prunes and starts schedules, and another goes on where it stops."""

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tendhost.server.domain.access.certificate_expiry import CertificateExpiry, CertificateUse
from tendhost.server.domain.events import CertificateExpiring
from tendhost.server.domain.leases import LEASE, LeaseKind
from tendhost.server.domain.notifications.target import NotifyTarget
from tendhost.server.domain.notifications.templates import Message
from tendhost.server.domain.operations.operation import OperationKind
from tendhost.server.engine.certificate_watch import CertificateWatch
from tendhost.server.engine.duties import RETENTION, SCHEDULES
from tests.unit.engine.fake_command import Hold
from tests.unit.engine.fake_host import Pending
from tests.unit.engine.replicas import Replica, Replicas, replicas_of
from tests.unit.engine.world import World

TEAM = "notifications team"


@dataclass
class Recipient:
    """Who gets the messages of all replicas."""

    titles: list[str] = field(default_factory=list)
    hold: Hold | None = None

    async def send(self, message: Message, reached: set[int]) -> None:
        """See NotificationSender."""
        if self.hold is not None:
            await self.hold.wait()
        self.titles.append(message.title)


async def notifying(replicas: Replicas, recipient: Recipient) -> Replica:
    """A replica that is configured to notify a recipient, as all are."""
    return await replicas.add(targets=[(NotifyTarget(name="team"), recipient)])


async def a_failure(world: World, replicas: Replicas, replica: Replica, name: str) -> None:
    """A host whose update fails, which is worth a notification."""
    world.use(replica.engine)
    fake = await world.register(name)
    fake.pending = {"web": Pending(breaks=True)}
    await replicas.ended(await replica.start(OperationKind.UPDATE, name))


async def has(world: World, replica: Replica, duty: str) -> bool:
    return duty in await world.store.owned(LeaseKind.DUTY, replica.engine.lease.owner)


async def test_notification__is_sent_once_by_any_number_of_replicas(world: World) -> None:
    recipient = Recipient()
    async with replicas_of(world) as replicas:
        several = [await notifying(replicas, recipient) for _ in range(3)]
        await replicas.pass_time(LEASE)
        for number, replica in enumerate(several):
            await a_failure(world, replicas, replica, f"web{number}")
        await replicas.pass_time(timedelta(minutes=5))
    assert sorted(title for title in recipient.titles if "web" in title) == sorted(
        set(recipient.titles)
    )
    assert len(recipient.titles) == 3


@pytest.mark.parametrize("how", ["cut off", "asleep"])
async def test_notification__is_sent_by_another_replica_when_one_is_gone(
    world: World, how: str
) -> None:
    recipient = Recipient()
    async with replicas_of(world) as replicas:
        one = await notifying(replicas, recipient)
        await replicas.pass_time(LEASE)
        two = await notifying(replicas, recipient)
        await replicas.pass_time(LEASE)
        assert await has(world, one, TEAM)
        recipient.hold = hold = Hold()
        await a_failure(world, replicas, two, "web1")
        await replicas.until(lambda: _now(hold.reached.is_set()))
        recipient.hold = None
        if how == "cut off":
            one.cut_off()
        else:
            replicas.freeze(one)
            one.store.outage_of = {"renew_replica"}
        await replicas.until(lambda: _now(bool(recipient.titles)))
        assert await has(world, two, TEAM)
        cursor = await world.store.notification_cursor("team")
        hold.released.set()  # what the one has begun to send may arrive twice, and nothing more
        await a_failure(world, replicas, two, "web2")
        await replicas.pass_time(timedelta(minutes=5))
        assert sum("web2" in title for title in recipient.titles) == 1
        stored = await world.store.notification_cursor("team")
        assert cursor is not None
        assert stored is not None
        assert stored.revision > cursor.revision
        one.connect_again()
        one.store.outage_of = set()


async def test_duties__are_handed_over_at_once_by_a_replica_that_stops(world: World) -> None:
    async with replicas_of(world) as replicas:
        async with replicas_of(world) as others:
            one = await others.add()
            await others.pass_time(timedelta(seconds=2))
            two = await replicas.add()
            assert await has(world, one, RETENTION)
            assert await has(world, one, SCHEDULES)
        stopped_at = world.clock.elapsed()

        async def taken() -> bool:
            return await has(world, two, RETENTION) and await has(world, two, SCHEDULES)

        await replicas.until(taken)
        assert world.clock.elapsed() - stopped_at <= timedelta(seconds=10)


async def test_duty__that_fails_is_done_again(world: World) -> None:
    async with replicas_of(world) as replicas:
        one = await replicas.add()
        began: list[Any] = []

        async def work(duty: Any) -> None:
            began.append(duty)
            if len(began) < 3:
                raise AssertionError("unforeseen")
            await one.clock.sleep(timedelta(days=1))

        doing = replicas.run(one.engine.duties.keep("sweeping", work))
        await replicas.until(lambda: _now(len(began) == 3))
        await replicas.pass_time(LEASE)
        assert len(began) == 3
        doing.cancel()


async def test_certificate__is_told_of_once_by_replicas_that_share_it(world: World) -> None:
    expires_at = world.clock.now() + timedelta(days=5)
    expiry = CertificateExpiry(
        use=CertificateUse.SERVER, file=str(Path("/etc/tls.pem")), expires_at=expires_at
    )
    async with replicas_of(world) as replicas:
        several = [await replicas.add() for _ in range(2)]
        watches = []
        for replica in several:
            store: Any = replica.store
            watch = CertificateWatch(store=store, clock=replica.clock, read=lambda: (expiry,))
            hold = replica.store.hold_after_read("told_expiries")
            watches.append((replicas.run(watch.keep()), hold))
        for _, hold in watches:
            await hold.reached.wait()
        for _, hold in watches:
            hold.released.set()
        await replicas.pass_time(timedelta(hours=3))
        for task, _ in watches:
            task.cancel()
    told = [e for e in await world.events() if isinstance(e.body, CertificateExpiring)]
    assert len(told) == 1


async def _now(value: bool) -> bool:
    return value
