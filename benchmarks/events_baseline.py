"""The baseline of `events`: a bare grpc.aio server that sends the same events, one a message, to every watcher.

The messages are encoded beforehand, so that nothing but sending them is left to do. It prints its
address, and sends that many events to every watcher for every number that it is given.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime

import grpc

from benchmarks.happenings import happening
from benchmarks.watchers import METHOD
from tendhost.server.rpc.convert.events import event_message
from tendhost.v1 import event_service_pb2


class Burst:
    """The events of one burst, as they go over the wire, and the moment at which they go."""

    def __init__(self) -> None:
        self._messages: list[bytes] = []
        self._told = asyncio.Event()

    def begin(self, count: int) -> None:
        """Send `count` events to whoever watches."""
        now = datetime.now(UTC)
        self._messages = [_encoded(revision, now) for revision in range(1, count + 1)]
        self._told.set()

    async def watch(self, request: bytes, context: object) -> AsyncIterator[bytes]:
        """The handler of the stream: a first message without events, then one for every event."""
        yield b""
        await self._told.wait()
        for message in self._messages:
            yield message


def _encoded(revision: int, now: datetime) -> bytes:
    event = event_message(replace(happening(revision, now), revision=revision))
    response = event_service_pb2.WatchEventsResponse(events=[event], revision=revision)
    return response.SerializeToString()


async def main() -> None:
    burst = Burst()
    _, service, method = METHOD.split("/")
    server = grpc.aio.server()
    handler = grpc.unary_stream_rpc_method_handler(burst.watch)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(service, {method: handler}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"127.0.0.1:{port}", flush=True)
    line = await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    burst.begin(int(line))
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main())
