"""Calls about access: who the client is, tokens, and the audit log."""

from collections.abc import AsyncGenerator, Iterable
from datetime import datetime

from tendhost.client.convert import access as convert_access
from tendhost.client.convert.enums import timestamp
from tendhost.client.convert.selections import filter_message
from tendhost.client.models.access import AuditRecord, Caller, NewToken, Role, Token
from tendhost.client.models.selections import HostFilter
from tendhost.client.transport import Connected, new_request_id
from tendhost.v1 import access_service_pb2 as pb
from tendhost.v1.access_service_pb2_grpc import AccessServiceStub


class AccessCalls(Connected):
    """Who calls, the tokens by which callers are known, and the audit log."""

    @property
    def _access(self) -> AccessServiceStub:
        return AccessServiceStub(self._transport.calls)

    async def caller(self) -> Caller:
        """Who this client is to the server, and what it may do. Raises Unauthenticated."""
        response = await self._transport.call(self._access.GetCaller, pb.GetCallerRequest())
        return convert_access.caller(response)

    async def create_token(
        self,
        principal: str,
        roles: Iterable[Role],
        *,
        description: str = "",
        expires_at: datetime | None = None,
        scope: HostFilter | None = None,
    ) -> NewToken:
        """Issue a token; its text is in the answer, and nowhere else. Raises InvalidRequest.

        With `scope`, whoever uses it sees and touches the hosts of these groups and tags only; other fields of
        the filter are refused.
        """
        request = pb.CreateTokenRequest(
            principal=principal,
            description=description,
            roles=[convert_access.ROLE_NUMBERS[role] for role in roles],
            expires_at=None if expires_at is None else timestamp(expires_at),
            scope=None if scope is None else filter_message(scope),
            request_id=new_request_id(),
        )
        response = await self._transport.call(self._access.CreateToken, request)
        return NewToken(token=convert_access.token(response.token), text=response.text)

    async def tokens(self, *, page_size: int = 50) -> AsyncGenerator[Token, None]:
        """Tokens, sorted by id; pages are loaded when needed."""
        request = pb.ListTokensRequest(page_size=page_size)
        async for page in self._transport.pages(self._access.ListTokens, request):
            for found in page.tokens:
                yield convert_access.token(found)

    async def delete_token(self, id: str) -> Token:
        """Revoke a token. Raises NotFound."""
        request = pb.DeleteTokenRequest(id=id, request_id=new_request_id())
        response = await self._transport.call(self._access.DeleteToken, request)
        return convert_access.token(response.token)

    async def audit_records(
        self,
        *,
        principal: str = "",
        subject: str = "",
        method: str = "",
        since: datetime | None = None,
        until: datetime | None = None,
        page_size: int = 50,
    ) -> AsyncGenerator[AuditRecord, None]:
        """Audit records, newest first; pages are loaded when needed.

        `subject` is a host, an operation, a rollout or another object; `method` the name of a method with or without
        its service. `since` and `until` are aware; a record at `until` is not in the list.
        """
        request = pb.ListAuditRecordsRequest(
            principal=principal,
            subject=subject,
            method=method,
            since=None if since is None else timestamp(since),
            until=None if until is None else timestamp(until),
            page_size=page_size,
        )
        async for page in self._transport.pages(self._access.ListAuditRecords, request):
            for found in page.records:
                yield convert_access.audit_record(found)
