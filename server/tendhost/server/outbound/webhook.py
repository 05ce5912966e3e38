"""Webhooks: a JSON document posted to a URL, and whether the receiver accepted it."""

import base64
import hashlib
import hmac
import html
import json
import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TypeAlias
from urllib.parse import SplitResult, unquote, unquote_plus, urlsplit

from tendhost.server.outbound.http_exchange import HttpExchange, HttpFailed
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
        parts = urlsplit(url)
        body = json.dumps(document).encode()
        headers = {"Content-Type": "application/json", "Idempotency-Key": key}
        secrets = _secrets(parts)
        if secret:
            headers[SIGNATURE] = f"sha256={hmac.new(secret, body, hashlib.sha256).hexdigest()}"
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            encoded = base64.b64encode(pair.encode()).decode()
            headers["Authorization"] = f"Basic {encoded}"
            secrets.append(encoded)
        exchange = HttpExchange(parts, seconds=timeout.total_seconds())
        try:
            status, raw = await exchange.run(
                self._threads, "POST", headers, body=body, most=lambda _: READ
            )
        except HttpFailed as error:
            raise WebhookFailed(str(error)) from error
        if not 200 <= status <= 299:
            text = raw.decode(errors="replace").strip()
            told = _without(secrets, text)[:ANSWER]
            raise WebhookFailed(f"status {status}" + (f": {told}" if told else ""))


def _without(secrets: Sequence[str], text: str) -> str:
    """`text` with "…" in place of every part of the URL: many servers repeat it where they refuse a request."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = re.sub(re.escape(secret), "…", text, flags=re.IGNORECASE)
    return text


def _secrets(parts: SplitResult) -> list[str]:
    """What of a URL may be a secret, as it stands there, decoded, and as HTML has it."""
    pieces = re.split(r"[/;]", parts.path) + re.split(r"[&;=]", parts.query)
    found = {piece for piece in (*pieces, parts.query) if len(piece) >= SHORTEST}
    found |= {text for text in (parts.username, parts.password) if text}
    found |= {unquote(text) for text in found} | {unquote_plus(text) for text in found}
    return [*found, *(html.escape(text) for text in found)]
