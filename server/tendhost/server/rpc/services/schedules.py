"""ScheduleService: rollouts on a calendar."""

from collections.abc import Callable
from typing import Any, TypeVar

from google.protobuf.message import Message

from tendhost.server.domain.request_errors import FieldViolation, InvalidArgument
from tendhost.server.engine.engine import Engine
from tendhost.server.engine.schedules import ScheduleView
from tendhost.server.rpc.convert.schedules import (
    amendment,
    named_by,
    schedule_message,
    schedule_request,
    unknown_paths,
)
from tendhost.server.rpc.interceptor import call
from tendhost.server.rpc.paging import fill, page_size, position
from tendhost.server.rpc.rules import violations_of
from tendhost.server.store.protocols.policies import ScheduleStore
from tendhost.server.store.records import Unreadable
from tendhost.v1 import schedule_service_pb2 as pb
from tendhost.v1 import schedule_service_pb2_grpc

R = TypeVar("R", bound=Message)


class ScheduleServicer(schedule_service_pb2_grpc.ScheduleServiceServicer):
    """Manages schedules."""

    def __init__(self, engine: Engine) -> None:
        self._schedules = engine.schedules
        self._store: ScheduleStore = engine.store

    async def CreateSchedule(
        self, request: pb.CreateScheduleRequest, context: Any
    ) -> pb.CreateScheduleResponse:
        encode = with_schedule(pb.CreateScheduleResponse)
        return encode(await self._schedules.create(schedule_request(request.spec), call(encode)))

    async def GetSchedule(
        self, request: pb.GetScheduleRequest, context: Any
    ) -> pb.GetScheduleResponse:
        view = await self._schedules.view(await self._store.schedule(request.name))
        return pb.GetScheduleResponse(schedule=schedule_message(view))

    async def ListSchedules(
        self, request: pb.ListSchedulesRequest, context: Any
    ) -> pb.ListSchedulesResponse:
        page = await self._store.schedules(
            after=position(request, request.page_token), limit=page_size(request.page_size)
        )
        views = [
            row if isinstance(row, Unreadable) else await self._schedules.overview(row)
            for row in page.rows
        ]
        schedules, following = fill(
            request, views, schedule_message, lambda view: view.schedule.name, more=page.more
        )
        return pb.ListSchedulesResponse(schedules=schedules, next_page_token=following)

    async def UpdateSchedule(
        self, request: pb.UpdateScheduleRequest, context: Any
    ) -> pb.UpdateScheduleResponse:
        _require_sound(request)
        encode = with_schedule(pb.UpdateScheduleResponse)
        amended = amendment(request.spec, request.update_mask.paths)
        name, etag = request.name, request.etag
        return encode(await self._schedules.update(name, amended, call(encode), etag=etag))

    async def PauseSchedule(
        self, request: pb.PauseScheduleRequest, context: Any
    ) -> pb.PauseScheduleResponse:
        encode = with_schedule(pb.PauseScheduleResponse)
        name, etag = request.name, request.etag
        return encode(await self._schedules.pause(name, call(encode), etag=etag))

    async def ResumeSchedule(
        self, request: pb.ResumeScheduleRequest, context: Any
    ) -> pb.ResumeScheduleResponse:
        encode = with_schedule(pb.ResumeScheduleResponse)
        name, etag = request.name, request.etag
        return encode(await self._schedules.resume(name, call(encode), etag=etag))

    async def DeleteSchedule(
        self, request: pb.DeleteScheduleRequest, context: Any
    ) -> pb.DeleteScheduleResponse:
        def encode(view: ScheduleView) -> pb.DeleteScheduleResponse:
            return pb.DeleteScheduleResponse(revision=view.schedule.revision)

        name, etag = request.name, request.etag
        return encode(await self._schedules.delete(name, call(encode), etag=etag))


def with_schedule(response: Callable[..., R]) -> Callable[[ScheduleView], R]:
    """Makes the response that carries a schedule."""
    return lambda view: response(schedule=schedule_message(view))


def _require_sound(request: pb.UpdateScheduleRequest) -> None:
    """Raise InvalidArgument if the mask or a field that it names is invalid."""
    probe = pb.CreateScheduleRequest()
    probe.spec.CopyFrom(named_by(request.spec, request.update_mask.paths))
    probe.spec.name = request.name
    violations = [*violations_of(probe), *unknown_paths(request.update_mask.paths)]
    if not request.update_mask.paths:
        violations.append(FieldViolation("update_mask", "names no field; expected one to change"))
    if violations:
        raise InvalidArgument(*violations)
