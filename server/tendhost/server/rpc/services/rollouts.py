"""RolloutService: rollouts are planned, started, steered and watched."""

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from google.protobuf.message import Message

from tendhost.server.domain.rollouts.rollout import Member, Rollout
from tendhost.server.engine.engine import Engine
from tendhost.server.rpc.convert.reports import report_message
from tendhost.server.rpc.convert.rollouts import (
    member_message,
    plan_message,
    planned_host_message,
    rollout_message,
    rollout_spec,
    rollout_statuses,
    wave_message,
)
from tendhost.server.rpc.interceptor import call
from tendhost.server.rpc.paging import (
    fill,
    first_part,
    number,
    page_size,
    position,
    token,
)
from tendhost.server.rpc.streams.event_feed import EventFeed
from tendhost.server.rpc.streams.stream_writer import send
from tendhost.server.store.protocols.rollouts import PlanStore, RolloutStore
from tendhost.server.store.records import RolloutCursor, RolloutView
from tendhost.v1 import rollout_service_pb2 as pb
from tendhost.v1 import rollout_service_pb2_grpc

R = TypeVar("R", bound=Message)

VIEW_ROWS = 1000
VIEW_BYTES = 256 * 1024
"""A stream holds no more than about this of a rollout's waves, and of its hosts."""


class RolloutServiceStore(RolloutStore, PlanStore, Protocol):
    """Rollouts and their plans."""


