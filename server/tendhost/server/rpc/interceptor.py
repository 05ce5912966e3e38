"""The interceptor of every call: admits the caller, validates, answers repeated requests, and maps errors."""

import asyncio
import hashlib
import inspect
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message

from tendhost.server.domain.access.principal import Principal
from tendhost.server.domain.errors import TendhostError
from tendhost.server.domain.request_errors import (
    FieldViolation,
    InvalidArgument,
    TooManyCalls,
    TooManyStreams,
)
from tendhost.server.engine.requests import AlreadyProcessed, MutationContext
from tendhost.server.engine.tasks import TaskSet
from tendhost.server.rpc.aborting import abort
from tendhost.server.rpc.auditing import ON_HOSTS, CallAudit
from tendhost.server.rpc.authentication import Authenticator
from tendhost.server.rpc.call_limiting import WAITING_FOR_WORK, Account, CallLimiter
from tendhost.server.rpc.rules import violations_of
from tendhost.server.rpc.scoping import Scopes
from tendhost.server.rpc.streams.stream_writer import Stream
from tendhost.server.rpc.unread_calls import UnreadCalls
from tendhost.server.store.protocols.commits import ResponseStore

logger = logging.getLogger(__name__)

T = TypeVar("T")

OURS = "/tendhost.v1."
_REQUEST_ID = "request_id"
"""The field that every mutation has and nothing else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """The caller of the present call, and the call's request_id where it is a mutation that has one."""

    principal: Principal
    method: str
    request_id: str
    digest: bytes


Outcome = Message | bytes | Exception
"""What a mutation came to."""

_CALLER: ContextVar[Caller] = ContextVar("caller")


def call(encode: Callable[[T], Message]) -> MutationContext[T]:
    """The present call, for the engine; `encode` makes the response of what it results in."""
    caller = _CALLER.get()
    return MutationContext(
        principal=str(caller.principal),
        user=caller.principal.name or caller.principal.address,
        credential_kind=caller.principal.kind,
        credential=caller.principal.credential,
        address=caller.principal.address,
        method=caller.method,
        request_id=caller.request_id,
        digest=caller.digest,
        encode=lambda value: encode(value).SerializeToString(),
    )


def caller() -> Principal:
    """Who makes the present call."""
    return _CALLER.get().principal


class RequestInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]  # generic in its stub only
    """The one interceptor. Of services that are not tendhost's own it only admits the callers."""

    def __init__(
        self,
        store: ResponseStore,
        authenticator: Authenticator,
        audit: CallAudit,
        scopes: Scopes,
        limiter: CallLimiter,
        unread: UnreadCalls,
    ) -> None:
        self._store = store
        self._limiter = limiter
        self._unread = unread
        self._audit = audit
        self._authenticator = authenticator
        self._scopes = scopes
        self._mutating: TaskSet[Outcome] = TaskSet()
        self._guarded: dict[str, Any] = {}
        """Each method's handler with the checks in front of it: gRPC asks for a handler at every call."""

    async def close(self) -> None:
        """Cancel the mutations that are still under way; the next server takes up what they began."""
        await self._mutating.cancel()
        await self._unread.close()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """See grpc.aio.ServerInterceptor."""
        method = handler_call_details.method
        if method in self._guarded:
            return self._guarded[method]
        handler = await continuation(handler_call_details)
        if handler is None:
            return handler
        guard = self._guard if method.startswith(OURS) else self._guard_foreign
        self._guarded[method] = guarded = guard(method, handler)
        return guarded

    def _guard_foreign(self, method: str, handler: Any) -> Any:
        """Admit the callers of a service whose code is not ours; each has at most one servicer."""
        kind = ("stream" if handler.request_streaming else "unary") + (
            "_stream" if handler.response_streaming else "_unary"
        )
        work = getattr(handler, kind)
        decode = handler.request_deserializer

        @asynccontextmanager
        async def admitted(context: Any) -> AsyncIterator[Any]:
            """Gives the first message of the call, undecoded."""
            try:
                message = await self._first_message(method, context)
                principal = await self._admitted(method, context)
                streamed = bool(handler.response_streaming)
                async with self._within_limits(method, principal, streamed=streamed):
                    yield message
            except TendhostError as error:
                await abort(method, error, context)

        async def answered(_requests: Any, context: Any) -> Any:
            async with admitted(context) as message:
                return await work(_decoded(message, decode), context)

        async def streamed(_requests: Any, context: Any) -> Any:
            async with admitted(context) as message:
                if handler.request_streaming:
                    given: Any = _decoded_all(message, context, decode)
                else:
                    given = _decoded(message, decode)
                async for answer in work(given, context):
                    await self._admitted(method, context)  # its credential may have ended since
                    yield answer

        async def written(_requests: Any, context: Any) -> None:
            async with admitted(context) as message:
                await work(_decoded(message, decode), context)

        # As in _guard, the messages are read and decoded here.
        if not handler.response_streaming:
            return grpc.stream_unary_rpc_method_handler(
                answered, response_serializer=handler.response_serializer
            )
        return grpc.stream_stream_rpc_method_handler(
            streamed if inspect.isasyncgenfunction(work) else written,
            response_serializer=handler.response_serializer,
        )

    async def _first_message(self, method: str, context: Any) -> Any:
        """See UnreadCalls.message; refusals have their rate, too."""
        try:
            return await self._unread.message(method, context)
        except TooManyCalls:
            await self._limiter.refused(await self._authenticator.known(context))
            raise

    async def _admitted(self, method: str, context: Any) -> Principal:
        """See Authenticator.admitted; a refusal is recorded."""
        try:
            return await self._authenticator.admitted(method, context)
        except TendhostError as error:
            known = await self._authenticator.known(context)
            await self._limiter.refused(known)
            await self._audit.refused(method, None, known, error)
            raise

    @asynccontextmanager
    async def _within_limits(
        self, method: str, principal: Principal, *, streamed: bool
    ) -> AsyncIterator[Account]:
        """Carry out a call or keep a stream open as the limits of its caller permit; a refusal is recorded."""
        account = self._limiter.account(principal)
        within = account.stream() if streamed else account.call(method)
        try:
            async with within:
                yield account
        except (TooManyCalls, TooManyStreams) as error:
            await self._audit.refused(method, None, principal, error)
            raise

    def _guard(self, method: str, handler: Any) -> Any:
        # Requests are read and decoded here: grpc would tell the caller the decoder's own
        # words, and leave a call that ends without a message open for ever.
        decode = handler.request_deserializer
        if handler.response_streaming:
            return grpc.stream_stream_rpc_method_handler(
                self._stream(method, decode, handler.unary_stream), response_serializer=_serialized
            )
        return grpc.stream_unary_rpc_method_handler(
            self._unary(method, decode, handler.unary_unary), response_serializer=_serialized
        )

    def _unary(
        self,
        method: str,
        decode: Callable[[bytes], Message],
        handler: Callable[[Any, Any], Awaitable[Message]],
    ) -> Callable[[Any, Any], Awaitable[bytes]]:
        async def answered(
            message: bytes | object, principal: Principal, account: Account, context: Any
        ) -> bytes:
            request = _decoded(message, decode)

            async def work() -> Message:
                return await handler(request, context)

            return _serialized(await self._answer(method, request, principal, account, work))

        async def guarded(_requests: Any, context: Any) -> bytes:
            began = time.perf_counter()
            try:
                # Read first, whoever calls: a status that is sent while the message is still on its way reaches
                # one client in a hundred as INTERNAL (measured with grpc 1.85). It is not decoded before.
                message = await self._first_message(method, context)
                principal = await self._admitted(method, context)
                async with self._within_limits(method, principal, streamed=False) as account:
                    response = await account.metered(answered(message, principal, account, context))
            except Exception as error:
                await abort(method, error, context)
                raise
            _log(method, "OK", began)
            return response

        return guarded

    async def _answer(
        self,
        method: str,
        request: Message,
        principal: Principal,
        account: Account,
        work: Callable[[], Awaitable[Message]],
    ) -> Message | bytes:
        """The answer to a call that was admitted. Refusals of mutations, and of calls to hosts, are recorded."""
        if _REQUEST_ID in request.DESCRIPTOR.fields_by_name:

            async def recorded() -> Outcome:
                # Also when its caller has gone away meanwhile.
                outcome = await account.metered(
                    self._accepted_outcome(method, request, principal, work)
                )
                if isinstance(outcome, Exception):
                    await self._audit.refused(method, request, principal, outcome)
                return outcome

            return await self._mutated(recorded)
        if method in WAITING_FOR_WORK:
            async with self._authenticator.while_valid(principal):
                await self._accept(method, request, principal)
                return await work()
        if method not in ON_HOSTS:
            await self._accept(method, request, principal)
            return await work()
        _accepted(method, request, principal)
        await self._audit.started(method, request, principal)
        try:
            await self._scopes.check(method, request, principal)
            return await work()
        except Exception as error:
            await self._audit.refused(method, request, principal, error)
            raise

    async def _accept(self, method: str, request: Message, principal: Principal) -> Caller:
        """The caller of a valid call, once it is known to see what the call names."""
        caller = _accepted(method, request, principal)
        await self._scopes.check(method, request, principal)
        return caller

    async def _accepted_outcome(
        self,
        method: str,
        request: Message,
        principal: Principal,
        work: Callable[[], Awaitable[Message]],
    ) -> Outcome:
        try:
            return await self._outcome(work, await self._accept(method, request, principal))
        except Exception as error:
            return error

    async def _mutated(
        self, recorded: Callable[[], Coroutine[Any, Any, Outcome]]
    ) -> Message | bytes:
        """The answer to a mutation, which is carried through even when its caller goes away."""
        # Left in the middle, what is stored would have nobody who drives it.
        outcome = await asyncio.shield(self._mutating.start(recorded()))
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def _outcome(self, work: Callable[[], Awaitable[Message]], caller: Caller) -> Outcome:
        try:
            return await self._stored_response(caller) or await work()
        except AlreadyProcessed as replayed:
            return replayed.response
        except TendhostError as error:
            # An equal request may have been carried out meanwhile; then its answer is this one's, too.
            return await self._stored_response(caller) or error
        except Exception as error:
            return error

    async def _stored_response(self, caller: Caller) -> bytes | None:
        if not caller.request_id:
            return None
        return await self._store.stored_response(caller.request_id, caller.digest)

    def _stream(
        self,
        method: str,
        decode: Callable[[bytes], Message],
        handler: Callable[[Any, Any], Awaitable[None]],
    ) -> Callable[[Any, Any], Awaitable[None]]:
        async def streamed(message: bytes | object, principal: Principal, context: Any) -> None:
            request = _decoded(message, decode)
            await self._accept(method, request, principal)
            await handler(request, Stream(context))

        async def guarded(_requests: Any, context: Any) -> None:
            began = time.perf_counter()
            try:
                # Read first, whoever calls: a status that is sent while the message is still on its way reaches
                # one client in a hundred as INTERNAL (measured with grpc 1.85). It is not decoded before.
                message = await self._first_message(method, context)
                principal = await self._admitted(method, context)
                async with (
                    self._within_limits(method, principal, streamed=True) as account,
                    self._authenticator.while_valid(principal),
                ):
                    await account.metered(streamed(message, principal, context))
            except Exception as error:
                await abort(method, error, context)
                raise
            _log(method, "OK", began)

        return guarded


