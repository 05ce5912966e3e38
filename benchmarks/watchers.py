"""Many clients of one event stream in one process: each holds the server to every revision, and decodes little.

Called with the server's address and how many watchers there are to be. It says "watching" once every
stream has begun, reads how many events will come, and says "seen" once every watcher has seen them.
"""

import asyncio
import sys
from collections.abc import Sequence
from typing import Any

import grpc

from tendhost.v1 import event_service_pb2

METHOD = "/tendhost.v1.EventService/WatchEvents"
CHANNELS = 4
REMEMBERED = 4096


class Ledger:
    """What the messages hold. Equal messages, as many watchers get them, are decoded once."""

    def __init__(self) -> None:
        self._spans: dict[bytes, tuple[int, int]] = {}

    def span(self, message: bytes) -> tuple[int, int]:
        """The first and the last revision in `message`, which holds all between them; (0, 0): none."""
        known = self._spans.get(message)
        if known is None:
            decoded = event_service_pb2.WatchEventsResponse.FromString(message)
            known = _span([event.revision for event in decoded.events])
            if len(self._spans) >= REMEMBERED:
                self._spans.clear()
            self._spans[message] = known
        return known


def _span(revisions: Sequence[int]) -> tuple[int, int]:
    if not revisions:
        return 0, 0
    first, last = revisions[0], revisions[-1]
    if list(revisions) != list(range(first, last + 1)):
        raise SystemExit(f"a message holds {len(revisions)} events between {first} and {last}")
    return first, last


async def _watch(stream: Any, seen: int, until: asyncio.Future[int], ledger: Ledger) -> None:
    """Read on from revision `seen` until as many events as `until` will say have followed it."""
    origin, expected = seen, await until
    while seen < origin + expected:
        first, last = ledger.span(await stream.read())
        if first and first != seen + 1:
            raise SystemExit(f"revision {seen + 1} is missing, {first} came")
        seen = last or seen


async def _begin(channel: grpc.aio.Channel) -> tuple[Any, int]:
    # Neither side of the call is decoded by grpc: bytes go out and come in as they are.
    open_stream: Any = channel.unary_stream(METHOD, None, None)
    stream = open_stream(event_service_pb2.WatchEventsRequest().SerializeToString())
    hello = event_service_pb2.WatchEventsResponse.FromString(await stream.read())
    return stream, hello.current_revision


async def main(address: str, count: int) -> None:
    options = (("grpc.use_local_subchannel_pool", 1),)  # else all channels share one connection
    channels = [grpc.aio.insecure_channel(address, options=options) for _ in range(CHANNELS)]
    streams = [await _begin(channels[number % CHANNELS]) for number in range(count)]
    loop = asyncio.get_running_loop()
    until: asyncio.Future[int] = loop.create_future()
    ledger = Ledger()
    async with asyncio.TaskGroup() as tasks:
        for stream, current in streams:
            tasks.create_task(_watch(stream, current, until, ledger))
        print("watching", flush=True)
        until.set_result(int(await loop.run_in_executor(None, sys.stdin.readline)))
    print("seen", flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
