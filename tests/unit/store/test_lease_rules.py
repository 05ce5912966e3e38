"""Leases under anything that may happen: replicas that die, sleep, are slow or are cut off, in any order.

The statements are the store's own, on a database in memory.
"""

import sqlite3
from datetime import UTC, datetime, timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from tendhost.server.domain.leases import LEASE, Held, LeaseKind, Replica, Tenure
from tendhost.server.store import leases
from tendhost.server.store.migrations import MIGRATIONS
from tendhost.server.store.records import LeaseLost

STARTED = datetime(2026, 3, 1, tzinfo=UTC)
DUTIES = ("a", "b", "c")
SOME_TIME = st.integers(0, 2 * int(LEASE.total_seconds())).map(lambda s: timedelta(seconds=s))


class LeaseRules(RuleBasedStateMachine):
    """Any number of replicas that fight for a few duties."""

    replicas = Bundle("replicas")

    def __init__(self) -> None:
        super().__init__()
        self.elapsed = timedelta()
        self.database = sqlite3.connect(":memory:", isolation_level=None)
        self.database.create_function(
            "database_clock", 0, lambda: self.elapsed // timedelta(microseconds=1)
        )
        for statement in (statement for step in MIGRATIONS for statement in step):
            self.database.execute(statement)
        self.known: dict[str, Tenure] = {}
        """What each replica knows of its lease."""
        self.held: dict[str, set[Held]] = {}
        """What each believes that it drives."""
        self.highest: dict[str, int] = {}
        """The highest epoch with which anybody has written about a duty."""

    def teardown(self) -> None:
        self.database.close()

    @rule(target=replicas, late=SOME_TIME)
    def enter(self, late: timedelta) -> str:
        return self.begin_lease(late)

    def begin_lease(self, late: timedelta) -> str:
        """A replica begins a lease; the answer may be long in coming."""
        id = f"replica-{len(self.known)}"
        sent_at = self.elapsed
        leases.enter(self.database, Replica(id=id, started_at=STARTED), LEASE)
        self.elapsed += late
        self.known[id] = Tenure.begun(id, LEASE, sent_at)
        self.held[id] = set()
        return id

    @rule(time=SOME_TIME)
    def time_passes(self, time: timedelta) -> None:
        self.elapsed += time

    @rule(id=replicas, on_the_way=SOME_TIME, back=SOME_TIME)
    def renew(self, id: str, on_the_way: timedelta, back: timedelta) -> None:
        """The request and the answer may each take long."""
        sent_at = self.elapsed
        self.elapsed += on_the_way
        renewed = leases.renew(self.database, id, LEASE)
        self.elapsed += back
        if renewed:
            self.known[id] = self.known[id].renewed(sent_at)

    @rule(id=replicas, duty=st.sampled_from(DUTIES))
    def claim(self, id: str, duty: str) -> None:
        """A replica claims, whether or not its lease goes on."""
        try:
            held = leases.claim_duty(self.database, duty, id)
        except LeaseLost:
            assert not self.known[id].certain(self.elapsed), "whoever is certain may claim"
            return
        if held is not None:
            self.held[id].add(held)

    @rule(id=replicas)
    def write(self, id: str) -> None:
        """A replica writes about everything that it ever drove, certain or not."""
        for held in sorted(self.held[id], key=lambda held: (held.id, held.epoch)):
            try:
                leases.require_held(self.database, (held,))
            except LeaseLost:
                self.held[id].discard(held)
            else:
                assert held.epoch >= self.highest.get(held.id, 0), "an older owner never writes"
                self.highest[held.id] = held.epoch

    @rule(id=consumes(replicas))
    def leave(self, id: str) -> None:
        """A replica hands over, and may still try to write."""
        leases.leave(self.database, id)
        self.known[id] = Tenure(replica=id, length=LEASE, until=self.elapsed)

    @invariant()
    def nobody_else_drives_what_a_certain_replica_holds(self) -> None:
        for id, tenure in self.known.items():
            if tenure.certain(self.elapsed):
                leases.require_held(self.database, self.held[id] - self.lost(id))

    @invariant()
    def everything_has_one_owner_that_is_certain(self) -> None:
        certain = [
            held.id
            for id, tenure in self.known.items()
            if tenure.certain(self.elapsed)
            for held in self.held[id] - self.lost(id)
        ]
        assert len(certain) == len(set(certain))

    def lost(self, id: str) -> set[Held]:
        """What a replica held under an earlier epoch."""
        latest: dict[str, int] = {}
        for held in self.held[id]:
            latest[held.id] = max(latest.get(held.id, 0), held.epoch)
        return {held for held in self.held[id] if held.epoch < latest[held.id]}


LeaseRules.TestCase.settings = settings(max_examples=30, stateful_step_count=40, deadline=None)
TestLeaseRules = LeaseRules.TestCase


def test_everybody_who_is_certain_can_take_what_is_free() -> None:
    """No lease is lost for ever: after the longest one has ended, all of it can be claimed."""
    rules = LeaseRules()
    one, two = rules.begin_lease(timedelta()), rules.begin_lease(timedelta())
    rules.claim(one, "a")
    rules.time_passes(LEASE / 2)
    rules.renew(two, timedelta(), timedelta())
    rules.time_passes(LEASE / 2)
    rules.claim(two, "a")
    assert Held(kind=LeaseKind.DUTY, id="a", owner=two, epoch=2) in rules.held[two]
    rules.teardown()
