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
    """Rollouts, which update many hosts in waves."""

    @property
    def _rollouts(self) -> RolloutServiceStub:
        return RolloutServiceStub(self._transport.calls)

    async def plan_rollout(self, spec: RolloutSpec | None = None) -> RolloutPlan:
        """Plan a rollout without a change to any host. Start the plan with its id."""
        asked = convert_rollouts.spec_message(spec or RolloutSpec())
        request = pb.PlanRolloutRequest(spec=asked, page_size=1)
        response = await self._transport.call(self._rollouts.PlanRollout, request)
        return convert_rollouts.plan(response.plan)

    async def planned_hosts(
        self, plan_id: str, *, page_size: int = HOSTS_PAGE
    ) -> AsyncGenerator[PlannedHost, None]:
        """The hosts of a plan in the order of their updates, then excluded hosts; pages are loaded when needed."""
        request = pb.PlanRolloutRequest(plan_id=plan_id, page_size=page_size)
        async for page in self._transport.pages(self._rollouts.PlanRollout, request):
            for host in page.hosts:
                yield convert_rollouts.planned_host(host)

    async def start_rollout(self, spec: RolloutSpec | None = None, *, plan_id: str = "") -> Rollout:
        """Start a rollout as defined by `spec`, or from a plan if the fleet has not changed since."""
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
        """The hosts of a rollout in the order of their updates; pages are loaded when needed."""
        request = pb.GetRolloutRequest(id=id, page_size=page_size)
        async for page in self._transport.pages(self._rollouts.GetRollout, request):
            for host in page.hosts:
                yield convert_rollouts.rollout_host(host)

    async def rollouts(self, *, page_size: int = 50) -> AsyncGenerator[Rollout, None]:
        """Rollouts, newest first; pages are loaded when needed."""
        request = pb.ListRolloutsRequest(page_size=page_size)
        async for page in self._transport.pages(self._rollouts.ListRollouts, request):
            for rollout in page.rollouts:
                yield convert_rollouts.rollout(rollout)

    async def pause_rollout(self, id: str) -> Rollout:
        """Pause a rollout: no further host starts, running operations continue."""
        request = pb.PauseRolloutRequest(id=id, request_id=new_request_id())
        response = await self._transport.call(self._rollouts.PauseRollout, request)
        return convert_rollouts.rollout(response.rollout)

    async def resume_rollout(
        self, id: str, *, max_failures: str = "", ignore_reboots_left: bool = False
    ) -> Rollout:
        """Resume a paused or halted rollout, with a new failure budget if one is given.

        `ignore_reboots_left` ends the rollout's `require_rebooted`.
        """
        request = pb.ResumeRolloutRequest(
            id=id,
            max_failures=max_failures,
            ignore_reboots_left=ignore_reboots_left,
            request_id=new_request_id(),
        )
        response = await self._transport.call(self._rollouts.ResumeRollout, request)
        return convert_rollouts.rollout(response.rollout)

    async def cancel_rollout(self, id: str) -> Rollout:
        """Cancel a rollout: no further host starts, running operations continue to their end."""
        request = pb.CancelRolloutRequest(id=id, request_id=new_request_id())
        response = await self._transport.call(self._rollouts.CancelRollout, request)
        return convert_rollouts.rollout(response.rollout)

    async def approve_wave(self, id: str, wave: int) -> Rollout:
        """Approve the wave with this number, from 1."""
        request = pb.ApproveWaveRequest(id=id, wave=wave, request_id=new_request_id())
        response = await self._transport.call(self._rollouts.ApproveWave, request)
        return convert_rollouts.rollout(response.rollout)

    async def skip_rollout_host(self, id: str, host: str) -> Rollout:
        """Skip a host that has not started."""
        request = pb.SkipRolloutHostRequest(id=id, host=host, request_id=new_request_id())
        response = await self._transport.call(self._rollouts.SkipRolloutHost, request)
        return convert_rollouts.rollout(response.rollout)

    async def retry_rollout(self, id: str) -> Rollout:
        """Retry the failed hosts: in the same rollout, or in a new one if it has ended.

        Hosts that were skipped because these had to succeed before them start after them.
        """
        request = pb.RetryRolloutRequest(id=id, request_id=new_request_id())
        response = await self._transport.call(self._rollouts.RetryRollout, request)
        return convert_rollouts.rollout(response.rollout)

    async def rollout_report(self, id: str) -> RolloutReport:
        """Report on a rollout, complete or so far."""
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
