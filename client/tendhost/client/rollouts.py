"""Rollouts: begin, find, steer and watch updates of many hosts."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from datetime import timedelta

from google.protobuf.duration_pb2 import Duration

from tendhost.client import convert
from tendhost.client.transport import Connected, new_request_id
from tendhost.client.values import Rollout, RolloutHost, RolloutUpdate, UpdateScope
from tendhost.v1 import rollout_pb2
from tendhost.v1 import rollout_service_pb2 as pb
from tendhost.v1.rollout_service_pb2_grpc import RolloutServiceStub

HOSTS_PAGE = 500


class RolloutCalls(Connected):
    """Updates of many hosts."""

    @property
    def _rollouts(self) -> RolloutServiceStub:
        return RolloutServiceStub(self._transport.calls)

    async def start_rollout(
        self,
        *,
        tags: Sequence[str] = (),
        groups: Sequence[str] = (),
        exclude_hosts: Sequence[str] = (),
        batch_size: int = 2,
        delay: timedelta = timedelta(seconds=30),
        dry_run: bool = False,
        scope: UpdateScope | None = None,
    ) -> Rollout:
        """Begin to update every host that has all `tags` and is in one of `groups`, in batches.

        `delay` runs from the end of a batch to the beginning of the next one. `scope` None is what each
        host's policy says.
        """
        pause = Duration()
        pause.FromTimedelta(delay)
        spec = rollout_pb2.RolloutSpec(
            batch_size=batch_size,
            delay_between_batches=pause,
            filter=rollout_pb2.RolloutFilter(tags=tags, groups=groups, exclude_hosts=exclude_hosts),
            dry_run=dry_run,
            scope=convert.scope_message(scope) if scope is not None else None,
        )
        request = pb.StartRolloutRequest(spec=spec, request_id=new_request_id())
        response = await self._transport.call(self._rollouts.StartRollout, request)
        return convert.rollout(response.rollout)

    async def get_rollout(self, id: str) -> Rollout:
        """One rollout."""
        request = pb.GetRolloutRequest(id=id, page_size=1)
        response = await self._transport.call(self._rollouts.GetRollout, request)
        return convert.rollout(response.rollout)

    async def rollout_hosts(
        self, id: str, *, page_size: int = HOSTS_PAGE
    ) -> AsyncGenerator[RolloutHost, None]:
        """The hosts of a rollout, by batch and name; a page is fetched when it is needed."""
        request = pb.GetRolloutRequest(id=id, page_size=page_size)
        async for page in self._transport.pages(self._rollouts.GetRollout, request):
            for host in page.hosts:
                yield convert.rollout_host(host)

    async def rollouts(self, *, page_size: int = 50) -> AsyncGenerator[Rollout, None]:
        """Rollouts, newest first; a page is fetched when it is needed."""
        request = pb.ListRolloutsRequest(page_size=page_size)
        async for page in self._transport.pages(self._rollouts.ListRollouts, request):
            for rollout in page.rollouts:
                yield convert.rollout(rollout)

    async def pause_rollout(self, id: str) -> Rollout:
        """Start nothing new; what runs goes on."""
        request = pb.PauseRolloutRequest(id=id, request_id=new_request_id())
        response = await self._transport.call(self._rollouts.PauseRollout, request)
        return convert.rollout(response.rollout)

    async def resume_rollout(self, id: str) -> Rollout:
        """Go on with a paused rollout."""
        request = pb.ResumeRolloutRequest(id=id, request_id=new_request_id())
        response = await self._transport.call(self._rollouts.ResumeRollout, request)
        return convert.rollout(response.rollout)

    async def cancel_rollout(self, id: str) -> Rollout:
        """Start nothing new any more; what runs goes on to its end."""
        request = pb.CancelRolloutRequest(id=id, request_id=new_request_id())
        response = await self._transport.call(self._rollouts.CancelRollout, request)
        return convert.rollout(response.rollout)

    async def watch_rollout(self, id: str) -> AsyncGenerator[RolloutUpdate, None]:
        """The rollout whenever it has changed, until it has ended.

        The first update has all of its hosts, and so has the first one after a reconnection, which
        happens by itself.
        """
        ended = False
        stream = self._transport.messages(
            RolloutServiceStub(self._transport.watches).WatchRollout,
            lambda: pb.WatchRolloutRequest(id=id),
            complete=lambda: ended,
        )
        async with aclosing(stream):
            async for message in stream:
                rollout = convert.rollout(message.rollout)
                ended = rollout.ended
                hosts = tuple(convert.rollout_host(host) for host in message.hosts)
                yield RolloutUpdate(rollout=rollout, hosts=hosts)
