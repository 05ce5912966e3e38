"""Osquery statements for one host, answered to the client: nothing is stored, and nothing is changed."""

from collections.abc import Mapping
from datetime import timedelta

from tendhost.server.clock import Clock
from tendhost.server.domain.request_errors import FieldViolation, InvalidArgument, OsqueryRefused
from tendhost.server.engine.concurrency import OperationLimits, Slot
from tendhost.server.engine.connection import HostConnector
from tendhost.server.packages.errors import PackageError
from tendhost.server.packages.osquery import MAX_SECONDS, parse_rows, run_command
from tendhost.server.packages.osquery_sql import SqlRefused
from tendhost.server.store.protocols.hosts import HostStore

TIMEOUT = timedelta(seconds=MAX_SECONDS + 15)
"""Time limit for an answer; on hosts with timeout(1) osqueryi is stopped earlier."""
AT_ONCE = 16


class OsqueryClient:
    """Runs osquery statements on hosts, in slots of its own beside those of operations."""

    def __init__(self, *, store: HostStore, connector: HostConnector, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._connector = connector
        self._limits = OperationLimits(AT_ONCE)

    async def osquery(self, name: str, sql: str) -> tuple[Mapping[str, str], ...]:
        """The rows that the host's osquery returns for one statement that only reads.

        Raises HostNotFound, InvalidArgument (the statement does more than read), OsqueryRefused, SshError.
        """
        try:
            command = run_command(sql)
        except SqlRefused as error:
            raise InvalidArgument(FieldViolation("sql", error.text)) from error
        host = await self._store.host(name)
        async with Slot(self._limits, clock=self._clock):
            remote = await self._connector.connect(host)
            try:
                completed = await remote.run(command, timeout=TIMEOUT)
            finally:
                await remote.close()
        try:
            return parse_rows(completed.stdout)
        except PackageError as error:
            raise OsqueryRefused(host=name, problem=str(error)) from error
