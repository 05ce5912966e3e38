"""A watcher of the events who reconnects at random, and holds the server to tell each revision once."""

import asyncio
import random
from collections.abc import Callable

import grpc

from tendhost.v1 import event_service_pb2
from tendhost.v1.event_service_pb2_grpc import EventServiceStub

LONGEST_CONNECTION_SECONDS = 3.0
CATCH_UP_SECONDS = 30.0


class Watcher:
    """Watches from the first event on, and remembers what came out of order."""

    def __init__(self, events: Callable[[], EventServiceStub], rng: random.Random) -> None:
        self._events = events
        self._rng = rng
        self._seen = 0
        self._log_id = ""
        self._moved = asyncio.Condition()
        self.connections = 0
        self.gaps: list[str] = []
        """One sentence for each revision that was not the next."""

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            try:
                async with asyncio.timeout(self._rng.uniform(0.05, LONGEST_CONNECTION_SECONDS)):
                    await self._watch_once()
            except TimeoutError:
                continue
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    self.gaps.append(
                        f"after revision {self._seen}: {error.code()}, {error.details()}"
                    )
                await asyncio.sleep(0.05)

    async def caught_up(self) -> int:
        """How many revisions were seen, once these are all; what was not seen becomes a gap."""
        request = event_service_pb2.WatchEventsRequest()
        stream = self._events().WatchEvents(request, wait_for_ready=True)
        current = -1
        try:
            async with asyncio.timeout(CATCH_UP_SECONDS), self._moved:
                current = (await anext(aiter(stream))).current_revision
                await self._moved.wait_for(lambda: self._seen >= current)
        except (TimeoutError, grpc.aio.AioRpcError) as error:
            self.gaps.append(f"stayed at revision {self._seen} of {current}: {error!r}")
        finally:
            stream.cancel()
        return self._seen

    async def _watch_once(self) -> None:
        request = event_service_pb2.WatchEventsRequest(resume_after=self._seen, log_id=self._log_id)
        self.connections += 1
        stream = self._events().WatchEvents(request, wait_for_ready=True)
        try:
            async for message in stream:
                self._log_id = message.log_id or self._log_id
                for event in message.events:
                    self._take(event.revision)
                async with self._moved:
                    self._moved.notify_all()
        finally:
            stream.cancel()

    def _take(self, revision: int) -> None:
        if revision != self._seen + 1:
            self.gaps.append(f"revision {revision} came after {self._seen}")
        self._seen = max(self._seen, revision)
