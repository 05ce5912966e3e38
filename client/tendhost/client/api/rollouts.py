"""Calls about rollouts: plan, start, find, control and watch them."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from tendhost.client.convert import reports as convert_reports
from tendhost.client.convert import rollouts as convert_rollouts
from tendhost.client.models.reports import RolloutReport
from tendhost.client.models.rollouts import (
    PlannedHost,
    Rollout,
    RolloutHost,
    RolloutPlan,
    RolloutSpec,
    RolloutUpdate,
    RolloutWave,
)
from tendhost.client.transport import Connected, new_request_id
from tendhost.v1 import rollout_service_pb2 as pb
from tendhost.v1.rollout_service_pb2_grpc import RolloutServiceStub

HOSTS_PAGE = 500


class RolloutCalls(Connected):
    """Updates of many hosts."""

    @property
    def _rollouts(self) -> RolloutServiceStub:
        return RolloutServiceStub(self._transport.calls)

    async def plan_rollout(self, spec: RolloutSpec | None = None) -> RolloutPlan:
        """What a rollout would do, without touching a host. Start it with its id."""
        asked = convert_rollouts.spec_message(spec or RolloutSpec())
        request = pb.PlanRolloutRequest(spec=asked, page_size=1)
        response = await self._transport.call(self._rollouts.PlanRollout, request)
        return convert_rollouts.plan(response.plan)

    async def planned_hosts(
        self, plan_id: str, *, page_size: int = HOSTS_PAGE
    ) -> AsyncGenerator[PlannedHost, None]:
        """The hosts of a plan, in order, then those that are left out; by page, when it is needed."""
        request = pb.PlanRolloutRequest(plan_id=plan_id, page_size=page_size)
        async for page in self._transport.pages(self._rollouts.PlanRollout, request):
            for host in page.hosts:
                yield convert_rollouts.planned_host(host)

    async def start_rollout(self, spec: RolloutSpec | None = None, *, plan_id: str = "") -> Rollout:
        """Begin a rollout: of what `spec` asks, or of a plan, if the fleet is still as it was then."""
        request = pb.StartRolloutRequest(plan_id=plan_id, request_id=new_request_id())
        if not plan_id:
            request.spec.CopyFrom(convert_rollouts.spec_message(spec or RolloutSpec()))
        response = await self._transport.call(self._rollouts.StartRollout, request)
        return convert_rollouts.rollout(response.rollout)

    async def get_rollout(self, id: str) -> Rollout:
        """One rollout."""
        request = pb.GetRolloutRequest(id=id, page_size=1)
        response = await self._transport.call(self._rollouts.GetRollout, request)
        return convert_rollouts.rollout(response.rollout)

    async def rollout_hosts(
        self, id: str, *, page_size: int = HOSTS_PAGE
    ) -> AsyncGenerator[RolloutHost, None]:
        """The hosts of a rollout, by batch and name; a page is fetched when it is needed."""
        request = pb.GetRolloutRequest(id=id, page_size=page_size)
        async for page in self._transport.pages(self._rollouts.GetRollout, request):
            for host in page.hosts:
                yield convert_rollouts.rollout_host(host)

    async def rollouts(self, *, page_size: int = 50) -> AsyncGenerator[Rollout, None]:
        """Rollouts, newest first; a page is fetched when it is needed."""
        request = pb.ListRolloutsRequest(page_size=page_size)
        async for page in self._transport.pages(self._rollouts.ListRollouts, request):
            for rollout in page.rollouts:
                yield convert_rollouts.rollout(rollout)

    async def pause_rollout(self, id: str) -> Rollout:
        """Start nothing new; what runs goes on."""
        request = pb.PauseRolloutRequest(id=id, request_id=new_request_id())
        response = await self._transport.call(self._rollouts.PauseRollout, request)
        return convert_rollouts.rollout(response.rollout)

    async def resume_rollout(self, id: str, *, max_failures: str = "") -> Rollout:
        """Go on with a rollout that is paused or halted; with another budget, if one is given."""
        request = pb.ResumeRolloutRequest(
            id=id, max_failures=max_failures, request_id=new_request_id()
        )
        response = await self._transport.call(self._rollouts.ResumeRollout, request)
        return convert_rollouts.rollout(response.rollout)

    async def cancel_rollout(self, id: str) -> Rollout:
        """Start nothing new any more; what runs goes on to its end."""
        request = pb.CancelRolloutRequest(id=id, request_id=new_request_id())
        response = await self._transport.call(self._rollouts.CancelRollout, request)
        return convert_rollouts.rollout(response.rollout)

    async def approve_wave(self, id: str, wave: int) -> Rollout:
        """Let the wave of this number, from 1, begin."""
        request = pb.ApproveWaveRequest(id=id, wave=wave, request_id=new_request_id())
        response = await self._transport.call(self._rollouts.ApproveWave, request)
        return convert_rollouts.rollout(response.rollout)

    async def skip_rollout_host(self, id: str, host: str) -> Rollout:
        """Leave out a host that has not begun."""
        request = pb.SkipRolloutHostRequest(id=id, host=host, request_id=new_request_id())
        response = await self._transport.call(self._rollouts.SkipRolloutHost, request)
        return convert_rollouts.rollout(response.rollout)

    async def retry_rollout(self, id: str) -> Rollout:
        """Try the failed hosts again: in the same rollout, or, where it has ended, in a new one."""
        request = pb.RetryRolloutRequest(id=id, request_id=new_request_id())
        response = await self._transport.call(self._rollouts.RetryRollout, request)
        return convert_rollouts.rollout(response.rollout)

    async def rollout_report(self, id: str) -> RolloutReport:
        """What came of a rollout, or has come of it so far."""
        request = pb.GetRolloutReportRequest(id=id)
        return convert_reports.report(
            await self._transport.call(self._rollouts.GetRolloutReport, request)
        )

    async def watch_rollout(self, id: str) -> AsyncGenerator[RolloutUpdate, None]:
        """The rollout whenever it has changed, until it has ended.

        The first update has all of its hosts and waves, and so has the first one after a reconnection,
        which happens by itself. What an update holds is as of one revision.
        """
        ended = False
        stream = self._transport.messages(
            RolloutServiceStub(self._transport.watches).WatchRollout,
            lambda: pb.WatchRolloutRequest(id=id),
            complete=lambda: ended,
        )
        hosts: dict[str, RolloutHost] = {}
        waves: dict[int, RolloutWave] = {}
        async with aclosing(stream):
            async for message in stream:
                hosts.update((m.host, convert_rollouts.rollout_host(m)) for m in message.hosts)
                waves.update((m.number, convert_rollouts.wave(m)) for m in message.waves)
                if message.more:
                    continue
                rollout = convert_rollouts.rollout(message.rollout)
                ended = rollout.ended
                update = RolloutUpdate(
                    rollout=rollout, hosts=tuple(hosts.values()), waves=tuple(waves.values())
                )
                hosts, waves = {}, {}
                yield update
