"""The one connection of a server that writes to PostgreSQL: works that have gathered share one transaction.

What became of a transaction whose COMMIT was sent and not answered is found out, never guessed. Each transaction
writes its number into the row that its writer has in `commits`, and the row takes a number only where it
follows the one before (a CHECK of the table). Whoever asks for the outcome gives the row the next number but one,
unless it has the number in question: then it was committed, and else it never will be, for the row refuses it.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from datetime import timedelta
from typing import Any, TypeVar
from uuid import uuid4

import asyncpg

from tendhost.server.clock import wait_for
from tendhost.server.domain.request_errors import StoreUnavailable
from tendhost.server.failpoints import reached
from tendhost.server.store.apply_change import Written
from tendhost.server.store.gathering import Gathering, Work, refuse
from tendhost.server.store.migrations import SCHEMA
from tendhost.server.store.postgres.connections import Connections, Link
from tendhost.server.store.postgres.quiet_commits import QuietCommits
from tendhost.server.store.postgres.session import COMMAND_TIMEOUT, LoopSession, run_in_greenlet
from tendhost.server.store.postgres.trouble import in_words, is_conflict, is_lost, is_own
from tendhost.server.store.session import DatabaseSession

logger = logging.getLogger(__name__)

T = TypeVar("T")

ATTEMPTS = 4
"""How often a group is tried that lost its connection before COMMIT, or met another transaction."""
GROUP_TIMEOUT = 15.0
"""Seconds for the works of a group; 256 changes take less than one."""
DOUBT = timedelta(seconds=30)
"""How long callers wait for the outcome of a COMMIT that was not answered."""
DOUBT_PAUSE = timedelta(seconds=0.5)
BEGIN = (
    "BEGIN ISOLATION LEVEL READ COMMITTED;"
    # A server that has lost its client keeps no locks, and none waits for another without end.
    " SET LOCAL idle_in_transaction_session_timeout = '5s'; SET LOCAL lock_timeout = '8s'"
)
COMMIT = (
    # An interrupted wait for a synchronous standby would be reported as a commit.
    "SET LOCAL statement_timeout = 0;"
    " INSERT INTO commits (writer, previous, sequence, at, touched)"
    # A server of an older version writes nothing any more: without a number the row is refused.
    " VALUES ('{writer}', {previous},"
    " CASE WHEN (SELECT value FROM meta WHERE key = 'schema') = '{schema}' THEN {sequence} END,"
    " now(), '{touched}')"
    " ON CONFLICT (writer) DO UPDATE SET previous = commits.sequence, sequence = excluded.sequence,"
    " at = excluded.at, touched = excluded.touched;"
    " COMMIT"
)
NEWER = "a newer tendhost has changed the database since; upgrade this server, and start it again"
SETTLE = """
    INSERT INTO commits (writer, previous, sequence, at) VALUES (?1, CAST(?2 AS BIGINT), CAST(?2 AS BIGINT) + 1, now())
    ON CONFLICT (writer) DO UPDATE SET
        previous = CASE WHEN commits.sequence = CAST(?2 AS BIGINT) THEN commits.previous ELSE excluded.previous END,
        sequence = CASE WHEN commits.sequence = CAST(?2 AS BIGINT) THEN commits.sequence ELSE excluded.sequence END
    RETURNING sequence
