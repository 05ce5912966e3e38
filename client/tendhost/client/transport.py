"""Channels and calls: deadlines, safe repetition, and errors as types."""

import asyncio
import getpass
import random
import re
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc
from google.protobuf.message import Message

from tendhost.client.errors import ServerUnreachable, TendhostError, error_of

R = TypeVar("R", bound=Message)

CALL_SECONDS = 30.0
PAUSES_SECONDS = (0.1, 0.4, 1.0)
"""Before each repetition of a call that no server answered."""
LONGEST_PAUSE_SECONDS = 5.0

_OPTIONS = (
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.max_receive_message_length", 64 << 20),
    # Watches reconnect by themselves; gRPC must not make them wait for minutes first.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
)


class Transport:
    """The channels to one server.

    Watches have a channel of their own: where a server limits the streams of a connection, calls
    must not wait behind them.
    """

    def __init__(self, target: str) -> None:
        self.target = target
        self.calls = grpc.aio.insecure_channel(target, options=_OPTIONS)
        # An option that differs keeps gRPC from sharing one connection between the two.
        self.watches = grpc.aio.insecure_channel(
            target, options=(*_OPTIONS, ("grpc.use_local_subchannel_pool", 1))
        )
        self.metadata = _metadata()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.calls.close(None)
        await self.watches.close(None)

    async def call(
        self,
        method: Callable[..., Awaitable[R]],
        request: Message,
        *,
        seconds: float = CALL_SECONDS,
    ) -> R:
        """Call `method`, again where no server answered; every request may safely be repeated.

        Raises TendhostError.
        """
        for pause in (*PAUSES_SECONDS, None):
            try:
                return await method(request, timeout=seconds, metadata=self.metadata)
            except grpc.aio.AioRpcError as failed:
                error = error_of(failed, target=self.target)
                if pause is None or not isinstance(error, ServerUnreachable):
                    raise error from failed
            await asyncio.sleep(pause)
        raise AssertionError("the last try returns or raises")


class Patience:
    """How long to go on trying while no server answers."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._spent = 0.0
        self._pause = PAUSES_SECONDS[0]

    def restored(self) -> None:
        """Something answered."""
        self._spent = 0.0
        self._pause = PAUSES_SECONDS[0]

    async def after(self, error: TendhostError) -> None:
        """Wait before the next try. Raises `error` when it does not mean that nobody answered, or
        when it has meant that for too long."""
        if not isinstance(error, ServerUnreachable) or self._spent >= self._seconds:
            raise error
        pause = self._pause * random.uniform(0.7, 1.3)  # noqa: S311 - so that not all come at once
        self._spent += pause
        self._pause = min(self._pause * 2, LONGEST_PAUSE_SECONDS)
        await asyncio.sleep(pause)


def _metadata() -> tuple[tuple[str, str], ...]:
    # Who asked, for the record; the server takes it for what it is: what a client says of itself.
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        return ()
    return (("tendhost-user", re.sub(r"[^A-Za-z0-9._@+-]", "_", user)[:64]),)


def stream(method: Any, request: Message, transport: Transport) -> Any:
    """Begin a server stream."""
    return method(request, metadata=transport.metadata)
