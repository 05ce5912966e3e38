"""A MOCK of a tendhost server: it knows no hosts and does no work, it gives the answers that a test scripts."""

import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import grpc
from google.protobuf import any_pb2, message_factory
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from tendhost.v1 import (
    access_service_pb2,
    event_service_pb2,
    host_service_pb2,
    operation_service_pb2,
    policy_service_pb2,
    rollout_service_pb2,
    schedule_service_pb2,
    selection_service_pb2,
    system_service_pb2,
)

SERVICES = tuple(
    service
    for module in (
        host_service_pb2,
        operation_service_pb2,
        rollout_service_pb2,
        schedule_service_pb2,
        selection_service_pb2,
        policy_service_pb2,
        access_service_pb2,
        event_service_pb2,
        system_service_pb2,
    )
    for service in module.DESCRIPTOR.services_by_name.values()
)


@dataclass(frozen=True, kw_only=True)
class Refused:
    """An answer that is an error as tendhostd tells it, or with no reason, as only gRPC does."""

    code: grpc.StatusCode
    message: str = "refused"
    reason: str = ""
    metadata: Mapping[str, str] | None = None
    violations: Sequence[tuple[str, str]] = ()
    domain: str = "tendhost"


LOST = Refused(code=grpc.StatusCode.UNAVAILABLE, message="connection reset by a mock")
"""What a client sees of an answer that did not reach it."""
STOPPING = Refused(code=grpc.StatusCode.UNAVAILABLE, reason="SERVER_STOPPING")
"""How a server that stops ends what has not come to its own end."""


class Hold:
    """An answer that does not come: until `release`, or until the call is over."""

    def __init__(self) -> None:
        self.over = threading.Event()

    def release(self) -> None:
        """Go on with what follows."""
        self.over.set()

    def belong_to(self, context: grpc.ServicerContext) -> None:
        """Be over when that call is, which may be before anybody waits."""
        if not context.add_callback(self.over.set):
            self.over.set()

    def wait(self) -> None:
        """Return when it is released, or the call is over."""
        self.over.wait()


Answer = Message | Refused | Hold
Part = Message | Refused | Hold
Script = Sequence[Part] | Callable[[Any], Sequence[Part]]


@dataclass(frozen=True, kw_only=True)
class Call:
    """A call that the mock was given."""

    request: Any
    metadata: Mapping[str, str]
    seconds: float | None
    peer: str


class MockServer:
    """Answers each method with what was scripted for it, in order; the last answer stays."""

    def __init__(self) -> None:
        self.calls: dict[str, list[Call]] = defaultdict(list)
        self._answers: dict[str, deque[Answer]] = defaultdict(deque)
        self._streams: dict[str, deque[Script]] = defaultdict(deque)
        self._called = threading.Condition()
        self._server: grpc.Server | None = None
        self.port = 0

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self.port}"

    def answer(self, method: str, *answers: Answer) -> None:
        """Answer a unary method so."""
        self._answers[method] = deque(answers)

    def stream(self, method: str, *scripts: Script) -> None:
        """Answer a streaming method so: each call gets a script, which ends well unless refused."""
        self._streams[method] = deque(scripts)

    def requests(self, method: str) -> list[Any]:
        """What a method was asked so far."""
        return [call.request for call in self.calls[method]]

    def wait_for_call(self, method: str, count: int = 1) -> None:
        """Return once a method was called so often."""
        with self._called:
            assert self._called.wait_for(lambda: len(self.calls[method]) >= count, timeout=20)

    # --- the server -------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Listen, at the port of before where there was one."""
        server = grpc.server(ThreadPoolExecutor(16), options=[("grpc.so_reuseport", 0)])
        for service in SERVICES:
            handlers = {method.name: self._handler(method) for method in service.methods}
            generic = grpc.method_handlers_generic_handler(service.full_name, handlers)
            server.add_generic_rpc_handlers((generic,))
        self.port = server.add_insecure_port(f"127.0.0.1:{self.port}")
        server.start()
        self._server = server

    def stop(self) -> None:
        """Break every connection and listen no more."""
        if self._server is not None:
            self._server.stop(None).wait()
            self._server = None

    def restart(self) -> None:
        """Break every connection and listen again."""
        self.stop()
        self.start()

    def _handler(self, method: Any) -> Any:
        request = message_factory.GetMessageClass(method.input_type)
        if method.server_streaming:
            return grpc.unary_stream_rpc_method_handler(
                lambda asked, context: self._stream(method.name, asked, context),
                request_deserializer=request.FromString,
                response_serializer=lambda message: message.SerializeToString(),
            )
        return grpc.unary_unary_rpc_method_handler(
            lambda asked, context: self._answer(method.name, asked, context),
            request_deserializer=request.FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )

    def _note(self, method: str, request: Any, context: grpc.ServicerContext) -> None:
        call = Call(
            request=request,
            metadata={key: str(value) for key, value in context.invocation_metadata()},
            seconds=context.time_remaining(),
            peer=context.peer(),
        )
        with self._called:
            self.calls[method].append(call)
            self._called.notify_all()

    def _answer(self, method: str, request: Any, context: grpc.ServicerContext) -> Message:
        self._note(method, request, context)
        answers = self._answers[method]
        if not answers:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, f"the mock has no answer for {method}")
        answer = answers.popleft() if len(answers) > 1 else answers[0]
        if isinstance(answer, Refused):
            refuse(context, answer)
        if isinstance(answer, Hold):
            answer.belong_to(context)
            answer.wait()
            context.abort(grpc.StatusCode.CANCELLED, "the mock's test has let go of the call")
        assert isinstance(answer, Message)
        return answer

    def _stream(
        self, method: str, request: Any, context: grpc.ServicerContext
    ) -> Iterator[Message]:
        self._note(method, request, context)
        scripts = self._streams[method]
        if not scripts:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, f"the mock has no script for {method}")
        script = scripts.popleft() if len(scripts) > 1 else scripts[0]
        parts = script(request) if callable(script) else script
        for hold in (part for part in parts if isinstance(part, Hold)):
            hold.belong_to(context)
        for part in parts:
            if isinstance(part, Refused):
                refuse(context, part)
            elif isinstance(part, Hold):
                part.wait()
                if not context.is_active():
                    return
            else:
                yield part


def refuse(context: grpc.ServicerContext, refused: Refused) -> None:
    """End a call with an error."""
    if not refused.reason:
        context.abort(refused.code, refused.message)
    info = error_details_pb2.ErrorInfo(
        reason=refused.reason, domain=refused.domain, metadata=refused.metadata
    )
    violations = [
        error_details_pb2.BadRequest.FieldViolation(field=field, description=description)
        for field, description in refused.violations
    ]
    details: list[Message] = [info]
    if violations:
        details.append(error_details_pb2.BadRequest(field_violations=violations))
    status = status_pb2.Status(code=refused.code.value[0], message=refused.message)
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    context.abort_with_status(rpc_status.to_status(status))
