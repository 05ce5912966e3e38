"""AccessService: who calls, the tokens by which callers are known, and the audit log."""

from typing import Any

from tendhost.server.domain.access.tokens import Token
from tendhost.server.engine.engine import Engine
from tendhost.server.engine.tokens import NewToken
from tendhost.server.rpc.convert.access import (
    audit_filter,
    audit_message,
    caller_message,
    expiry_of,
    roles_of,
    scope_in,
    token_message,
)
from tendhost.server.rpc.interceptor import call, caller
from tendhost.server.rpc.paging import fill, number, page_size, position
from tendhost.v1 import access_service_pb2 as pb
from tendhost.v1 import access_service_pb2_grpc


class AccessServicer(access_service_pb2_grpc.AccessServiceServicer):
    """Manages access to the server."""

    def __init__(self, engine: Engine) -> None:
        self._tokens = engine.tokens
        self._audit = engine.audit

    async def GetCaller(self, request: pb.GetCallerRequest, context: Any) -> pb.GetCallerResponse:
        return caller_message(caller())

    async def CreateToken(
        self, request: pb.CreateTokenRequest, context: Any
    ) -> pb.CreateTokenResponse:
        new = await self._tokens.create(
            principal=request.principal,
            description=request.description,
            roles=roles_of(request),
            scope=scope_in(request),
            expires_at=expiry_of(request),
            call=call(_without_text),
        )
        response = _without_text(new)
        response.text = new.text
        return response

    async def ListTokens(
        self, request: pb.ListTokensRequest, context: Any
    ) -> pb.ListTokensResponse:
        page = self._tokens.page(
            after=position(request, request.page_token), limit=page_size(request.page_size)
        )
        response = pb.ListTokensResponse()
        response.next_page_token = await fill(
            response.tokens,
            request,
            page.rows,
            token_message,
            lambda token: token.id,
            more=page.more,
        )
        return response

    async def DeleteToken(
        self, request: pb.DeleteTokenRequest, context: Any
    ) -> pb.DeleteTokenResponse:
        return _deleted(await self._tokens.delete(request.id, call(_deleted)))

    async def ListAuditRecords(
        self, request: pb.ListAuditRecordsRequest, context: Any
    ) -> pb.ListAuditRecordsResponse:
        page = await self._audit.entries(
            audit_filter(request),
            before=number(position(request, request.page_token), default=0),
            limit=page_size(request.page_size),
        )
        response = pb.ListAuditRecordsResponse()
        response.next_page_token = await fill(
            response.records,
            request,
            page.rows,
            audit_message,
            lambda entry: str(entry.number),
            more=page.more,
        )
        return response


def _without_text(new: NewToken) -> pb.CreateTokenResponse:
    # What answers a repeated request is stored, and a secret is not.
    return pb.CreateTokenResponse(token=token_message(new.token))


def _deleted(token: Token) -> pb.DeleteTokenResponse:
    return pb.DeleteTokenResponse(token=token_message(token))
