"""RolloutService: rollouts are planned, started, steered and watched."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Protocol, TypeVar

from google.protobuf.message import Message

from tendhost.server.domain.rollouts.rollout import Member, Rollout, RolloutSpec, RolloutStatus
from tendhost.server.domain.rollouts.rollout_view import (
    member_seen,
    plan_seen,
    reaches,
    rollout_seen,
)
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
from tendhost.server.rpc.interceptor import call, caller
from tendhost.server.rpc.pacing import pause
from tendhost.server.rpc.paging import (
    LARGEST_PAGE,
    fill,
    first_part,
    number,
    page_size,
    position,
    token,
    told,
)
from tendhost.server.rpc.scoping import Scopes
from tendhost.server.rpc.streams.event_feed import EventFeed
from tendhost.server.rpc.streams.stream_writer import send
from tendhost.server.store.protocols.rollouts import PlanStore, RolloutStore
from tendhost.server.store.records import Page, RolloutCursor, RolloutView, Unreadable
from tendhost.v1 import rollout_pb2, rollout_service_pb2_grpc
from tendhost.v1 import rollout_service_pb2 as pb

R = TypeVar("R", bound=Message)

VIEW_ROWS = 1000
VIEW_BYTES = 256 * 1024
"""A stream holds no more than about this of a rollout's waves, and of its hosts."""


class RolloutServiceStore(RolloutStore, PlanStore, Protocol):
    """Rollouts and their plans."""


