"""A server for the figures of streams: it commits what it is told to, and says what CPU time it has taken.

It prints its address. "events N" commits that many events of 2,000 hosts, "operation" stores an operation that
nobody carries out and prints its id, "cpu" prints the CPU seconds of all threads since the start.
"""

import asyncio
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.hostless_engine import hostless_engine
from tendhost.server.domain.events import Event, StateChanged
from tendhost.server.domain.hosts.states import HostState
from tendhost.server.domain.operations.operation import Operation, OperationKind, OperationStatus
from tendhost.server.main import DATABASE
from tendhost.server.store.protocol import Store
from tendhost.server.store.records import Change
from tendhost.server.store.sqlite import open_store
from tests.rpc.open_server import serving

HOSTS = 2_000
EVENTS_PER_CHANGE = 500
_MOVED = StateChanged(origin=HostState.IDLE, to=HostState.QUERYING, cause="query")


async def _answer(store: Store, command: str, argument: str) -> str:
    now = datetime.now(UTC)
    if command == "cpu":
        return str(time.process_time())
    if command == "operation":
        operation = Operation(
            id="01a228fc-b916-71df-a123-1703babeb607",
            host="host-00000",
            kind=OperationKind.QUERY,
            created_at=now,
            status=OperationStatus.RUNNING,
        )
        event = Event(at=now, body=_MOVED, host=operation.host, operation=operation.id)
        await store.commit(Change(events=(event,), operations=(operation,)))
        return operation.id
    revision = 0
    for start in range(0, int(argument), EVENTS_PER_CHANGE):
        numbers = range(start, start + EVENTS_PER_CHANGE)
        events = [Event(at=now, body=_MOVED, host=f"host-{n % HOSTS:05}") for n in numbers]
        revision = (await store.commit(Change(events=events))).revision
    return str(revision)


async def main(state_dir: Path) -> None:
    """Serve until standard input ends."""
    store = await open_store(state_dir / DATABASE)
    loop = asyncio.get_running_loop()
    async with (
        hostless_engine(store) as engine,
        serving(engine, "127.0.0.1:0") as address,
    ):
        print(address, flush=True)
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            command, _, argument = line.strip().partition(" ")
            print(await _answer(store, command, argument), flush=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
