"""A webhook as a sink of the audit log: documents of several records, signed."""

from collections.abc import Sequence
from datetime import timedelta
from urllib.parse import quote

from tendhost.server.domain.access.audit import AuditEntry, documents
from tendhost.server.outbound.audit_sink import PATIENCE, SinkFailed
from tendhost.server.outbound.webhook import WebhookFailed, Webhooks


class WebhookSink:
    """A URL to which records are posted: `{"sink": NAME, "records": […]}`.

    The header Idempotency-Key has the name, percent-encoded, and the numbers of the first and the last record, so
    that a receiver recognises a document that it has seen.
    """

    def __init__(
        self, name: str, url: str, *, secret: bytes, patience: timedelta = PATIENCE
    ) -> None:
        self._name = name
        self._url = url
        self._secret = secret
        self._patience = patience
        self._webhooks = Webhooks()

    async def deliver(self, entries: Sequence[AuditEntry], former: str) -> None:
        """See AuditSink."""
        document = {"sink": self._name, "records": list(documents(entries, former))}
        key = f"{quote(self._name, safe='')}/{entries[0].number}-{entries[-1].number}"
        try:
            await self._webhooks.post(
                self._url, document, key=key, timeout=self._patience, secret=self._secret
            )
        except WebhookFailed as error:
            raise SinkFailed(str(error)) from error