"""


class _Apart(Exception):
    """A work of the group failed: what it has written is to be undone alone."""


class _InDoubt(Exception):
    """COMMIT was sent, and the connection was lost before it was answered."""


class PostgresWriter:
    """Runs works one after the other, each in a transaction of its own as far as it can tell."""

    def __init__(
        self,
        connections: Connections,
        when_done: Callable[[Sequence[Any]], None],
        *,
        when_unusable: Callable[[], None] = lambda: None,
    ) -> None:
        """For `when_done` and `when_unusable` see Gathering."""
        self._connections = connections
        self._name = connections.address.shown
        self._gathering = Gathering(
            self._begin, when_done, name=self._name, when_unusable=when_unusable
        )
        self.id = str(uuid4())
        """By which the server's row in `commits` is known."""
        self._quiet = QuietCommits()
        self._sequence = 0
        """Of the last transaction."""
        self._doubtful = False
        """Whether it is not known what became of it."""
        self._link: Link | None = None
        self._task: asyncio.Task[None] | None = None

    async def submit(self, work: Callable[[DatabaseSession], T]) -> T:
        """See Gathering.submit.

        StoreUnavailable may also mean that the outcome of the COMMIT could not be found out within DOUBT; it
        says so.
        """
        return await self._gathering.submit(work)

    async def aclose(self) -> None:
        """Finish what was handed in and close the connection."""
        last = self._gathering.close()
        if self._task is not None:
            await asyncio.wait({self._task})
        if last:
            await self._run(last)
        if self._link is not None:
            await self._link.close()

    def _begin(self, group: list[Work]) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(group))

    async def _run(self, group: list[Work]) -> None:
        try:
            await self._commit(group)
        except (
            BaseException
        ) as error:  # also where a fault of this file ends it, each gets an answer
            refuse(group, RuntimeError(in_words(error)), name=self._name)
            raise
        finally:
            self._gathering.deliver(group)

    async def _commit(self, group: list[Work]) -> None:
        apart, attempt = False, 0
        while True:
            attempt += 1
            try:
                link = await self._connected()
                await self._written(link, group, apart=apart)
                return
            except _Apart:
                apart, attempt = True, attempt - 1
            except _InDoubt as doubt:
                if await self._found_out(group, doubt):
                    return
            except StoreUnavailable as error:  # there is no connection
                for job in group:
                    job.error = error
                return
            except Exception as error:
                again = self._may_be_tried_again(error)
                logger.warning(
                    "a commit failed",
                    extra={"database": self._name, "changes": len(group), "cause": in_words(error)},
                )
                if not again or attempt == ATTEMPTS:
                    refuse(group, _Told(in_words(error)), name=self._name)
                    return

    def _may_be_tried_again(self, error: Exception) -> bool:
        """Whether to try again what certainly was not committed."""
        link = self._link
        if link is None:
            return False
        if is_lost(error, link.connection):
            self._drop()
            return not isinstance(error, TimeoutError)
        return is_conflict(error)

    def _drop(self) -> None:
        if self._link is not None:
            self._link.drop()
            self._link = None

    async def _connected(self) -> Link:
        if self._link is not None and self._link.connection.is_closed():
            self._drop()
        if self._link is None:
            self._link = await self._connections.reconnect()
        if self._doubtful:
            await self._settle(self._link)
        if self._link.in_transaction:
            await self._link.statements.command("ROLLBACK")
        return self._link

    async def _written(self, link: Link, group: list[Work], *, apart: bool) -> None:
        """Commit `group`, or nothing of it."""
        session = LoopSession(link.statements)
        session_apart = apart and len(group) > 1
        await link.statements.command(BEGIN)
        try:
            async with asyncio.timeout(GROUP_TIMEOUT):
                await run_in_greenlet(
                    lambda: self._perform(link, session, group, apart=session_apart)
                )
        except _Apart:
            await link.statements.command("ROLLBACK")
            raise
        if len(group) == 1 and group[0].error is not None:
            await link.statements.command("ROLLBACK")
            return
        reached("store.before_commit")
        await self._end(link, _quietly_touched(group))
        reached("store.after_commit")

    def _perform(self, link: Link, session: LoopSession, group: list[Work], *, apart: bool) -> None:
        """Run the works of a group; with `apart` each is undone alone where it fails."""
        for number, job in enumerate(group):
            job.result = job.error = None
            if apart:
                session.command("RELEASE job; SAVEPOINT job" if number else "SAVEPOINT job")
            try:
                job.result = job.work(session)
            except Exception as error:
                if is_lost(error, link.connection) or is_conflict(error) or not is_own(error):
                    raise
                if apart:
                    session.command("ROLLBACK TO job")
                elif len(group) > 1:
                    raise _Apart from error
                job.fail(error)

    async def _end(self, link: Link, touched: Collection[str]) -> None:
        """Commit. Raises _InDoubt, and any other error where it is certain that nothing is committed."""
        previous, self._sequence = self._sequence, self._sequence + 1
        self._quiet.add(self._sequence, touched)
        text = COMMIT.format(
            writer=self.id,
            previous=previous,
            sequence=self._sequence,
            schema=SCHEMA,
            touched=self._quiet.text().replace("'", "''"),
        )
        # Not by a timeout of asyncpg's, which would ask the server to interrupt the COMMIT.
        task = asyncio.ensure_future(link.connection.execute(text))
        done, _ = await asyncio.wait({task}, timeout=COMMAND_TIMEOUT)
        if not done:
            self._drop()
            await asyncio.wait({task})
        error = task.exception()
        if error is None:
            return
        if done and not is_lost(error, link.connection):
            self._sequence = previous
            if isinstance(error, asyncpg.NotNullViolationError):
                raise _Told(NEWER) from error
            raise error
        self._doubtful = True
        self._drop()
        raise _InDoubt(in_words(error if done else TimeoutError()))

    async def _found_out(self, group: list[Work], doubt: _InDoubt) -> bool:
        """Whether a group whose COMMIT was not answered is done with: committed, or refused."""
        logger.warning(
            "the answer to a commit was lost", extra={"database": self._name, "cause": str(doubt)}
        )
        loop = asyncio.get_running_loop()
        end = loop.time() + DOUBT.total_seconds()
        while True:
            try:
                link = self._link = await self._connections.reconnect()
                return await self._settle(link)
            except Exception as error:
                self._drop()
                logger.warning(
                    "the outcome of a commit is still unknown",
                    extra={"database": self._name, "cause": in_words(error)},
                )
            if loop.time() >= end:
                cause = f"{doubt}; whether the change is stored is unknown until the server answers"
                refuse(group, _Told(cause), name=self._name)
                return True
            await wait_for(asyncio.Event().wait(), timeout=DOUBT_PAUSE)

    async def _settle(self, link: Link) -> bool:
        """Whether the last transaction was committed; if not, it never will be."""
        values = (self.id, self._sequence)
        (found,) = (await link.statements.run(SETTLE, values)).fetchone()
        committed: bool = found == self._sequence
        self._sequence, self._doubtful = found, False
        return committed


def _quietly_touched(group: Sequence[Work]) -> frozenset[str]:
    """The operations that were stored without an event."""
    results = (job.result for job in group if isinstance(job.result, Written))
    return frozenset().union(*(r.touched.operations for r in results if not r.events))


class _Told(Exception):
    """A cause in words that may be told."""
