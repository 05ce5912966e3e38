"""Runs a job on a host to its end, through lost links, restarts of the server, and silence."""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

from tendhost.server.clock import Clock
from tendhost.server.domain.events import HostConnected, HostDisconnected
from tendhost.server.domain.host_errors import (
    HostCertificateRefused,
    HostError,
    HostGone,
    HostKeyChanged,
    Interrupted,
    JobRefused,
    KeyUnusable,
    NotPermitted,
    PrivilegeMissing,
    ShellUnusable,
    Superseded,
    Timeout,
)
from tendhost.server.domain.hosts.host import Host
from tendhost.server.domain.operations.backoff import Backoff
from tendhost.server.domain.operations.operation import JobRecord, Operation
from tendhost.server.domain.operations.past_steps import unfinished_job
from tendhost.server.domain.operations.permission import ChangeKind, Permission
from tendhost.server.engine.connection import Session
from tendhost.server.engine.jobs.door import Door
from tendhost.server.engine.jobs.output import REMEMBERED, JobOutputReader
from tendhost.server.engine.jobs.reporter import StepReporter
from tendhost.server.failpoints import reached
from tendhost.server.packages.progress import ProgressSource, TransactionProgress
from tendhost.server.remote import job as jobs
from tendhost.server.remote.job import (
    OVERDUE,
    UNRECORDED,
    Job,
    JobReport,
    JobState,
    LogWindow,
    Position,
)
from tendhost.server.remote.protocol import Remote
from tendhost.server.store.protocols.operations import LogStore

