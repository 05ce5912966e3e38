"""A JSON document posted to a URL, and whether its receiver took it."""

import base64
import http.client
import json
import ssl
from asyncio import timeout as deadline
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from typing import TypeAlias
from urllib.parse import SplitResult, unquote, urlsplit

from tendhost.server.threads import DaemonThreads

THREADS = 4
"""So many answers are waited for at once."""
ANSWER = 200
"""Characters of a refusal's body that are told."""
Document: TypeAlias = Mapping[str, str | int]


class WebhookFailed(Exception):
    """A document that its receiver did not take: why. Never names the URL, which may hold secrets."""


class Webhooks:
    """The way to webhooks."""

    def __init__(self) -> None:
        self._threads = DaemonThreads(THREADS, name="webhook")

    async def post(self, url: str, document: Document, *, key: str, timeout: timedelta) -> None:
        """Post `document`, with `key` in the header Idempotency-Key; return once it answers 2xx.

        A redirection is no such answer. Raises WebhookFailed.
        """
        seconds = timeout.total_seconds()
        exchange = _HttpPost(urlsplit(url), json.dumps(document).encode(), key, seconds)
        try:
            async with deadline(seconds):
                await self._threads.run(exchange.carried_out)
        except TimeoutError:
            raise WebhookFailed(f"no answer within {seconds:g} s") from None
        finally:
            exchange.break_off()


class _HttpPost:
    """One request and its answer, in a thread that ends with its connection."""

    def __init__(self, parts: SplitResult, body: bytes, key: str, seconds: float) -> None:
        secure = parts.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        self._connection = kind(parts.hostname or "", parts.port, timeout=seconds)
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._body = body
        self._headers = {
            "Content-Type": "application/json",
            "User-Agent": "tendhost",
            "Idempotency-Key": key,
        }
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            encoded = base64.b64encode(pair.encode()).decode()
            self._headers["Authorization"] = f"Basic {encoded}"

    def carried_out(self) -> None:
        try:
            self._connection.request("POST", self._target, self._body, self._headers)
            answer = self._connection.getresponse()
            text = answer.read(ANSWER).decode(errors="replace").strip()
        except ssl.SSLError as error:
            raise WebhookFailed(f"no TLS: {error.reason}") from error
        except TimeoutError as error:
            raise WebhookFailed("no answer in time") from error
        except OSError as error:
            raise WebhookFailed(error.strerror or type(error).__name__) from error
        except UnicodeError as error:
            raise WebhookFailed("its URL cannot be used") from error
        except http.client.HTTPException as error:
            raise WebhookFailed(f"no HTTP answer: {type(error).__name__}") from error
        finally:
            self._connection.close()
        if not 200 <= answer.status <= 299:
            raise WebhookFailed(f"status {answer.status}" + (f": {text}" if text else ""))

    def break_off(self) -> None:
        """End the thread's wait, whatever it waits for."""
        if (socket := self._connection.sock) is not None:
            with suppress(OSError):
                socket.shutdown(2)
