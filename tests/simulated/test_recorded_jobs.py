"""Recorded hosts answer requests about jobs as the server understands them."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from tendhost.server.domain.host_errors import Superseded
from tendhost.server.domain.operations.permission import ChangeKind, ChangingCommand
from tendhost.server.remote import job as jobs
from tendhost.server.remote.job import Job, JobState, Position
from tendhost.server.remote.protocol import Completed, Remote
from tests.simulated.recorded import RecordedJobs

pytestmark = pytest.mark.simulated

JOB = Job(
    host="web1",
    operation="op",
    kind=ChangeKind.APPLY,
    number=1,
    epoch=2,
    command="true",
    limit=timedelta(minutes=1),
)


class Asked(Remote):
    """A way to recorded jobs without SSH."""

    def __init__(self, recorded: RecordedJobs) -> None:
        self._recorded = recorded

    async def run(
        self,
        command: str,
        *,
        timeout: timedelta,
        privileged: bool = False,
        input: bytes = b"",
        limit: int = 0,
    ) -> Completed:
        return self.answer(command)

    def answer(self, script: str) -> Completed:
        answer = self._recorded.answer(script)
        return Completed(exit_status=0, stdout=answer.encode(), stderr=b"")

    async def close(self) -> None: ...


def start(remote: Asked, job: Job) -> jobs.JobReport:
    command: ChangingCommand = jobs.start_command(job, Position())
    return jobs.started(job, remote.answer(command.change_script))


def test_recorded_job__is_followed_from_its_start_to_its_end() -> None:
    recorded = RecordedJobs()
    remote = Asked(recorded)

    async def ask() -> list[JobState]:
        states = [(await jobs.attach(remote, JOB, Position())).state]
        states.append(start(remote, JOB).state)
        states.append((await jobs.poll(remote, JOB, Position())).state)
        recorded.end()
        ended = await jobs.poll(remote, JOB, Position())
        assert (ended.exit_status, ended.log, ended.more) == (0, b"", False)
        return [*states, ended.state]

    assert asyncio.run(ask()) == [
        JobState.ABSENT,
        JobState.RUNNING,
        JobState.RUNNING,
        JobState.ENDED,
    ]
    assert recorded.attached == 1


def test_recorded_job__refuses_an_older_epoch() -> None:
    remote = Asked(RecordedJobs())

    async def ask() -> None:
        await jobs.attach(remote, JOB, Position())
        await jobs.poll(remote, replace(JOB, epoch=1), Position())

    with pytest.raises(Superseded):
        asyncio.run(ask())
