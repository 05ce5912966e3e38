"""What every call goes through: who calls, is the request valid, was it answered before, what went wrong."""

import hashlib
import logging
import re
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc
import protovalidate
from google.protobuf.message import Message
from google.rpc import status_pb2
from grpc_status import rpc_status

from tendhost.server.domain.errors import FieldViolation, InvalidArgument, TendhostError
from tendhost.server.engine.calls import Call, Replayed
from tendhost.server.rpc.status import internal_status, status_of
from tendhost.server.store.protocol import Store

logger = logging.getLogger(__name__)

T = TypeVar("T")

OURS = "/tendhost.v1."
USER_METADATA = "tendhost-user"
"""A name that a client gives itself, for the record; nothing is allowed or refused because of it."""

_USER = re.compile(r"[A-Za-z0-9._@+-]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who makes the present call, and the call's identity where it is a mutation that has one."""

    principal: str
    method: str
    request_id: str
    digest: bytes


_CALLER: ContextVar[Caller] = ContextVar("caller")


def call(encode: Callable[[T], Message]) -> Call[T]:
    """The present call, for the engine; `encode` makes the response of what it results in."""
    caller = _CALLER.get()
    return Call(
        principal=caller.principal,
        method=caller.method,
        request_id=caller.request_id,
        digest=caller.digest,
        encode=lambda value: encode(value).SerializeToString(),
    )


class Gate(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]  # generic in its stub only
    """The one interceptor. Calls of services that are not tendhost's own pass as they are."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """See grpc.aio.ServerInterceptor."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or not method.startswith(OURS):
            return handler
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(
                self._stream(method, handler.unary_stream),
                request_deserializer=handler.request_deserializer,
                response_serializer=_serialized,
            )
        return grpc.unary_unary_rpc_method_handler(
            self._unary(method, handler.unary_unary),
            request_deserializer=handler.request_deserializer,
            response_serializer=_serialized,
        )

    def _unary(
        self, method: str, handler: Callable[[Any, Any], Awaitable[Message]]
    ) -> Callable[[Message, Any], Awaitable[Message | bytes]]:
        async def guarded(request: Message, context: Any) -> Message | bytes:
            began = time.perf_counter()
            try:
                caller = _admitted(method, request, context)
                if caller.request_id:
                    answer = await self._store.replay(caller.request_id, caller.digest)
                    if answer is not None:
                        return answer
                response = await handler(request, context)
            except Replayed as replayed:
                return replayed.response
            except Exception as error:
                await _abort(method, error, context)
                raise
            _log(method, "OK", began)
            return response

        return guarded

    def _stream(
        self, method: str, handler: Callable[[Any, Any], Awaitable[None]]
    ) -> Callable[[Message, Any], Awaitable[None]]:
        async def guarded(request: Message, context: Any) -> None:
            began = time.perf_counter()
            try:
                _admitted(method, request, context)
                await handler(request, context)
            except Exception as error:
                await _abort(method, error, context)
                raise
            _log(method, "OK", began)

        return guarded


def _serialized(message: Message | bytes) -> bytes:
    # Bytes are an answer that was kept, or a batch that many streams share.
    return message if isinstance(message, bytes) else message.SerializeToString()


def _admitted(method: str, request: Message, context: Any) -> Caller:
    validate(request)
    request_id = getattr(request, "request_id", "")
    digest = b""
    if request_id:
        body = request.SerializeToString(deterministic=True)
        digest = hashlib.sha256(method.encode() + b"\0" + body).digest()
    caller = Caller(
        principal=_principal(context), method=method, request_id=request_id, digest=digest
    )
    _CALLER.set(caller)
    return caller


def validate(request: Message) -> None:
    """Raise InvalidArgument with every field that breaks a rule of the contract."""
    violations = protovalidate.collect_violations(request)
    if violations:
        raise InvalidArgument(*(_violation(violation) for violation in violations))


def _violation(violation: protovalidate.Violation) -> FieldViolation:
    proto = violation.proto
    path = ""
    for element in proto.field.elements if proto.field else ():
        path += f".{element.field_name}" if path else str(element.field_name)
        if element.subscript is not None:
            path += f"[{element.subscript.value}]"
    value = violation.field_value
    shown = f"{value!r}: " if isinstance(value, str | int | float | bool) else ""
    if isinstance(value, str) and len(value) > 100:
        shown = f"{value[:100]!r}…: "
    return FieldViolation(path or "request", f"{shown}{proto.message or 'is invalid'}")


def _principal(context: Any) -> str:
    peer = re.sub(r":\d+$", "", context.peer().replace("%5B", "[").replace("%5D", "]"))
    for key, value in context.invocation_metadata() or ():
        if key == USER_METADATA and _USER.fullmatch(value):
            return f"{value} ({peer})"
    return peer


async def _abort(method: str, error: Exception, context: Any) -> None:
    if isinstance(error, grpc.aio.AbortError):
        return
    status = internal_status()
    if isinstance(error, TendhostError):
        status = status_of(error)
        logger.info("a call was refused", extra={"method": method, "reason": error.reason})
    else:
        logger.error("a call failed unexpectedly", exc_info=error, extra={"method": method})
    await _abort_with(status, context)


async def _abort_with(status: status_pb2.Status, context: Any) -> None:
    rich = rpc_status.to_status(status)
    await context.abort(rich.code, rich.details, rich.trailing_metadata)


def _log(method: str, outcome: str, began: float) -> None:
    took = round((time.perf_counter() - began) * 1000, 1)
    logger.debug("a call ended", extra={"method": method, "outcome": outcome, "ms": took})
