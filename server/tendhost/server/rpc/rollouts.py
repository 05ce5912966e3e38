"""RolloutService."""

from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

from google.protobuf.message import Message

from tendhost.server.domain.errors import NotImplementedYet
from tendhost.server.domain.rollout import Member, Rollout, RolloutStatus
from tendhost.server.engine.engine import Engine
from tendhost.server.rpc.convert import (
    member_message,
    rollout_message,
    rollout_spec,
    rollout_statuses,
)
from tendhost.server.rpc.feed import Feed
from tendhost.server.rpc.interceptor import call
from tendhost.server.rpc.paging import LARGEST_PAGE, page_size, position, token
from tendhost.server.rpc.sending import send
from tendhost.v1 import rollout_service_pb2 as pb
from tendhost.v1 import rollout_service_pb2_grpc

R = TypeVar("R", bound=Message)


class RolloutServicer(rollout_service_pb2_grpc.RolloutServiceServicer):
    """Updates of many hosts."""

    def __init__(self, engine: Engine, feed: Feed) -> None:
        self._engine = engine
        self._store = engine.store
        self._feed = feed

    async def PlanRollout(
        self, request: pb.PlanRolloutRequest, context: Any
    ) -> pb.PlanRolloutResponse:
        raise NotImplementedYet(what="PlanRollout")

    async def StartRollout(
        self, request: pb.StartRolloutRequest, context: Any
    ) -> pb.StartRolloutResponse:
        encode = with_rollout(pb.StartRolloutResponse)
        spec = rollout_spec(request.spec)
        return encode(await self._engine.rollouts.start(spec, call(encode)))

    async def GetRollout(
        self, request: pb.GetRolloutRequest, context: Any
    ) -> pb.GetRolloutResponse:
        rollout = await self._store.rollout(request.id)
        page = await self._store.members(
            request.id,
            after=position(request, request.page_token),
            limit=page_size(request.page_size),
        )
        return pb.GetRolloutResponse(
            rollout=rollout_message(rollout),
            hosts=[member_message(member) for member in page.items],
            next_page_token=token(request, page.items[-1].host) if page.more else "",
        )

    async def ListRollouts(
        self, request: pb.ListRolloutsRequest, context: Any
    ) -> pb.ListRolloutsResponse:
        page = await self._store.rollouts(
            statuses=rollout_statuses(request.statuses),
            before=position(request, request.page_token),
            limit=page_size(request.page_size),
        )
        following = token(request, page.items[-1].id) if page.more else ""
        rollouts = [rollout_message(rollout) for rollout in page.items]
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
        return encode(await self._engine.rollouts.resume(request.id, call(encode)))

    async def CancelRollout(
        self, request: pb.CancelRolloutRequest, context: Any
    ) -> pb.CancelRolloutResponse:
        encode = with_rollout(pb.CancelRolloutResponse)
        return encode(await self._engine.rollouts.cancel(request.id, call(encode)))

    async def ApproveWave(
        self, request: pb.ApproveWaveRequest, context: Any
    ) -> pb.ApproveWaveResponse:
        raise NotImplementedYet(what="ApproveWave")

    async def RetryRollout(
        self, request: pb.RetryRolloutRequest, context: Any
    ) -> pb.RetryRolloutResponse:
        raise NotImplementedYet(what="RetryRollout")

    # The generated type is that of a generator; this way a write can be given a deadline.
    async def WatchRollout(  # type: ignore[override]
        self, request: pb.WatchRolloutRequest, context: Any
    ) -> None:
        rollout = await self._store.rollout(request.id)
        members = [member async for member in self._members(request.id)]
        sent = {member.host: member for member in members}
        changed = members
        while True:
            hosts = [member_message(member) for member in changed]
            message = pb.WatchRolloutResponse(rollout=rollout_message(rollout), hosts=hosts)
            await send(context, message)
            if rollout.over or self._feed.closing:
                return
            former = rollout
            await self._feed.until(rollout.revision, lambda event: event.rollout == request.id)
            rollout = await self._store.rollout(request.id)
            current = await self._moved(former, rollout)
            changed = [member for member in current if sent[member.host] != member]
            sent.update((member.host, member) for member in changed)

    async def _moved(self, former: Rollout, rollout: Rollout) -> list[Member]:
        """The members that may have changed: those of the current batch, unless all were skipped."""
        if rollout.status is RolloutStatus.CANCELLED:
            return [member async for member in self._members(rollout.id)]
        moved: list[Member] = []
        for batch in range(former.batch, rollout.batch + 1):
            moved.extend(await self._store.batch(rollout.id, batch))
        return moved

    async def _members(self, rollout: str) -> AsyncIterator[Member]:
        after = ""
        while True:
            page = await self._store.members(rollout, after=after, limit=LARGEST_PAGE)
            for member in page.items:
                yield member
            if not page.more:
                return
            after = page.items[-1].host


def with_rollout(response: Callable[..., R]) -> Callable[[Rollout], R]:
    """Makes the response that carries a rollout."""
    return lambda rollout: response(rollout=rollout_message(rollout))
