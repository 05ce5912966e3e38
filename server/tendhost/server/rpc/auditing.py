"""What of calls is recorded beyond the mutations that are carried out."""

from google.protobuf.message import Message

from tendhost.server.domain.access.audit import STARTED, AuditRecord
from tendhost.server.domain.access.principal import Principal
from tendhost.server.domain.errors import TendhostError
from tendhost.server.domain.secret_texts import without_secrets
from tendhost.server.engine.audit import AuditLog

ON_HOSTS = frozenset(
    f"/tendhost.v1.HostService/{method}" for method in ("GetLoginFiles", "RunOsquery", "TestHost")
)
"""Methods that execute something on a host and store nothing: recorded before the host is asked."""
_SUBJECTS = ("name", "host", "id", "group", "principal")
"""Fields of requests that name what a call is about, the first that is set."""
_NESTED = ("config", "spec", "policy")
LONGEST = 128
"""Of a text of a request that was refused, which nothing has validated; longer ones are cut."""


class CallAudit:
    """Records refusals, and calls that execute something on a host."""

    def __init__(self, log: AuditLog) -> None:
        self._log = log

    async def started(self, method: str, request: Message, principal: Principal) -> None:
        """Record a call of ON_HOSTS. Raises StoreUnavailable: it is not to be carried out."""
        await self._log.started(self._record(method, request, principal, STARTED))

    async def refused(
        self, method: str, request: Message | None, principal: Principal, error: Exception
    ) -> None:
        """Record that the call was refused; `request` None: before its message was read."""
        reason = error.reason if isinstance(error, TendhostError) else "INTERNAL"
        record = self._record(method, request, principal, reason)
        await self._log.refused(record, authenticated=principal.authenticated)

    def _record(
        self, method: str, request: Message | None, principal: Principal, result: str
    ) -> AuditRecord:
        return AuditRecord(
            at=self._log.now(),
            principal=principal.name or principal.address,
            credential_kind=principal.kind,
            credential=principal.credential,
            address=principal.address,
            method=method,
            subject="" if request is None else subject_of(request),
            result=result,
            request_id=getattr(request, "request_id", "")[:LONGEST],
        )


def subject_of(request: Message) -> str:
    """What a request is about: the host, operation, rollout or other object that it names; empty: none."""
    for name in _SUBJECTS:
        value = getattr(request, name, "")
        if isinstance(value, str) and value:
            return without_secrets(value)[:LONGEST]
    for name in _NESTED:
        nested = getattr(request, name, None)
        if isinstance(nested, Message) and (found := subject_of(nested)):
            return found
    return ""
