"""Leases in the database, within a transaction that the caller begins and ends: see domain/leases.

A claim locks the counter row before anything else, as every change with events does. So a claim and the
change of an owner come one after the other, whichever database is behind them, and the second sees the first.
"""

from collections.abc import Iterable, Sequence
from datetime import timedelta

from tendhost.server.domain.leases import Held, LeaseKind, Replica
from tendhost.server.store import rows, sql
from tendhost.server.store.records import Conflict, LeaseLost
from tendhost.server.store.session import DatabaseSession

ENDLESS = 2**61
"""Microseconds of a lease that does not end: 73,000 years."""
KEPT = timedelta(days=1)
"""How long a replica that is gone is still listed."""
MICROSECOND = timedelta(microseconds=1)


def enter(database: DatabaseSession, replica: Replica, lease: timedelta | None) -> None:
    """See LeaseStore.enter_replica."""
    database.execute(sql.DELETE_OLD_REPLICAS, (KEPT // MICROSECOND,))
    length = ENDLESS if lease is None else lease // MICROSECOND
    database.execute(sql.PUT_REPLICA, (replica.id, replica.name, length, rows.document(replica)))


def renew(database: DatabaseSession, replica: str, lease: timedelta) -> bool:
    """See LeaseStore.renew_replica."""
    values = (replica, lease // MICROSECOND)
    return database.execute(sql.RENEW_REPLICA, values).rowcount > 0


def leave(database: DatabaseSession, replica: str) -> None:
    """See LeaseStore.leave_replica."""
    database.execute(sql.DELETE_REPLICA, (replica,))


def claim(database: DatabaseSession, kind: LeaseKind, replica: str, limit: int) -> Sequence[Held]:
    """See LeaseStore.claim."""
    free = [id for (id,) in database.execute(sql.FREE[kind], (limit,)).fetchall()]
    if not free:
        return ()
    _begin_claim(database, replica)
    found = (_claimed(database, kind, id, replica) for id in free)
    return tuple(held for held in found if held is not None)


def claim_duty(database: DatabaseSession, duty: str, replica: str) -> Held | None:
    """See LeaseStore.claim_duty."""
    database.execute(sql.PUT_DUTY, (duty,))
    if database.execute(sql.FREE_DUTY, (duty,)).fetchone() is None:
        return None
    _begin_claim(database, replica)
    return _claimed(database, LeaseKind.DUTY, duty, replica)


def _begin_claim(database: DatabaseSession, replica: str) -> None:
    database.execute(sql.LOCK_COUNTER).fetchone()
    if database.execute(sql.LIVE_REPLICA, (replica,)).fetchone() is None:
        raise LeaseLost(what=f"everything of replica {replica}")


def _claimed(database: DatabaseSession, kind: LeaseKind, id: str, replica: str) -> Held | None:
    row = database.execute(sql.CLAIM[kind], (id, replica)).fetchone()
    return None if row is None else Held(kind=kind, id=id, owner=replica, epoch=row[0])


def take(database: DatabaseSession, taken: Iterable[Held]) -> None:
    """Store who drives what begins with a change. Raises Conflict where somebody does already."""
    for held in taken:
        values = (held.id, held.owner, held.epoch)
        if database.execute(sql.TAKE[held.kind], values).rowcount == 0:
            raise Conflict(what=str(held))


def require_held(database: DatabaseSession, held: Iterable[Held]) -> None:
    """Raise LeaseLost unless each is still held, and keep it from being claimed until the transaction ends."""
    for one in held:
        values = (one.id, one.owner, one.epoch)
        if database.execute(sql.HOLDS[one.kind], values).rowcount == 0:
            raise LeaseLost(what=str(one))


def owned(database: DatabaseSession, kind: LeaseKind, replica: str) -> frozenset[str]:
    """See LeaseStore.owned."""
    return frozenset(id for (id,) in database.execute(sql.OWNED[kind], (replica,)).fetchall())


def release(database: DatabaseSession, kind: LeaseKind, id: str, replica: str) -> None:
    """See LeaseStore.release."""
    database.execute(sql.RELEASE[kind], (id, replica))


def replicas(database: DatabaseSession) -> Sequence[tuple[Replica, timedelta]]:
    """See LeaseStore.replicas."""
    found = database.execute(sql.ALL_REPLICAS).fetchall()
    return [(rows.replica_of(document), left * MICROSECOND) for document, left in found]
