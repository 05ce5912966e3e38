"""Calls about schedules: create, find, change, pause and delete them."""

from collections.abc import AsyncGenerator
from datetime import datetime, timedelta

from google.protobuf.field_mask_pb2 import FieldMask

from tendhost.client.convert import schedules as convert_schedules
from tendhost.client.models.rollouts import RolloutSpec
from tendhost.client.models.schedules import MissedRuns, Schedule, ScheduleSpec
from tendhost.client.transport import Connected, new_request_id
from tendhost.v1 import schedule_service_pb2 as pb
from tendhost.v1.schedule_service_pb2_grpc import ScheduleServiceStub


class ScheduleCalls(Connected):
    """Schedules, which start rollouts by calendar."""

    @property
    def _schedules(self) -> ScheduleServiceStub:
        return ScheduleServiceStub(self._transport.calls)

    async def create_schedule(self, spec: ScheduleSpec) -> Schedule:
        """Create a schedule. Raises AlreadyExists, InvalidRequest (also if it has no future run)."""
        request = pb.CreateScheduleRequest(
            spec=convert_schedules.spec_message(spec), request_id=new_request_id()
        )
        response = await self._transport.call(self._schedules.CreateSchedule, request)
        return convert_schedules.schedule(response.schedule)

    async def get_schedule(self, name: str) -> Schedule:
        """One schedule."""
        request = pb.GetScheduleRequest(name=name)
        response = await self._transport.call(self._schedules.GetSchedule, request)
        return convert_schedules.schedule(response.schedule)

    async def schedules(self, *, page_size: int = 50) -> AsyncGenerator[Schedule, None]:
        """Schedules, sorted by name; pages are loaded when needed."""
        request = pb.ListSchedulesRequest(page_size=page_size)
        async for page in self._transport.pages(self._schedules.ListSchedules, request):
            for schedule in page.schedules:
                yield convert_schedules.schedule(schedule)

    async def update_schedule(
        self,
        name: str,
        *,
        cron: str | None = None,
        rrule: str | None = None,
        time_zone: str | None = None,
        starts_at: datetime | None = None,
        offset_days: int | None = None,
        missed: MissedRuns | None = None,
        grace: timedelta | None = None,
        rollout: RolloutSpec | None = None,
        etag: str = "",
    ) -> Schedule:
        """Change the given fields of a schedule; a rollout that it has started continues unchanged.

        A `cron` takes the place of an rrule, and the other way round. With `etag`, that of the schedule as it
        was read, nothing is changed where it was changed since: raises EtagMismatch.
        """
        given = {
            "cron": cron,
            "rrule": rrule,
            "time_zone": time_zone,
            "starts_at": starts_at,
            "offset_days": offset_days,
            "missed": missed,
            "grace": grace,
            "rollout": rollout,
        }
        changed = {field: value for field, value in given.items() if value is not None}
        request = pb.UpdateScheduleRequest(
            name=name,
            spec=convert_schedules.spec_message(ScheduleSpec(name=name, **changed)),  # type: ignore[arg-type]
            update_mask=FieldMask(paths=changed),
            etag=etag,
            request_id=new_request_id(),
        )
        response = await self._transport.call(self._schedules.UpdateSchedule, request)
        return convert_schedules.schedule(response.schedule)

    async def pause_schedule(self, name: str, *, etag: str = "") -> Schedule:
        """Pause a schedule: no further run starts, a started rollout continues."""
        request = pb.PauseScheduleRequest(name=name, etag=etag, request_id=new_request_id())
        response = await self._transport.call(self._schedules.PauseSchedule, request)
        return convert_schedules.schedule(response.schedule)

    async def resume_schedule(self, name: str, *, etag: str = "") -> Schedule:
        """Resume a schedule; runs that were due during the pause do not start."""
        request = pb.ResumeScheduleRequest(name=name, etag=etag, request_id=new_request_id())
        response = await self._transport.call(self._schedules.ResumeSchedule, request)
        return convert_schedules.schedule(response.schedule)

    async def delete_schedule(self, name: str, *, etag: str = "") -> None:
        """Delete a schedule; its rollouts remain."""
        request = pb.DeleteScheduleRequest(name=name, etag=etag, request_id=new_request_id())
        await self._transport.call(self._schedules.DeleteSchedule, request)
