"""Channels to a server with several addresses: calls go to one of them, and to the next where it does not answer."""

from collections.abc import Callable, Sequence
from typing import Any, cast

import grpc

from tendhost.client.connection import Connection

CONNECT_MILLISECONDS = 5_000
"""How long one of several addresses may take to accept a connection; gRPC itself gives it 20 s."""


class Channels:
    """A channel to each address of a server. It takes the place of one channel in generated stubs."""

    def __init__(self, connection: Connection, options: Sequence[tuple[str, Any]]) -> None:
        """Raises InvalidRequest where a file of the connection cannot be used."""
        self._addresses = connection.addresses
        if len(self._addresses) > 1:
            options = (*options, ("grpc.min_reconnect_backoff_ms", CONNECT_MILLISECONDS))
        self._channels = [_channel(each, options) for each in self._addresses]
        self.at = 0
        """Which address the next call goes to."""

    def __len__(self) -> int:
        return len(self._channels)

    @property
    def channel(self) -> grpc.aio.Channel:
        """For the stub that generated code makes of a channel: its calls go to the address that is in use then."""
        return cast(grpc.aio.Channel, self)

    def address(self, at: int) -> str:
        """The address of this number, as the user wrote it."""
        return self._addresses[at].server

    def move_on(self, at: int) -> None:
        """Leave the address `at`, which has not answered, unless somebody has left it already."""
        if self.at == at:
            self.at = (at + 1) % len(self._channels)

    async def close(self) -> None:
        """End every call that is under way, and the connections."""
        for channel in self._channels:
            await channel.close(None)

    # --- what generated stubs ask of a channel ------------------------------------------------------

    def unary_unary(self, *method: Any, **options: Any) -> Callable[..., Any]:
        """See grpc.aio.Channel."""

        def call(*arguments: Any, **how: Any) -> Any:
            return self._current.unary_unary(*method, **options)(*arguments, **how)

        return call

    def unary_stream(self, *method: Any, **options: Any) -> Callable[..., Any]:
        """See grpc.aio.Channel."""

        def call(*arguments: Any, **how: Any) -> Any:
            return self._current.unary_stream(*method, **options)(*arguments, **how)

        return call

    @property
    def _current(self) -> grpc.aio.Channel:
        return self._channels[self.at]


def _channel(connection: Connection, options: Sequence[tuple[str, Any]]) -> grpc.aio.Channel:
    credentials = connection.credentials()
    if credentials is None:
        # gRPC obeys https_proxy for loopback addresses, too: a proxy would read the token, and the loopback
        # address would be the proxy's own.
        direct = (*options, ("grpc.enable_http_proxy", 0))
        return grpc.aio.insecure_channel(connection.target, options=direct)
    return grpc.aio.secure_channel(connection.target, credentials, options=options)
