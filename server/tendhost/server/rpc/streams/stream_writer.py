"""Writes to a stream, and ends it with WATCHER_TOO_SLOW when its client does not read."""

import asyncio
from typing import Any

from google.protobuf.message import Message

from tendhost.server.domain.request_errors import WatcherTooSlow

WRITE_TIMEOUT_SECONDS = 30.0


class Stream:
    """The context of a call with a stream, for handlers: its messages go through `send`."""

    def __init__(self, context: Any) -> None:
        self._context = context
        self._begun = False

    async def write(self, message: Message | bytes) -> None:
        """Write one message."""
        if not self._begun:
            # Apart from the first message: grpc can end no call whose initial metadata is still under way, and
            # a message that the client does not take would hold it up.
            self._begun = True
            await self._context.send_initial_metadata(())
        await self._context.write(message)


async def send(context: Any, message: Message | bytes) -> None:
    """Write one message. Raises WatcherTooSlow when it is not taken within WRITE_TIMEOUT_SECONDS."""
    deadline = asyncio.timeout(WRITE_TIMEOUT_SECONDS)
    try:
        async with deadline:
            await context.write(message)
    except TimeoutError:
        raise WatcherTooSlow(seconds=WRITE_TIMEOUT_SECONDS) from None
    except Exception as error:
        # grpc raises an error of its own when a blocked write is cancelled.
        if deadline.expired():
            raise WatcherTooSlow(seconds=WRITE_TIMEOUT_SECONDS) from error
        raise
