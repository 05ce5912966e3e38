"""Webhooks: a JSON document posted to a URL, and whether the receiver accepted it."""

import base64
import hashlib
import hmac
import html
import http.client
import json
import re
import ssl
from asyncio import timeout as deadline
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from typing import TypeAlias
from urllib.parse import SplitResult, unquote, unquote_plus, urlsplit

from tendhost.server.threads import DaemonThreads

THREADS = 4
"""Requests at the same time."""
ANSWER = 200
"""Characters of the body of a refusal that stand in the message."""
READ = 65536
"""Bytes of a body that are read: more than a URL has, so that none of it is cut before it is taken out."""
SHORTEST = 6
"""Characters of a part of a URL that counts as a secret; a user and a password always do."""
Document: TypeAlias = Mapping[str, object]
"""What JSON can hold."""
SIGNATURE = "Tendhost-Signature"
"""The header with "sha256=" and the HMAC-SHA256 (RFC 2104) of the body, in hexadecimal digits."""


class WebhookFailed(Exception):
    """The receiver did not accept a document. The message never has the URL, which may hold secrets."""


class Webhooks:
    """Posts documents to webhooks."""

    def __init__(self) -> None:
        self._threads = DaemonThreads(THREADS, name="webhook")

    async def post(
        self, url: str, document: Document, *, key: str, timeout: timedelta, secret: bytes = b""
    ) -> None:
        """Post `document`, with `key` in the header Idempotency-Key; return once it answers 2xx.

        With a `secret` the document is signed with it. A redirection is no such answer. Raises WebhookFailed.
        """
        seconds = timeout.total_seconds()
        body = json.dumps(document).encode()
        headers = {"Idempotency-Key": key}
        if secret:
            headers[SIGNATURE] = f"sha256={hmac.new(secret, body, hashlib.sha256).hexdigest()}"
        post = _HttpPost(urlsplit(url), body, headers, seconds)
        try:
            async with deadline(seconds):
                await self._threads.run(post.run)
        except TimeoutError:
            raise WebhookFailed(f"no answer within {seconds:g} s") from None
        finally:
            post.close_connection()


class _HttpPost:
    """One request and its answer, in a thread that ends with its connection."""

    def __init__(
        self, parts: SplitResult, body: bytes, headers: Mapping[str, str], seconds: float
    ) -> None:
        secure = parts.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        self._connection = kind(parts.hostname or "", parts.port, timeout=seconds)
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._body = body
        self._secrets = _secrets(parts)
        self._headers = {
            "Content-Type": "application/json",
            "User-Agent": "tendhost",
            **headers,
        }
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            encoded = base64.b64encode(pair.encode()).decode()
            self._headers["Authorization"] = f"Basic {encoded}"
            self._secrets.append(encoded)

    def run(self) -> None:
        try:
            self._connection.request("POST", self._target, self._body, self._headers)
            with self._connection.getresponse() as answer:
                text = answer.read(READ).decode(errors="replace").strip()
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
            told = self._without_secrets(text)[:ANSWER]
            raise WebhookFailed(f"status {answer.status}" + (f": {told}" if told else ""))

    def _without_secrets(self, text: str) -> str:
        """`text` with "…" in place of every part of the URL: many servers repeat it where they refuse a request."""
        for secret in sorted(self._secrets, key=len, reverse=True):
            text = re.sub(re.escape(secret), "…", text, flags=re.IGNORECASE)
        return text

    def close_connection(self) -> None:
        """End the wait of the thread, whatever it waits for."""
        if (socket := self._connection.sock) is not None:
            with suppress(OSError):
                socket.shutdown(2)


def _secrets(parts: SplitResult) -> list[str]:
    """What of a URL may be a secret, as it stands there, decoded, and as HTML has it."""
    pieces = re.split(r"[/;]", parts.path) + re.split(r"[&;=]", parts.query)
    found = {piece for piece in (*pieces, parts.query) if len(piece) >= SHORTEST}
    found |= {text for text in (parts.username, parts.password) if text}
    found |= {unquote(text) for text in found} | {unquote_plus(text) for text in found}
    return [*found, *(html.escape(text) for text in found)]
