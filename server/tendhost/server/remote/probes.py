"""Health checks that the server makes over the network: TCP ports and URLs."""

import asyncio
import http.client
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol
from urllib.parse import SplitResult

from tendhost.server.domain.host_errors import SshError
from tendhost.server.domain.policy.health_checks import DEFAULT_PORTS, SHOWN_PATTERN, HttpProbe
from tendhost.server.domain.policy.health_evaluation import CheckFinding
from tendhost.server.domain.policy.patterns import PatternUnusable, found_in
from tendhost.server.remote.protocol import Tunnel
from tendhost.server.remote.tcp import TcpConnector

THREADS = 32
"""HTTP checks at the same time."""
LONGEST_BODY = 64 * 1024
"""Bytes of an answer that are read."""
LONGEST = timedelta(minutes=10)


class Prober(Protocol):
    """Checks hosts over the network, without a login."""

    async def tcp(
        self, address: str, port: int, *, timeout: timedelta, tunnel: Tunnel | None = None
    ) -> CheckFinding:
        """Whether `port` takes connections, through `tunnel` for a host behind a jump; never raises."""
        ...

    async def http(
        self,
        address: str,
        probe: HttpProbe,
        *,
        timeout: timedelta,
        tunnel: Tunnel | None = None,
    ) -> CheckFinding:
        """Whether a URL answers as it should, for the host with `address`; never raises.

        A URL of that address goes through `tunnel`, as the host's own ports do.
        """
        ...

    def close(self) -> None:
        """Release what it holds."""
        ...


class NetworkProber:
    """Checks hosts from the network of the server."""

    def __init__(self) -> None:
        self._tcp = TcpConnector(resolve_timeout=LONGEST, connect_timeout=LONGEST)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="probe")

    async def tcp(
        self, address: str, port: int, *, timeout: timedelta, tunnel: Tunnel | None = None
    ) -> CheckFinding:
        """See Prober."""
        try:
            async with asyncio.timeout(timeout.total_seconds()):
                connection = await self._connected(address, port, tunnel)
        except TimeoutError:
            return _no_answer(timeout)
        except SshError as error:
            return CheckFinding(holds=False, words=error.problem)
        connection.close()
        return CheckFinding(holds=True, words=f"port {port} takes connections")

    async def http(
        self,
        address: str,
        probe: HttpProbe,
        *,
        timeout: timedelta,
        tunnel: Tunnel | None = None,
    ) -> CheckFinding:
        """See Prober."""
        parts = probe.at(address)
        host, port = parts.hostname or "", parts.port or DEFAULT_PORTS[parts.scheme]
        check = _HttpCheck(parts=parts, probe=probe, seconds=timeout.total_seconds())
        try:
            async with asyncio.timeout(timeout.total_seconds()):
                own = tunnel if host.lower() == address.lower() else None
                dialled = await self._connected(host, port, own)
                check.connection = dialled
                loop = asyncio.get_running_loop()
                return await loop.run_in_executor(self._threads, check.run)
        except TimeoutError:
            return _no_answer(timeout)
        except SshError as error:
            return CheckFinding(holds=False, words=error.problem)
        finally:
            check.close_connection()

    async def _connected(self, address: str, port: int, tunnel: Tunnel | None) -> socket.socket:
        if tunnel is not None:
            return await tunnel(port)
        return await self._tcp.connect(host=address, address=address, port=port)

    def close(self) -> None:
        """See Prober."""
        self._tcp.close()
        self._threads.shutdown(wait=False, cancel_futures=True)


@dataclass(slots=True, kw_only=True)
class _HttpCheck:
    """One request and its answer, in a thread that ends with its connection."""

    parts: SplitResult
    probe: HttpProbe
    seconds: float
    connection: socket.socket | None = field(default=None)

    def run(self) -> CheckFinding:
        try:
            return self._answer()
        except ssl.SSLError as error:
            return CheckFinding(holds=False, words=f"no TLS: {error}")
        except TimeoutError:
            return CheckFinding(holds=False, words=f"no answer within {self.seconds:g} s")
        except (OSError, http.client.HTTPException, ValueError) as error:
            words = str(error) or type(error).__name__
            return CheckFinding(holds=False, words=f"no HTTP answer: {words}")

    def close_connection(self) -> None:
        if self.connection is not None:
            with suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)
            self.connection.close()

    def _answer(self) -> CheckFinding:
        host, port = self.parts.hostname or "", self.parts.port
        assert self.connection is not None, "it is connected before"
        self.connection.settimeout(self.seconds)
        client = http.client.HTTPConnection(host, port or DEFAULT_PORTS[self.parts.scheme])
        if self.parts.scheme == "https":
            context = ssl.create_default_context()
            self.connection = context.wrap_socket(
                self.connection, server_hostname=host, do_handshake_on_connect=False
            )
            self.connection.do_handshake()
            client.default_port = DEFAULT_PORTS["https"]  # else the Host header names it
        client.sock = self.connection
        path = self.parts.path or "/"
        target = f"{path}?{self.parts.query}" if self.parts.query else path
        client.request("GET", target, headers={"User-Agent": "tendhost", "Connection": "close"})
        answer = client.getresponse()
        return self._evaluate(answer.status, answer.read(LONGEST_BODY))

    def _evaluate(self, status: int, body: bytes) -> CheckFinding:
        if not self.probe.accepts(status):
            wanted = ", ".join(map(str, self.probe.statuses)) or "200 to 299"
            return CheckFinding(holds=False, words=f"status {status}, expected {wanted}")
        pattern = self.probe.body
        try:
            if not pattern or found_in(body.decode("utf-8", "replace"), pattern):
                return CheckFinding(holds=True, words=f"status {status}")
        except PatternUnusable as error:  # it was stored before this rule
            words = f"status {status}, but the check's pattern {pattern[:SHOWN_PATTERN]!r} {error}"
            return CheckFinding(holds=False, words=words)
        words = f"status {status}, but nothing in its body matches {pattern!r}"
        return CheckFinding(holds=False, words=words)


def _no_answer(timeout: timedelta) -> CheckFinding:
    return CheckFinding(holds=False, words=f"no answer within {timeout.total_seconds():g} s")
