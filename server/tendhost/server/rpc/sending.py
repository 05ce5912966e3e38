"""Writing to a stream whose client may have stopped reading."""

import asyncio
from typing import Any

from google.protobuf.message import Message

from tendhost.server.domain.errors import WatcherTooSlow

WRITE_TIMEOUT_SECONDS = 30.0


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
