"""Removes the folders of finished jobs from hosts."""

from datetime import timedelta

from tendhost.server.domain.host_errors import JobRefused, Superseded
from tendhost.server.domain.hosts.host import Host
from tendhost.server.domain.operations.operation import Operation
from tendhost.server.engine.connection import Session
from tendhost.server.failpoints import reached
from tendhost.server.remote import job as jobs
from tendhost.server.remote.job import Job


async def remove_finished_job(session: Session, host: Host, operation: Operation) -> None:
    """Remove what the operation's jobs left on the host, once the end of the last one is on record.

    Raises HostError where the host cannot be reached.
    """
    record = operation.job
    if record is not None and record.concluded:
        job = Job(
            host=host.name,
            operation=record.operation,
            kind=record.kind,
            number=record.number,
            epoch=operation.epoch,
            command="",
            limit=timedelta(),
        )
        await remove_job_folder(session, host, job)


async def remove_job_folder(session: Session, host: Host, job: Job) -> None:
    """Remove the folder of a job's operation. Raises as `remove_finished_job`."""
    try:
        await jobs.clean(await session.remote(host), job)
    except (JobRefused, Superseded):
        return  # a folder that stays harms nobody, and is removed with others after a month
    reached("job.cleaned")