class RolloutServicer(rollout_service_pb2_grpc.RolloutServiceServicer):
    """Manages rollouts."""

    def __init__(self, engine: Engine, feed: EventFeed) -> None:
        self._engine = engine
        self._store: RolloutServiceStore = engine.store
        self._feed = feed

    async def PlanRollout(
        self, request: pb.PlanRolloutRequest, context: Any
    ) -> pb.PlanRolloutResponse:
        first = number(position(request, request.page_token), default=0)
        last = first + page_size(request.page_size)
        if request.plan_id:
            plan, part = await self._store.plan_page(request.plan_id, first=first, last=last)
        else:
            made = await self._engine.rollouts.plan(rollout_spec(request.spec))
            plan, part = made.outline, made.whole.cut(first, last)
        # The client names the plan for further pages, so that all pages are of the same one.
        paged = pb.PlanRolloutRequest(plan_id=plan.id, page_size=request.page_size)
        shown = first_part(map(planned_host_message, part.all))
        reached = first + len(shown)
        more = reached < plan.host_count + plan.excluded_count
        return pb.PlanRolloutResponse(
            plan=plan_message(plan),
            hosts=shown,
            next_page_token=token(paged, str(reached)) if more else "",
        )

    async def StartRollout(
        self, request: pb.StartRolloutRequest, context: Any
    ) -> pb.StartRolloutResponse:
        encode = with_rollout(pb.StartRolloutResponse)
        rollouts = self._engine.rollouts
        if request.plan_id:
            return encode(await rollouts.start_planned(request.plan_id, call(encode)))
        return encode(await rollouts.start(rollout_spec(request.spec), call(encode)))

    async def GetRollout(
        self, request: pb.GetRolloutRequest, context: Any
    ) -> pb.GetRolloutResponse:
        rollout = await self._store.rollout(request.id)
        page = await self._store.members(
            request.id,
            after=number(position(request, request.page_token), default=-1),
            limit=page_size(request.page_size),
        )
        hosts, following = fill(
            request,
            page.rows,
            member_message,
            lambda member: str(member.position),
            more=page.more,
        )
        numbers = [row.wave for row in page.rows[: len(hosts)] if isinstance(row, Member)] or [0]
        waves = await self._store.waves(request.id, first=min(numbers), last=max(numbers))
        return pb.GetRolloutResponse(
            rollout=rollout_message(rollout),
            hosts=hosts,
            next_page_token=following,
            # A member is at least as large as a wave, so these are no more than the hosts allow.
            waves=[wave_message(wave) for wave in waves],
        )

    async def ListRollouts(
        self, request: pb.ListRolloutsRequest, context: Any
    ) -> pb.ListRolloutsResponse:
        page = await self._store.rollouts(
            statuses=rollout_statuses(request.statuses),
            before=position(request, request.page_token),
            limit=page_size(request.page_size),
        )
        rollouts, following = fill(
            request, page.rows, rollout_message, lambda rollout: rollout.id, more=page.more
        )
        return pb.ListRolloutsResponse(rollouts=rollouts, next_page_token=following)

    async def PauseRollout(
        self, request: pb.PauseRolloutRequest, context: Any
    ) -> pb.PauseRolloutResponse:
        encode = with_rollout(pb.PauseRolloutResponse)
        return encode(await self._engine.rollouts.pause(request.id, call(encode)))

    async def ResumeRollout(
        self, request: pb.ResumeRolloutRequest, context: Any
    ) -> pb.ResumeRolloutResponse:
        encode = with_rollout(pb.ResumeRolloutResponse)
        resumed = await self._engine.rollouts.resume(
            request.id,
            call(encode),
            max_failures=request.max_failures,
            ignore_reboots_left=request.ignore_reboots_left,
        )
        return encode(resumed)

    async def CancelRollout(
        self, request: pb.CancelRolloutRequest, context: Any
    ) -> pb.CancelRolloutResponse:
        encode = with_rollout(pb.CancelRolloutResponse)
        return encode(await self._engine.rollouts.cancel(request.id, call(encode)))

    async def ApproveWave(
        self, request: pb.ApproveWaveRequest, context: Any
    ) -> pb.ApproveWaveResponse:
        encode = with_rollout(pb.ApproveWaveResponse)
        wave = request.wave - 1
        return encode(await self._engine.rollouts.approve(request.id, wave, call(encode)))

    async def SkipRolloutHost(
        self, request: pb.SkipRolloutHostRequest, context: Any
    ) -> pb.SkipRolloutHostResponse:
        encode = with_rollout(pb.SkipRolloutHostResponse)
        return encode(await self._engine.rollouts.skip(request.id, request.host, call(encode)))

    async def RetryRollout(
        self, request: pb.RetryRolloutRequest, context: Any
    ) -> pb.RetryRolloutResponse:
        encode = with_rollout(pb.RetryRolloutResponse)
        return encode(await self._engine.rollouts.retry(request.id, call(encode)))

    async def GetRolloutReport(
        self, request: pb.GetRolloutReportRequest, context: Any
    ) -> pb.GetRolloutReportResponse:
        return report_message(await self._engine.reports.report(request.id))

    # The generated type is that of a generator; this way a write can be given a deadline.
    async def WatchRollout(  # type: ignore[override]
        self, request: pb.WatchRolloutRequest, context: Any
    ) -> None:
        cursor, sent, more = RolloutCursor(), -1, False
        with self._feed.changes_of(request.id) as signal:
            while True:
                view = await self._store.rollout_view(
                    request.id, after=cursor, limit=VIEW_ROWS, size=VIEW_BYTES
                )
                if more or view.rollout.revision > sent:
                    await send(context, _message(view))
                    cursor, sent, more = view.last, view.rollout.revision, view.more
                if more:
                    continue
                if view.rollout.over:
                    return
                await self._feed.wait_for_change(signal)


def _message(view: RolloutView) -> pb.WatchRolloutResponse:
    return pb.WatchRolloutResponse(
        rollout=rollout_message(view.rollout),
        hosts=[member_message(member) for member in view.members],
        waves=[wave_message(wave) for wave in view.waves],
        more=view.more,
    )


def with_rollout(response: Callable[..., R]) -> Callable[[Rollout], R]:
    """Makes the response that carries a rollout."""
    return lambda rollout: response(rollout=rollout_message(rollout))