class RolloutServicer(rollout_service_pb2_grpc.RolloutServiceServicer):
    """Manages rollouts."""

    def __init__(self, engine: Engine, feed: EventFeed, scopes: Scopes) -> None:
        self._engine = engine
        self._scopes = scopes
        self._store: RolloutServiceStore = engine.store
        self._feed = feed

    async def PlanRollout(
        self, request: pb.PlanRolloutRequest, context: Any
    ) -> pb.PlanRolloutResponse:
        first = number(position(request, request.page_token), default=0)
        last = first + page_size(request.page_size)
        hidden: frozenset[str] = frozenset()
        if request.plan_id:
            plan, part = await self._store.plan_page(request.plan_id, first=first, last=last)
            hidden = await self._scopes.hidden_of_plan(request.plan_id, caller())
        else:
            made = await self._engine.rollouts.plan(self._spec(request.spec))
            plan, part = made.outline, made.whole.cut(first, last)
        # The client names the plan for further pages, so that all pages are of the same one.
        paged = pb.PlanRolloutRequest(plan_id=plan.id, page_size=request.page_size)
        shown = first_part(await told(part.all, planned_host_message))
        reached = first + len(shown)
        more = reached < plan.host_count + plan.excluded_count
        return pb.PlanRolloutResponse(
            plan=plan_message(plan_seen(plan, hidden)),
            hosts=[host for host in shown if host.host not in hidden],
            next_page_token=token(paged, str(reached)) if more else "",
        )

    async def StartRollout(
        self, request: pb.StartRolloutRequest, context: Any
    ) -> pb.StartRolloutResponse:
        encode = with_rollout(pb.StartRolloutResponse)
        rollouts = self._engine.rollouts
        if request.plan_id:
            return encode(await rollouts.start_planned(request.plan_id, call(encode)))
        return encode(await rollouts.start(self._spec(request.spec), call(encode)))

    def _spec(self, message: rollout_pb2.RolloutSpec) -> RolloutSpec:
        """The specification in a request, within the caller's scope."""
        return replace(rollout_spec(message), bound_to=caller().scope)

    async def _encoding(self, response: Callable[..., R], id: str) -> Callable[[Rollout], R]:
        """Makes the response that carries the rollout with this id, as its caller sees it."""
        return with_rollout(response, await self._scopes.hidden(id, caller()))

    async def GetRollout(
        self, request: pb.GetRolloutRequest, context: Any
    ) -> pb.GetRolloutResponse:
        hidden = await self._scopes.hidden(request.id, caller())
        rollout = rollout_seen(await self._store.rollout(request.id), hidden)
        page = await self._members(
            request.id,
            hidden,
            after=number(position(request, request.page_token), default=-1),
            limit=page_size(request.page_size),
        )
        response = pb.GetRolloutResponse(rollout=rollout_message(rollout))
        response.next_page_token = await fill(
            response.hosts,
            request,
            page.rows,
            member_message,
            lambda member: str(member.position),
            more=page.more,
        )
        shown = page.rows[: len(response.hosts)]
        numbers = [row.wave for row in shown if isinstance(row, Member)] or [0]
        waves = await self._store.waves(request.id, first=min(numbers), last=max(numbers))
        # A member is at least as large as a wave, so these are no more than the hosts allow.
        response.waves.extend(wave_message(wave) for wave in waves)
        return response

    async def _members(
        self, id: str, hidden: frozenset[str], *, after: int, limit: int
    ) -> Page[Member]:
        """Members from the position that follows `after` on, without hidden ones, as their caller sees them."""
        found: list[Member | Unreadable] = []
        read = LARGEST_PAGE if hidden else limit
        while True:
            page = await self._store.members(id, after=after, limit=read)
            found += _members_seen(page.rows, hidden)
            if not page.more or len(found) >= limit:
                return Page(rows=tuple(found[:limit]), more=page.more or len(found) > limit)
            after = int(_position(page.rows[-1]))
            await pause()

    async def ListRollouts(
        self, request: pb.ListRolloutsRequest, context: Any
    ) -> pb.ListRolloutsResponse:
        page = await self._rollouts(
            rollout_statuses(request.statuses),
            before=position(request, request.page_token),
            limit=page_size(request.page_size),
        )
        response = pb.ListRolloutsResponse()
        response.next_page_token = await fill(
            response.rollouts,
            request,
            page.rows,
            rollout_message,
            lambda rollout: rollout.id,
            more=page.more,
        )
        return response

    async def _rollouts(
        self, statuses: Sequence[RolloutStatus], *, before: str, limit: int
    ) -> Page[Rollout]:
        """Rollouts that the caller sees, as it sees them."""
        principal = caller()
        if principal.scope is None:
            return await self._store.rollouts(statuses=statuses, before=before, limit=limit)
        found: list[Rollout] = []
        while True:
            page = await self._store.rollouts(statuses=statuses, before=before, limit=LARGEST_PAGE)
            for row in page.rows:
                if isinstance(row, Unreadable) or not reaches(principal.scope, row.spec):
                    continue
                if len(found) == limit:
                    return Page(rows=tuple(found), more=True)
                hidden = await self._scopes.hidden(row.id, principal)
                found.append(rollout_seen(row, hidden))
            if not page.more:
                return Page(rows=tuple(found), more=False)
            last = page.rows[-1]
            before = last.position if isinstance(last, Unreadable) else last.id
            await pause()

    async def PauseRollout(
        self, request: pb.PauseRolloutRequest, context: Any
    ) -> pb.PauseRolloutResponse:
        encode = await self._encoding(pb.PauseRolloutResponse, request.id)
        return encode(await self._engine.rollouts.pause(request.id, call(encode)))

    async def ResumeRollout(
        self, request: pb.ResumeRolloutRequest, context: Any
    ) -> pb.ResumeRolloutResponse:
        encode = await self._encoding(pb.ResumeRolloutResponse, request.id)
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
        encode = await self._encoding(pb.CancelRolloutResponse, request.id)
        return encode(await self._engine.rollouts.cancel(request.id, call(encode)))

    async def ApproveWave(
        self, request: pb.ApproveWaveRequest, context: Any
    ) -> pb.ApproveWaveResponse:
        encode = await self._encoding(pb.ApproveWaveResponse, request.id)
        wave = request.wave - 1
        return encode(await self._engine.rollouts.approve(request.id, wave, call(encode)))

    async def SkipRolloutHost(
        self, request: pb.SkipRolloutHostRequest, context: Any
    ) -> pb.SkipRolloutHostResponse:
        encode = await self._encoding(pb.SkipRolloutHostResponse, request.id)
        return encode(await self._engine.rollouts.skip(request.id, request.host, call(encode)))

    async def RetryRollout(
        self, request: pb.RetryRolloutRequest, context: Any
    ) -> pb.RetryRolloutResponse:
        encode = await self._encoding(pb.RetryRolloutResponse, request.id)
        return encode(await self._engine.rollouts.retry(request.id, call(encode)))

    async def GetRolloutReport(
        self, request: pb.GetRolloutReportRequest, context: Any
    ) -> pb.GetRolloutReportResponse:
        hidden = await self._scopes.hidden(request.id, caller())
        return report_message(await self._engine.reports.report(request.id, hidden))

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
                    hidden = await self._scopes.hidden(request.id, caller())
                    await send(context, _message(view, hidden))
                    cursor, sent, more = view.last, view.rollout.revision, view.more
                if more:
                    continue
                if view.rollout.over:
                    return
                await self._feed.wait_for_change(signal)


def _message(view: RolloutView, hidden: frozenset[str]) -> pb.WatchRolloutResponse:
    return pb.WatchRolloutResponse(
        rollout=rollout_message(rollout_seen(view.rollout, hidden)),
        hosts=[member_message(member) for member in _members_seen(view.members, hidden)],
        waves=[wave_message(wave) for wave in view.waves],
        more=view.more,
    )


def _members_seen(
    rows: Iterable[Member | Unreadable], hidden: frozenset[str]
) -> Iterator[Member | Unreadable]:
    for row in rows:
        if isinstance(row, Unreadable):
            if row.key not in hidden:
                yield row
        elif row.host not in hidden:
            yield member_seen(row, hidden)


def _position(member: Member | Unreadable) -> str:
    return member.position if isinstance(member, Unreadable) else str(member.position)


def with_rollout(
    response: Callable[..., R], hidden: frozenset[str] = frozenset()
) -> Callable[[Rollout], R]:
    """Makes the response that carries a rollout, without the names `hidden`."""
    return lambda rollout: response(rollout=rollout_message(rollout_seen(rollout, hidden)))
