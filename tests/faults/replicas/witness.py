"""Watches the events of one replica from the first one on: what each revision was, and what came out of order."""

import asyncio

import grpc

from tendhost.v1 import event_service_pb2 as pb
from tendhost.v1.event_service_pb2_grpc import EventServiceStub

PAUSE_SECONDS = 0.1


class Witness:
    """Resumes where it was, for as long as it runs, whatever becomes of the replica."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._log_id = ""
        self._moved = asyncio.Condition()
        self.reached = 0
        self.seen: dict[int, bytes] = {}
        """The serialised event of each revision."""
        self.gaps: list[str] = []
        """A sentence for each revision that came twice, or out of order, or was another one before."""

    async def run(self) -> None:
        """Watch until cancelled."""
        async with grpc.aio.insecure_channel(self._address) as channel:
            stub = EventServiceStub(channel)
            while True:
                try:
                    await self._watch(stub)
                except grpc.aio.AioRpcError as error:
                    if error.code() is grpc.StatusCode.OUT_OF_RANGE:
                        self.gaps.append(f"revision {self.reached} is not known any more")
                        return
                await asyncio.sleep(PAUSE_SECONDS)

    async def caught_up(self, revision: int) -> None:
        """Wait until it has reached a revision."""
        async with self._moved:
            await self._moved.wait_for(lambda: self.reached >= revision)

    async def _watch(self, stub: EventServiceStub) -> None:
        request = pb.WatchEventsRequest(resume_after=self.reached, log_id=self._log_id)
        async for message in stub.WatchEvents(request, wait_for_ready=True):
            self._log_id = message.log_id or self._log_id
            for event in message.events:
                if event.revision <= self.reached:
                    self.gaps.append(f"revision {event.revision} after {self.reached}")
                self.seen[event.revision] = event.SerializeToString(deterministic=True)
                self.reached = event.revision
            self.reached = max(self.reached, message.revision)
            async with self._moved:
                self._moved.notify_all()


def differences(witnesses: dict[str, Witness]) -> list[str]:
    """What witnesses contradict each other in, and what is missing between the first revision and the last."""
    found = [f"{name}: {gap}" for name, one in witnesses.items() for gap in one.gaps]
    last = max((max(one.seen, default=0) for one in witnesses.values()), default=0)
    for revision in range(1, last + 1):
        told = {name: one.seen.get(revision) for name, one in witnesses.items()}
        if len(set(told.values())) > 1 or None in told.values():
            without = [name for name, event in told.items() if event is None]
            found.append(
                f"revision {revision} " + (f"is not known to {without}" if without else "differs")
            )
    return found
