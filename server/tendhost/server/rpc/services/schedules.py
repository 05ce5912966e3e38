"""ScheduleService: rollouts on a calendar."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from google.protobuf.message import Message

from tendhost.server.domain.request_errors import FieldViolation, InvalidArgument
from tendhost.server.domain.rollouts.rollout_view import reaches, rollout_seen
from tendhost.server.domain.schedules.schedule import Schedule
from tendhost.server.engine.engine import Engine
from tendhost.server.engine.schedules import ScheduleView
from tendhost.server.rpc.convert.schedules import (
    amendment,
    named_by,
    schedule_message,
    schedule_request,
    unknown_paths,
)
from tendhost.server.rpc.interceptor import call, caller
from tendhost.server.rpc.pacing import pause
from tendhost.server.rpc.paging import LARGEST_PAGE, fill, page_size, position
from tendhost.server.rpc.rules import violations_of
from tendhost.server.rpc.scoping import Scopes
from tendhost.server.store.protocols.policies import ScheduleStore
from tendhost.server.store.records import Page, Unreadable
from tendhost.v1 import schedule_service_pb2 as pb
from tendhost.v1 import schedule_service_pb2_grpc

R = TypeVar("R", bound=Message)


class ScheduleServicer(schedule_service_pb2_grpc.ScheduleServiceServicer):
    """Manages schedules."""

    def __init__(self, engine: Engine, scopes: Scopes) -> None:
        self._scopes = scopes
        self._schedules = engine.schedules
        self._store: ScheduleStore = engine.store

    async def CreateSchedule(
        self, request: pb.CreateScheduleRequest, context: Any
    ) -> pb.CreateScheduleResponse:
        encode = with_schedule(pb.CreateScheduleResponse)
        asked = schedule_request(request.spec)
        asked = replace(asked, rollout=replace(asked.rollout, bound_to=caller().scope))
        return encode(await self._schedules.create(asked, call(encode)))

    async def GetSchedule(
        self, request: pb.GetScheduleRequest, context: Any
    ) -> pb.GetScheduleResponse:
        view = await self._schedules.view(await self._store.schedule(request.name))
        return pb.GetScheduleResponse(schedule=schedule_message(await self._seen(view)))

    async def ListSchedules(
        self, request: pb.ListSchedulesRequest, context: Any
    ) -> pb.ListSchedulesResponse:
        page = await self._page(
            after=position(request, request.page_token), limit=page_size(request.page_size)
        )
        views = [
            row
            if isinstance(row, Unreadable)
            else await self._seen(await self._schedules.overview(row))
            for row in page.rows
        ]
        response = pb.ListSchedulesResponse()
        response.next_page_token = await fill(
            response.schedules,
            request,
            views,
            schedule_message,
            lambda view: view.schedule.name,
            more=page.more,
        )
        return response

    async def _page(self, *, after: str, limit: int) -> Page[Schedule]:
        """Schedules that the caller sees."""
        scope = caller().scope
        if scope is None:
            return await self._store.schedules(after=after, limit=limit)
        found: list[Schedule] = []
        while True:
            page = await self._store.schedules(after=after, limit=LARGEST_PAGE)
            found += (
                row
                for row in page.rows
                if not isinstance(row, Unreadable) and reaches(scope, row.spec.rollout)
            )
            if not page.more or len(found) > limit:
                return Page(rows=tuple(found[:limit]), more=len(found) > limit)
            last = page.rows[-1]
            after = last.position if isinstance(last, Unreadable) else last.name
            await pause()

    async def _seen(self, view: ScheduleView) -> ScheduleView:
        """The schedule as the caller sees it."""
        return seen(view, await self._hidden(view.schedule))

    async def _hidden(self, schedule: Schedule) -> frozenset[str]:
        if not schedule.last_rollout:
            return frozenset()
        return await self._scopes.hidden(schedule.last_rollout, caller())

    async def _encoding(self, response: Callable[..., R], name: str) -> Callable[[ScheduleView], R]:
        """Makes the response that carries the schedule of this name, as its caller sees it."""
        if caller().scope is None:
            return with_schedule(response)
        return with_schedule(response, await self._hidden(await self._store.schedule(name)))

    async def UpdateSchedule(
        self, request: pb.UpdateScheduleRequest, context: Any
    ) -> pb.UpdateScheduleResponse:
        _require_sound(request)
        encode = await self._encoding(pb.UpdateScheduleResponse, request.name)
        amended = amendment(request.spec, request.update_mask.paths)
        name, etag = request.name, request.etag
        return encode(await self._schedules.update(name, amended, call(encode), etag=etag))

    async def PauseSchedule(
        self, request: pb.PauseScheduleRequest, context: Any
    ) -> pb.PauseScheduleResponse:
        encode = await self._encoding(pb.PauseScheduleResponse, request.name)
        name, etag = request.name, request.etag
        return encode(await self._schedules.pause(name, call(encode), etag=etag))

    async def ResumeSchedule(
        self, request: pb.ResumeScheduleRequest, context: Any
    ) -> pb.ResumeScheduleResponse:
        encode = await self._encoding(pb.ResumeScheduleResponse, request.name)
        name, etag = request.name, request.etag
        return encode(await self._schedules.resume(name, call(encode), etag=etag))

    async def DeleteSchedule(
        self, request: pb.DeleteScheduleRequest, context: Any
    ) -> pb.DeleteScheduleResponse:
        def encode(view: ScheduleView) -> pb.DeleteScheduleResponse:
            return pb.DeleteScheduleResponse(revision=view.schedule.revision)

        name, etag = request.name, request.etag
        return encode(await self._schedules.delete(name, call(encode), etag=etag))


def with_schedule(
    response: Callable[..., R], hidden: frozenset[str] = frozenset()
) -> Callable[[ScheduleView], R]:
    """Makes the response that carries a schedule, without the names `hidden`."""
    return lambda view: response(schedule=schedule_message(seen(view, hidden)))


def seen(view: ScheduleView, hidden: frozenset[str]) -> ScheduleView:
    """The schedule without the names `hidden`, which hosts of its last rollout have."""
    last = view.last_rollout
    return view if last is None else replace(view, last_rollout=rollout_seen(last, hidden))


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
