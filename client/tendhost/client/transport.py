"""Channels and calls: deadlines, safe retries, resumed streams, and errors as types."""

import asyncio
import getpass
import random
import re
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable
from itertools import chain
from typing import Any, TypeVar, overload

import grpc
from google.protobuf.message import Message

from tendhost.client.channels import Channels
from tendhost.client.connection import Connection
from tendhost.client.errors import (
    LimitReached,
    ServerUnavailable,
    ServerUnreachable,
    TendhostError,
    broken_off,
    error_of,
)

R = TypeVar("R", bound=Message)

CALL_SECONDS = 30.0
"""What a call may take, the registration of a host and long polls excepted."""
PAUSES_SECONDS = (0.1, 0.4, 1.0)
"""Before each repetition of a call that no server answered."""
LIMIT_PAUSES_SECONDS = (1.0, 2.0, 4.0, 8.0, 15.0)
"""Before each repetition of a call that was refused because its caller makes too many: with the server's defaults, long
enough for a thousand changes that are asked for at once."""
LONGEST_PAUSE_SECONDS = 5.0
"""Between two tries of a wait or a watch."""

_NOT_ANSWERED = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)

sleep = asyncio.sleep

_OPTIONS = (
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    # A quiet stream must notice a dead link, too.
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_receive_message_length", 64 << 20),
    # We reconnect by our own pauses; gRPC must not make us wait for minutes on top.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
)


class Transport:
    """The channels to one server, which may have several addresses.

    Watches have a channel of their own: where a server limits the streams of a connection, calls
    must not wait behind them.
    """

    def __init__(self, connection: Connection, *, patience_seconds: float) -> None:
        self._patience_seconds = patience_seconds
        # Without a pool of its own the second channel would share the connection of the first.
        own = (*_OPTIONS, ("grpc.use_local_subchannel_pool", 1))
        self._calls = Channels(connection, _OPTIONS)
        self._watches = Channels(connection, own)
        self.calls = self._calls.channel
        self.watches = self._watches.channel
        self._metadata = (*_metadata(), *connection.metadata())

    async def close(self) -> None:
        """End every call that is under way, and the connections."""
        await self._calls.close()
        await self._watches.close()

    async def call(
        self,
        method: Callable[..., Awaitable[R]],
        request: Message,
        *,
        seconds: float = CALL_SECONDS,
    ) -> R:
        """Call `method` of `calls`, and again where no server answered, or where the client has made too many calls.

        Every request may safely be repeated. Of several addresses each is tried before a pause. Raises TendhostError.
        """
        others = [0.0] * (len(self._calls) - 1)
        unanswered = iter((*others, *chain.from_iterable((p, *others) for p in PAUSES_SECONDS)))
        limited = iter(LIMIT_PAUSES_SECONDS)
        while True:
            at = self._calls.at
            try:
                return await method(request, timeout=seconds, metadata=self._metadata)
            except grpc.aio.AioRpcError as failed:
                error = error_of(failed, target=self._calls.address(at))
                pause = None
                broken = broken_off(failed)
                if broken or failed.code() in _NOT_ANSWERED:
                    self._calls.move_on(at)
                if broken or failed.code() is grpc.StatusCode.UNAVAILABLE:
                    pause = next(unanswered, None)
                elif error.reason == "TOO_MANY_CALLS":
                    pause = _uneven(next(limited, None))
                if pause is None:
                    raise error from failed
            await sleep(pause)

    async def pages(
        self, method: Callable[..., Awaitable[R]], request: Any
    ) -> AsyncGenerator[R, None]:
        """Every page of a list; each is fetched when it is asked for."""
        while True:
            page: Any = await self.call(method, request)
            yield page
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def messages(
        self,
        method: Callable[..., Any],
        request: Callable[[], Message],
        *,
        complete: Callable[[], bool] = lambda: False,
    ) -> AsyncGenerator[Any, None]:
        """The messages of a stream of `watches`, started again with another `request` whenever it breaks.

        It ends when the server ends it and it is `complete`. Raises TendhostError when it is refused,
        or when no server has answered for too long.
        """
        patience = self.patience()
        while True:
            at = self._watches.at
            call = method(request(), metadata=self._metadata)
            try:
                async for message in call:
                    patience.restored()
                    yield message
                if complete():
                    return
                target = self._watches.address(at)
                error: TendhostError = ServerUnreachable(
                    f"the server at {target} ended the stream", metadata={"target": target}
                )
            except grpc.aio.AioRpcError as failed:
                error = error_of(failed, target=self._watches.address(at))
            finally:
                call.cancel()
            if isinstance(error, ServerUnreachable | ServerUnavailable):
                self._watches.move_on(at)
            await patience.after(error)

    def patience(self) -> "Patience":
        """For one wait or watch."""
        return Patience(self._patience_seconds)


class Patience:
    """How long to go on trying while no server can answer, or the client has reached a limit."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._failing_since: float | None = None
        self._pause = PAUSES_SECONDS[0]

    def restored(self) -> None:
        """Something answered."""
        self._failing_since = None
        self._pause = PAUSES_SECONDS[0]

    async def after(self, error: TendhostError) -> None:
        """Wait before the next try. Raises `error` when that would not help, or not any more."""
        now = asyncio.get_running_loop().time()
        if self._failing_since is None:
            self._failing_since = now
        passing = isinstance(error, ServerUnreachable | ServerUnavailable | LimitReached)
        if not passing or now - self._failing_since >= self._seconds:
            raise error
        await sleep(_uneven(self._pause))
        self._pause = min(self._pause * 2, LONGEST_PAUSE_SECONDS)


class Connected:
    """What is open while its client is."""

    _opened: Transport | None = None

    @property
    def _transport(self) -> Transport:
        if self._opened is None:
            raise RuntimeError("the client is not open: use `async with Client(…) as tendhost:`")
        return self._opened


@overload
def _uneven(pause: float) -> float: ...
@overload
def _uneven(pause: float | None) -> float | None: ...
def _uneven(pause: float | None) -> float | None:
    """A pause of about this length, so that not all calls come back at the same moment."""
    return None if pause is None else pause * random.uniform(0.7, 1.3)  # noqa: S311


def new_request_id() -> str:
    """A fresh id that makes a mutation happen once, however often it is sent."""
    return str(uuid.uuid4())


def _metadata() -> tuple[tuple[str, str], ...]:
    # Who asked, for the record; the server takes it for what it is: what a client says of itself.
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        return ()
    return (("tendhost-user", re.sub(r"[^A-Za-z0-9._@+-]", "_", user)[:64]),)