async def _decoded_all(
    message: bytes | object, context: Any, decode: Callable[[bytes], Message]
) -> AsyncIterator[Message]:
    """The messages of a call from the first on, which was read already."""
    while isinstance(message, bytes):  # else it is grpc.aio.EOF
        yield _decoded(message, decode)
        message = await context.read()


def _serialized(message: Message | bytes) -> bytes:
    # Bytes are a stored response, or a batch that many streams share.
    return message if isinstance(message, bytes) else message.SerializeToString()


def _decoded(raw: bytes | object, decode: Callable[[bytes], Message]) -> Message:
    if not isinstance(raw, bytes):  # grpc.aio.EOF
        raise InvalidArgument(FieldViolation("request", "the call ended without a message"))
    try:
        return decode(raw)
    except DecodeError:
        violation = FieldViolation("request", "invalid message: its bytes cannot be decoded")
        raise InvalidArgument(violation) from None


def _accepted(method: str, request: Message, principal: Principal) -> Caller:
    validate(request)
    request_id = getattr(
        request, _REQUEST_ID, ""
    ).lower()  # RFC 9562, section 4: case means nothing
    digest = b""
    if request_id:
        request.request_id = request_id  # type: ignore[attr-defined]  # every mutation has one
        body = request.SerializeToString(deterministic=True)
        # Of whoever makes it, too, and of its scope: nobody gets the answer that somebody else was given.
        scope = "" if principal.scope is None else str(principal.scope)
        who = "\0".join((method, principal.name, scope))
        digest = hashlib.sha256(who.encode() + body).digest()
    caller = Caller(principal=principal, method=method, request_id=request_id, digest=digest)
    _CALLER.set(caller)
    return caller


def validate(request: Message) -> None:
    """Raise InvalidArgument with every field that breaks a rule of the contract."""
    violations = violations_of(request)
    if violations:
        raise InvalidArgument(*violations)


def _log(method: str, outcome: str, began: float) -> None:
    took = round((time.perf_counter() - began) * 1000, 1)
    logger.debug("a call ended", extra={"method": method, "outcome": outcome, "ms": took})
