"""One HTTP request and its answer: within its time, without redirections and proxies, and with words for a failure."""

import http.client
import socket
import ssl
from asyncio import timeout as deadline
from collections.abc import Callable, Mapping
from contextlib import suppress
from urllib.parse import SplitResult

from tendhost.server.threads import DaemonThreads


class HttpFailed(Exception):
    """There is no whole answer. The message never has the URL, which may hold secrets."""


class HttpExchange:
    """A request to one URL, in a thread that ends with its connection."""

    def __init__(self, parts: SplitResult, *, seconds: float) -> None:
        """`seconds` is the time for the whole answer."""
        secure = parts.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        self._connection = kind(parts.hostname or "", parts.port, timeout=seconds)
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._seconds = seconds
        self._socket: socket.socket | None = None
        self._given_up = False

    async def run(
        self,
        threads: DaemonThreads,
        method: str,
        headers: Mapping[str, str],
        *,
        body: bytes | None = None,
        most: Callable[[int], int],
    ) -> tuple[int, bytes]:
        """Status and body of the answer; `most` is how many bytes of the body to read, by its status.

        Raises HttpFailed.
        """
        try:
            async with deadline(self._seconds):
                return await threads.run(lambda: self._answer(method, headers, body, most))
        except TimeoutError:
            raise HttpFailed(f"no answer within {self._seconds:g} s") from None
        finally:
            self._give_up()

    def _answer(
        self,
        method: str,
        headers: Mapping[str, str],
        body: bytes | None,
        most: Callable[[int], int],
    ) -> tuple[int, bytes]:
        try:
            self._target.encode("ascii")  # before anything is sent
            self._connection.connect()
            # Of its own: the connection forgets its socket where the server closes it after the answer.
            self._socket = self._connection.sock
            if self._given_up:
                raise TimeoutError
            self._connection.request(
                method, self._target, body, {"User-Agent": "tendhost", **headers}
            )
            with self._connection.getresponse() as answer:
                return answer.status, answer.read(most(answer.status))
        except ssl.SSLError as error:
            raise HttpFailed(f"no TLS: {error.reason}") from error
        except TimeoutError as error:
            raise HttpFailed("no answer in time") from error
        except OSError as error:
            raise HttpFailed(error.strerror or type(error).__name__) from error
        except UnicodeError as error:
            raise HttpFailed("its URL cannot be used") from error
        except http.client.HTTPException as error:
            raise HttpFailed(f"no HTTP answer: {type(error).__name__}") from error
        finally:
            self._connection.close()

    def _give_up(self) -> None:
        """End the wait of the thread for bytes; to connect takes no longer than its time limit by itself."""
        self._given_up = True
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
