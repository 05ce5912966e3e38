"""A client that sends as many calls of one kind as it can, and calls again at once when it is refused.

It prints "flooding" when the first call has ended, and for each line that it reads how many calls were answered and how
many were refused.
"""

import asyncio
import itertools
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import grpc

from benchmarks.flood import HOSTS, bearer
from tendhost.v1 import event_service_pb2, host_service_pb2, selection_service_pb2
from tendhost.v1.event_service_pb2_grpc import EventServiceStub
from tendhost.v1.host_service_pb2_grpc import HostServiceStub
from tendhost.v1.selection_service_pb2_grpc import SelectionServiceStub

CONNECTIONS = 4
CALLS_EACH = 100
"""Calls at the same time on each connection."""


class Flood:
    """Calls of one kind, without end."""

    def __init__(self, kind: str, token: str) -> None:
        self.answered = 0
        self.refused = 0
        self.began = asyncio.Event()
        self._kind = kind
        self._metadata = bearer("tend_wrong" if kind == "wrong tokens" else token)
        self._numbers = itertools.count()

    async def run(self, channel: grpc.aio.Channel) -> None:
        """Send calls one after the other until cancelled."""
        call = self._calls(channel)
        while True:
            try:
                await call()
                self.answered += 1
            except grpc.aio.AioRpcError:
                self.refused += 1
            self.began.set()

    def _calls(self, channel: grpc.aio.Channel) -> Callable[[], Awaitable[object]]:
        hosts: Any = HostServiceStub(channel)
        selections: Any = SelectionServiceStub(channel)
        events: Any = EventServiceStub(channel)
        metadata = self._metadata

        async def read() -> None:
            name = f"host-{next(self._numbers) % HOSTS:05}"
            await hosts.GetHost(host_service_pb2.GetHostRequest(name=name), metadata=metadata)

        async def list_hosts() -> None:
            await hosts.ListHosts(host_service_pb2.ListHostsRequest(), metadata=metadata)

        async def list_long() -> None:
            request = host_service_pb2.ListHostsRequest(page_size=HOSTS)
            await hosts.ListHosts(request, metadata=metadata)

        async def mutate() -> None:
            name = f"s{next(self._numbers)}"
            request = selection_service_pb2.CreateSelectionRequest(name=name)
            await selections.CreateSelection(request, metadata=metadata)

        async def watch() -> None:
            request = event_service_pb2.WatchEventsRequest(snapshot=True)
            stream = events.WatchEvents(request, metadata=metadata)
            while (await stream.read()).phase != event_service_pb2.WATCH_PHASE_SNAPSHOT_END:
                pass
            # Some stay open, which the server ends by nothing.
            if next(self._numbers) % 2:
                stream.cancel()
            else:
                await stream.read()

        calls = {
            "lists": list_hosts,
            "long lists": list_long,
            "mutations": mutate,
            "streams": watch,
        }
        return calls.get(self._kind, read)


async def main(address: str, kind: str, token: str) -> None:
    """Flood until standard input ends."""
    flood = Flood(kind, token)
    own = (("grpc.use_local_subchannel_pool", 1),)
    channels = [grpc.aio.insecure_channel(address, options=own) for _ in range(CONNECTIONS)]
    tasks = [
        asyncio.create_task(flood.run(channel)) for channel in channels for _ in range(CALLS_EACH)
    ]
    await flood.began.wait()
    print("flooding", flush=True)
    loop = asyncio.get_running_loop()
    while await loop.run_in_executor(None, sys.stdin.readline):
        print(flood.answered, flood.refused, flush=True)
    for task in tasks:
        task.cancel()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