SHORTEST_PAUSE = timedelta(milliseconds=250)
NEWS_PAUSE = timedelta(milliseconds=500)
LONGEST_PAUSE = timedelta(seconds=2)
"""Between two polls of a job: short at first and while it prints."""
BEGINNING = timedelta(minutes=5)
"""For a job that was started to begin: a disk that stalls may take its time."""
START_AGAIN = timedelta(seconds=15)
"""After so long, a start that had no effect is repeated: it may have been lost."""
STOPPING = timedelta(minutes=10)
"""Beyond its limit, for a job that its host is to end; then it is not followed any more."""
RECONNECTING = Backoff(
    first=timedelta(seconds=1), longest=timedelta(seconds=30), attempts=1_000_000
)
_FINAL = (HostCertificateRefused, HostKeyChanged, KeyUnusable, NotPermitted, Superseded)
"""Errors that a further attempt does not change."""
_REFUSED = (JobRefused, PrivilegeMissing, ShellUnusable)
"""Errors that are final where the job has not begun. One that runs is waited for: the host may be half updated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedJob:
    """A job that has come to its end by itself, and the end of what it printed."""

    exit_status: int
    output: str
    job: Job
    errors: tuple[TransactionProgress, ...] = ()
    """Those in its progress; none that a server before this one read."""
    overdue: bool = False
    """Whether its host had to end it, for it took longer than its limit."""


class JobRunner:
    """Runs one job of an operation on its host; goes on with the one that is under way, if any."""

    def __init__(
        self,
        *,
        store: LogStore,
        clock: Clock,
        session: Session,
        host: Host,
        reporter: StepReporter,
        door: Door,
        permission: Permission,
        gone_timeout: timedelta,
    ) -> None:
        """`permission` is asked for at the door each time that the job is to begin. A host that has been silent
        for `gone_timeout` is not waited for any more."""
        self._store = store
        self._clock = clock
        self._session = session
        self._host = host
        self._reporter = reporter
        self._door = door
        self._permission = permission
        self._gone_timeout = gone_timeout
        self._never_seen = False
        """Whether the host has never been seen to know of the job."""
        self._away = False
        self._first_start: timedelta | None = None
        self._last_start: timedelta | None = None
        self._start_sent = False
        """Whether this server has sent an order to start the job, of which nobody knows how far it got."""

    async def run(
        self,
        kind: ChangeKind,
        command: str,
        *,
        input: bytes,
        limit: timedelta,
        progress: ProgressSource,
    ) -> FinishedJob:
        """See StepContext.run_job."""
        operation = self._reporter.operation
        if unfinished_job(operation, kind) is None:
            self._never_seen = True
            operation = await self._reporter.begin_job(kind)
            reached("job.recorded")
        record = operation.job
        assert record is not None, "a job is on record before it begins"
        printed = await self._printed_before(operation, record)
        log_limit = self._reporter.log_limit
        self._job = Job(
            host=self._host.name,
            operation=record.operation,
            kind=kind,
            number=record.number,
            epoch=operation.epoch,
            command=command,
            limit=limit,
            input=input,
            log_window=LogWindow(
                head=max(0, log_limit.head - record.log_start), tail=log_limit.tail
            ),
        )
        self._output = JobOutputReader(record, printed, progress)
        self._last_answer = self._since = self._clock.elapsed()
        return await self._follow()

    async def _printed_before(self, operation: Operation, record: JobRecord) -> bytes:
        """The end of what a job is known to have printed."""
        end = record.log_start + record.log_read
        offset, found = max(record.log_start, end - REMEMBERED), bytearray()
        while offset < end:
            part = await self._store.log(operation.id, offset=offset, limit=end - offset)
            if not part.data:
                break
            found += part.data
            offset = part.offset + len(part.data)
        return bytes(found)

    async def _follow(self) -> FinishedJob:
        report = await self._asked(jobs.attach)
        reached("job.prepared")
        pause = SHORTEST_PAUSE
        while True:
            news = self._take(report)
            if report.state is JobState.ENDED and not report.more:
                reached("job.ended")
                self._conclude()
                return self._ended(report)
            if report.state is JobState.DEAD and not report.more:
                self._conclude()
                raise self._interrupted(report)
            await self._reporter.wait_for_room()
            if report.more and not self._floods(report):
                report = await self._asked(jobs.poll)
                continue
            if report.state in (JobState.ABSENT, JobState.PREPARED):
                report = await self._start(report.state)
                continue
            if self._clock.elapsed() - self._since > self._job.limit + STOPPING:
                # Its end was not seen, so a retry goes on with it.
                seconds = self._job.limit.total_seconds()
                raise Timeout(host=self._job.host, what=self._job.name, seconds=seconds)
            pause = NEWS_PAUSE if news else min(pause * 2, LONGEST_PAUSE)
            await self._clock.sleep(pause)
            report = await self._asked(jobs.poll)
            reached("job.polled")

    async def _start(self, state: JobState) -> JobReport:
        """Start the job, which has not begun as far as is known; the report after that."""
        now = self._clock.elapsed()
        first = self._first_start = self._first_start or now
        if now - first > BEGINNING:
            raise JobRefused(host=self._job.host, problem="the host does not start it")
        if self._last_start is not None and now - self._last_start < START_AGAIN:
            await self._clock.sleep(NEWS_PAUSE)
            return await self._asked(jobs.poll)
        self._last_start = now
        try:
            return await self._asked(self._send_start)
        except NotPermitted as refusal:
            return await self._withdrawn(state, refusal)
        except Superseded as error:
            if error.recorded != UNRECORDED:
                raise
            # The folder was lost in a power failure. Nothing had begun: the claim is on disk before the command.
            self._last_start = None
            await self._clock.sleep(NEWS_PAUSE)
            return await self._asked(jobs.attach)

    async def _send_start(self, remote: Remote, job: Job, position: Position) -> JobReport:
        self._door.require(self._permission)
        self._start_sent = True
        completed = await self._door.give(
            remote,
            jobs.start_command(job, position),
            self._permission,
            timeout=jobs.REQUEST_TIMEOUT,
            input=job.input,
        )
        return jobs.started(job, completed)

    async def _withdrawn(self, state: JobState, refusal: NotPermitted) -> JobReport:
        """The report of a job that may not start any more; raises `refusal` unless it runs.

        A start that was sent before may have arrived and not shown yet, so the job is withdrawn first.
        """
        if self._start_sent or state is JobState.PREPARED:
            report = await self._asked(jobs.withdraw)
            if report.state is not JobState.ABSENT:
                return report
        self._conclude()
        raise refusal

    def _floods(self, report: JobReport) -> bool:
        """Whether the job runs and has printed more than is kept of its beginning: then it is not read as
        fast as it prints, for most of that would be left out again."""
        return (
            report.state is JobState.RUNNING
            and self._output.position.log >= self._job.log_window.head
        )

    def _take(self, report: JobReport) -> bool:
        """Add the output in the report; whether there is any."""
        begun = self._output.record.begun or self._output.position != Position()
        if report.state in (JobState.ABSENT, JobState.PREPARED):
            if not begun:
                return False
            # Its folder was removed, or the host was set back to a former state of its disk.
            self._conclude()
            cause = "the host has no record of it any more"
            raise Interrupted(host=self._job.host, step=self._job.name, cause=cause)
        self._never_seen = False
        if not begun:
            self._reporter.add_output(self._output.begin())
        if not report.log and not report.status:
            return False
        output, progress = self._output.read(report)
        self._reporter.add_output(self._output.record, output=output, progress=progress)
        return True

    def _conclude(self) -> None:
        self._reporter.add_output(self._output.conclude())

    def _ended(self, report: JobReport) -> FinishedJob:
        status = report.exit_status
        assert status is not None, "an ended job has an exit status"
        return FinishedJob(
            exit_status=status,
            output=self._output.text,
            job=self._job,
            errors=self._output.errors,
            overdue=status == OVERDUE,
        )

    def _interrupted(self, report: JobReport) -> Interrupted:
        cause = "it was killed" if report.same_boot else "the host went down while it ran"
        return Interrupted(host=self._job.host, step=self._job.name, cause=cause)

    async def _asked(
        self, ask: Callable[[Remote, Job, Position], Awaitable[JobReport]]
    ) -> JobReport:
        """The answer of the host, however long it takes to reach it, up to `gone_timeout`."""
        attempt = 0
        while True:
            try:
                remote = await self._session.remote(self._host)
                report = await ask(remote, self._job, self._output.position)
            except _FINAL:
                raise
            except HostError as error:
                if isinstance(error, _REFUSED) and self._never_seen:
                    raise
                await self._session.close()
                self._report_disconnected(error)
                silent = self._clock.elapsed() - self._last_answer
                if silent >= self._gone_timeout:
                    raise self._gone(error, silent) from error
                attempt += 1
                pause = RECONNECTING.pause(attempt, random.random())  # noqa: S311 (no secret)
                assert pause is not None
                await self._clock.sleep(pause)
            else:
                self._report_connected()
                return report

    def _report_disconnected(self, error: HostError) -> None:
        if not self._away:
            self._away = True
            self._reporter.add_event(HostDisconnected(reason=str(error)))

    def _report_connected(self) -> None:
        self._last_answer = self._clock.elapsed()
        if self._away:
            self._away = False
            self._reporter.add_event(HostConnected())

    def _gone(self, error: HostError, silent: timedelta) -> HostGone:
        seconds = round(silent.total_seconds())
        return HostGone(
            host=self._job.host, step=self._job.name, seconds=seconds, problem=str(error)
        )
