"""The store on PostgreSQL: one writer, reads, and what other servers have committed, heard of by polling."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

from tendhost.server.clock import wait_for
from tendhost.server.domain.events import Event, OperationChanged
from tendhost.server.domain.request_errors import StoreUnavailable
from tendhost.server.store import rows, sql
from tendhost.server.store.base import BaseStore, Ends, ends_of
from tendhost.server.store.postgres.address import parse_address
from tendhost.server.store.postgres.connections import Connections
from tendhost.server.store.postgres.quiet_commits import QuietCommitsOfOthers
from tendhost.server.store.postgres.reads import PostgresReads
from tendhost.server.store.postgres.schema import prepare
from tendhost.server.store.postgres.writer import PostgresWriter
from tendhost.server.store.records import EndedOperation, Touched
from tendhost.server.store.session import DatabaseSession

logger = logging.getLogger(__name__)

T = TypeVar("T")

POLL = timedelta(milliseconds=230)
"""Between two looks at what other servers have committed. NOTIFY would have all commits of a database wait for
each other, and does not pass a pooler."""
LONGEST_LAG = timedelta(seconds=10)
"""A server that has not heard for so long of everything that others have committed is of no use to clients."""
HEARD_AT_ONCE = 1000
"""Events of other servers that are read in one go."""
NEWS = """
    SELECT revision, (SELECT max(number) FROM audit),
        (SELECT value FROM meta WHERE key = 'pruned_to'), (SELECT CAST(sum(sequence) AS BIGINT) FROM commits)
    FROM counter WHERE id = 1
"""
QUIET_COMMITS = "SELECT writer, touched FROM commits WHERE writer <> ?1"
DROP_OLD_WRITERS = "DELETE FROM commits WHERE at < now() - INTERVAL '7 days'"
"""A writer that is there all the same makes its row again."""


async def open_postgres(address: str) -> "PostgresStore":
    """The store in the database at `address`, whose schema is made if it is not there.

    Raises ConfigurationError (the address) and StoreUnavailable (no server answers, or the database cannot be
    tendhost's: see `schema.prepare`).
    """
    connections = Connections(parse_address(address))
    await prepare(connections)
    reads = PostgresReads(connections)
    try:
        return PostgresStore(connections, await reads._look_up(ends_of))
    except BaseException:
        await reads._close()
        raise


class PostgresStore(PostgresReads, BaseStore):
    """The store in a database that other servers have open, too."""

    def __init__(self, connections: Connections, ends: Ends) -> None:
        BaseStore.__init__(self, ends)
        PostgresReads.__init__(self, connections)
        self._heard = ends.revision
        """Listeners know of all that was committed up to this revision."""
        self._writer = PostgresWriter(
            connections, self._committed, when_unusable=self._unusable.set
        )
        self._news = asyncio.Event()
        """Set where other servers have committed something for sure."""
        self._quiet = QuietCommitsOfOthers()
        self._commits: int | None = None
        """Number of transactions of all writers, so that nothing is read where there were none."""
        self._loop = asyncio.get_running_loop()
        self._caught_up_at = self._loop.time()
        """When everything that was committed until then had been heard of."""
        self._closing = False
        self._poller = self._loop.create_task(self._poll())

    async def _submit(self, work: Callable[[DatabaseSession], T]) -> T:
        return await self._writer.submit(work)

    def _add_events(self, events: Sequence[Event]) -> None:
        first, last = events[0].revision, events[-1].revision
        if first > self._heard + 1:
            # Another server's events lie before them; they are read at once, and these with them.
            self._recent.reach(last)
            self._news.set()
            return
        self._heard = max(self._heard, last)
        self._recent.extend(events)

    async def _poll(self) -> None:
        while not self._closing:
            await wait_for(self._news.wait(), timeout=POLL)
            self._news.clear()
            began = self._loop.time()
            try:
                await self._hear()
            except StoreUnavailable as error:
                logger.debug("news could not be read", extra={"cause": error.cause})
            except Exception:
                logger.exception("news could not be read")
            else:
                self._caught_up_at = began
            self._note_lag()

    def _note_lag(self) -> None:
        """Have the store looked at where it lags behind."""
        if self._lag > LONGEST_LAG:
            self._unusable.set()

    @property
    def _lag(self) -> timedelta:
        return timedelta(seconds=self._loop.time() - self._caught_up_at)

    async def _hear(self) -> None:
        revision, audited, pruned_to, commits = await self._row(NEWS)
        if pruned_to is not None and int(pruned_to) > self._pruned_to:
            self._forget(int(pruned_to))
        self._audit_tail.reach(audited or 0)
        if commits != self._commits:
            self._commits = commits
            await self._hear_quiet_commits()
        while self._heard < revision:
            found = await self._read(partial(_events, after=self._heard))
            # Meanwhile a commit of this server may have told of its own.
            news = [event for event in found if event.revision > self._heard]
            if not found:
                self._heard = max(self._heard, revision)  # all of it was pruned
            if news:
                self._heard = news[-1].revision
                self._recent.extend(news)
                self._tell(_touched_by(news))
            self._note_lag()

    async def _hear_quiet_commits(self) -> None:
        def work(database: DatabaseSession) -> dict[str, str]:
            return dict(map(tuple, database.execute(QUIET_COMMITS, (self._writer.id,))))

        operations = self._quiet.news(await self._look_up(work))
        if operations:
            self._tell(Touched(operations=operations))

    async def prune(
        self, *, before: datetime, now: datetime, requests_before: int, keep_events: int
    ) -> int:
        dropped = await super().prune(
            before=before, now=now, requests_before=requests_before, keep_events=keep_events
        )
        await self._submit(lambda database: database.execute(DROP_OLD_WRITERS).rowcount)
        return dropped

    async def until_unusable(self, *, timeout: timedelta) -> bool:
        await wait_for(self._unusable.wait(), timeout=timeout)
        return self._unusable.is_set()

    async def probe(self) -> None:
        self._unusable.clear()
        await self._submit(lambda database: database.execute(sql.LOCK_COUNTER).fetchone())
        await self._row(sql.CURRENT_REVISION)
        if self._lag > LONGEST_LAG:
            seconds = self._lag.total_seconds()
            raise StoreUnavailable(
                cause=f"the events of other servers are read {seconds:.0f} s late"
            )

    async def aclose(self) -> None:
        self._closing = True
        self._news.set()
        await asyncio.wait({self._poller})
        await self._writer.aclose()
        await self._close()


def _events(database: DatabaseSession, after: int) -> list[Event]:
    found = database.execute(sql.GET_EVENTS, (after, HEARD_AT_ONCE))
    return [rows.event_of(row) for row in found]


def _touched_by(events: Sequence[Event]) -> Touched:
    """What events tell of, each of which was stored with the change that it is of."""
    return Touched(
        hosts=frozenset(event.host for event in events if event.host),
        operations=frozenset(event.operation for event in events if event.operation),
        rollouts=frozenset(event.rollout for event in events if event.rollout),
        ended=tuple(
            EndedOperation(host=event.host, rollout=event.rollout)
            for event in events
            if isinstance(event.body, OperationChanged) and event.body.status.ended
        ),
        kinds=frozenset(rows.kind_of(event) for event in events),
    )
