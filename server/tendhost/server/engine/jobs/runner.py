"""Carries out a job on a host to its end, through lost links, restarts of the server, and silence."""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta

from tendhost.server.clock import Clock
from tendhost.server.domain.events import HostConnected, HostDisconnected
from tendhost.server.domain.host_errors import (
    HostError,
    HostGone,
    HostKeyChanged,
    Interrupted,
    JobRefused,
    KeyUnusable,
    NotPermitted,
    Superseded,
    Timeout,
)
from tendhost.server.domain.hosts.host import Host
from tendhost.server.domain.operations.backoff import Backoff
from tendhost.server.domain.operations.log_limit import left_out_line
from tendhost.server.domain.operations.operation import JobProgress, JobRecord, Operation
from tendhost.server.domain.operations.permission import ChangeKind, ChangingCommand, Permission
from tendhost.server.engine.connection import Session
from tendhost.server.engine.jobs.door import Door
from tendhost.server.engine.jobs.reporter import JobOutput, StepReporter
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
from tendhost.server.remote.protocol import Completed, Remote
from tendhost.server.store.protocol import Store

REMEMBERED = 1024 * 1024
"""Bytes of output in which reasons and kept files are looked for: what 3,000 packages print. Each job that
is followed holds so much in memory; the log holds more of it."""
LONGEST_NAME = 1000
"""Of what progress names, in characters: a path is shorter, and a longer name is none."""
SHORTEST_PAUSE = timedelta(milliseconds=250)
NEWS_PAUSE = timedelta(milliseconds=500)
LONGEST_PAUSE = timedelta(seconds=2)
"""Between two looks at a job: short at first and while it has something to say."""
BEGINNING = timedelta(minutes=5)
"""For a job that was started to begin: a disk that stalls may take its time."""
START_AGAIN = timedelta(seconds=15)
"""After so long, a start that had no effect is repeated: it may have been lost."""
STOPPING = timedelta(minutes=10)
"""Beyond its limit, for a job that its host is to end; then it is not followed any more."""
RECONNECTING = Backoff(
    first=timedelta(seconds=1), longest=timedelta(seconds=30), attempts=1_000_000
)
_FINAL = (HostKeyChanged, KeyUnusable, NotPermitted, Superseded)
"""What does not pass while one waits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedJob:
    """A job that has come to its end by itself, and the last it said."""

    exit_status: int
    output: str
    job: Job
    overdue: bool = False
    """Whether its host had to end it, for it took longer than its limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobContext:
    """What jobs are carried out with."""

    store: Store
    clock: Clock
    session: Session
    host: Host
    journal: StepReporter
    gone_timeout: timedelta
    """How long the host may be silent before it is given up."""
    door: Door
    permission: Permission
    """What is asked for at the door each time that a job is to begin."""


async def run_job(
    following: JobContext,
    operation: Operation,
    kind: ChangeKind,
    command: str,
    *,
    limit: timedelta,
    progress: ProgressSource,
) -> FinishedJob:
    """Run `command` on the host as a job of `kind`; go on with the one that is under way, if any.

    Its progress is what `progress` makes of what it prints.

    Raises NotPermitted (it has not begun, and never will), Interrupted (it was killed, or the host went
    down under it), Timeout (it took longer than `limit`), HostGone, JobRefused,
    HostKeyChanged, KeyUnusable, Superseded.
    """
    ended = await run_job_until_end(
        following, operation, kind, command, limit=limit, progress=progress
    )
    if ended.overdue:
        what, seconds = ended.job.name, limit.total_seconds()
        raise Timeout(host=following.host.name, what=what, seconds=seconds)
    return ended


async def run_job_until_end(
    following: JobContext,
    operation: Operation,
    kind: ChangeKind,
    command: str,
    *,
    input: bytes = b"",
    limit: timedelta,
    progress: ProgressSource,
) -> FinishedJob:
    """As `carry_out`, for one that may be overdue; `input` is what the command finds beside it.

    Raises Timeout only where the host did not end it either.
    """
    fresh = unfinished_job(operation, kind) is None
    if fresh:
        operation = await following.journal.begin_job(kind)
        reached("job.recorded")
    record = operation.job
    assert record is not None, "a job is on record before it begins"
    said = await _said(following.store, operation, record)
    log_limit = following.journal.log_limit
    log_window = LogWindow(head=max(0, log_limit.head - record.log_start), tail=log_limit.tail)
    job = replace(
        _job(following.host, operation, record, command, limit), input=input, log_window=log_window
    )
    return await _JobRunner(following, job, record, said, progress, fresh=fresh).to_the_end()


async def _said(store: Store, operation: Operation, record: JobRecord) -> bytes:
    """The end of what a job is known to have printed."""
    end = record.log_start + record.log_read
    offset, found = max(record.log_start, end - REMEMBERED), bytearray()
    while offset < end:
        part = await store.log(operation.id, offset=offset, limit=end - offset)
        if not part.data:
            break
        found += part.data
        offset = part.offset + len(part.data)
    return bytes(found)


def unfinished_job(operation: Operation, kind: ChangeKind) -> JobRecord | None:
    """The operation's job of `kind` whose end is not on record, if there is one."""
    record = operation.job
    if record is None or record.concluded or record.kind is not kind:
        return None
    return record


async def remove_finished_job(session: Session, host: Host, operation: Operation) -> None:
    """Remove what the operation's jobs left on the host, once the end of the last is on record.

    Raises HostError where the host cannot be asked.
    """
    record = operation.job
    if record is not None and record.concluded:
        await remove_job_folder(session, host, _job(host, operation, record))


async def remove_job_folder(session: Session, host: Host, job: Job) -> None:
    """Remove the folder of a job's operation. Raises as `tidy`."""
    try:
        await jobs.clean(await session.remote(host), job)
    except (JobRefused, Superseded):
        return  # a leftover harms nobody, and goes with the others after a month
    reached("job.cleaned")


def _job(
    host: Host,
    operation: Operation,
    record: JobRecord,
    command: str = "",
    limit: timedelta = timedelta(),
) -> Job:
    return Job(
        host=host.name,
        operation=record.operation,
        kind=record.kind,
        number=record.number,
        epoch=operation.epoch,
        command=command,
        limit=limit,
    )


class _JobRunner:
    """One job, followed from wherever it stands."""

    def __init__(
        self,
        following: JobContext,
        job: Job,
        record: JobRecord,
        said: bytes,
        progress: ProgressSource,
        *,
        fresh: bool,
    ) -> None:
        self._with = following
        self._job = job
        self._record = record
        self._never_seen = fresh
        self._output = bytearray(said)
        self._progress_source = progress
        self._parser = progress.progress_parser()
        self._progress_in_log = progress.progress_in_log
        self._last_step = ("", "")
        self._position = Position(log=record.log_read, status=record.status_read)
        self._heard = following.clock.elapsed()
        self._away = False
        self._since = following.clock.elapsed()
        self._first_start: timedelta | None = None
        self._last_start: timedelta | None = None
        self._ordered = False
        """Whether this server has sent an order to start it, of which nobody knows how far it got."""

    async def to_the_end(self) -> FinishedJob:
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
            await self._with.journal.room()
            if report.more and not self._floods(report):
                report = await self._asked(jobs.poll)
                continue
            if report.state in (JobState.ABSENT, JobState.PREPARED):
                report = await self._begun(report.state)
                continue
            if self._with.clock.elapsed() - self._since > self._job.limit + STOPPING:
                # Its end was not seen, so whoever retries goes back to it.
                seconds = self._job.limit.total_seconds()
                raise Timeout(host=self._job.host, what=self._job.name, seconds=seconds)
            pause = NEWS_PAUSE if news else min(pause * 2, LONGEST_PAUSE)
            await self._with.clock.sleep(pause)
            report = await self._asked(jobs.poll)
            reached("job.polled")

    async def _begun(self, state: JobState) -> JobReport:
        """Have a job begin that has not, as far as is known, and see how it stands then."""
        now = self._with.clock.elapsed()
        first = self._first_start = self._first_start or now
        if now - first > BEGINNING:
            raise JobRefused(host=self._job.host, problem="the host does not start it")
        if self._last_start is not None and now - self._last_start < START_AGAIN:
            await self._with.clock.sleep(NEWS_PAUSE)
            return await self._asked(jobs.poll)
        self._last_start = now
        try:
            return await self._asked(self._start)
        except NotPermitted as refusal:
            return await self._withdrawn(state, refusal)
        except Superseded as error:
            if error.recorded != UNRECORDED:
                raise
            # The folder went with a power cut. Nothing had begun: what begins is on the disk first.
            self._last_start = None
            await self._with.clock.sleep(NEWS_PAUSE)
            return await self._asked(jobs.attach)

    async def _start(self, remote: Remote, job: Job, position: Position) -> JobReport:
        async def give(command: ChangingCommand, timeout: timedelta, input: bytes) -> Completed:
            door, permission = self._with.door, self._with.permission
            door.require(permission)
            self._ordered = True
            return await door.give(remote, command, permission, timeout=timeout, input=input)

        return await jobs.start(give, job, position)

    async def _withdrawn(self, state: JobState, refusal: NotPermitted) -> JobReport:
        """The job as it stands where it may not be begun any more; raises `refusal` unless it runs.

        An order that was given before may have arrived and not shown yet, so it is taken back first.
        """
        if self._ordered or state is JobState.PREPARED:
            report = await self._asked(jobs.withdraw)
            if report.state is not JobState.ABSENT:
                return report
        self._conclude()
        raise refusal

    def _floods(self, report: JobReport) -> bool:
        """Whether the job runs and has printed more than is kept of its beginning: then it is not read as
        fast as it prints, for most of that would be left out again."""
        return report.state is JobState.RUNNING and self._position.log >= self._job.log_window.head

    def _take(self, report: JobReport) -> bool:
        """Note what the report brings; whether it brings anything."""
        if report.state is JobState.ABSENT and self._position != Position():
            self._conclude()
            cause = "the host has no record of it any more"
            raise Interrupted(host=self._job.host, step=self._job.name, cause=cause)
        if report.state not in (JobState.ABSENT, JobState.PREPARED):
            self._never_seen = False
        if not report.log and not report.status:
            return False
        log_skipped = max(0, report.log_at - self._position.log)
        status_skipped = max(0, report.status_at - self._position.status)
        if log_skipped if self._progress_in_log else status_skipped:
            self._parser = (
                self._progress_source.progress_parser()
            )  # what it held has no end any more
        self._position = Position(
            log=self._position.log + log_skipped + len(report.log),
            status=self._position.status + status_skipped + len(report.status),
        )
        if log_skipped:
            self._output += left_out_line(log_skipped)
        self._output += report.log
        del self._output[:-REMEMBERED]
        told = report.log if self._progress_in_log else report.status
        steps = [step for step in self._parser.feed(told) if self._is_news(step)]
        # The log is stored as it comes; a status line is read again until it is complete.
        held = 0 if self._progress_in_log else self._parser.held
        self._record = replace(
            self._record, log_read=self._position.log, status_read=self._position.status - held
        )
        progress = [
            JobProgress(package=s.package[:LONGEST_NAME], percent=s.percent, phase=str(s.phase))
            for s in steps
        ]
        output = JobOutput(data=report.log, skipped=log_skipped)
        self._with.journal.followed(self._record, output=output, progress=progress)
        return True

    def _conclude(self) -> None:
        self._record = replace(self._record, concluded=True)
        self._with.journal.followed(self._record)

    def _is_news(self, step: TransactionProgress) -> bool:
        # Several lines tell of one package in one phase; the first is enough, but a download has
        # no package, so there the percents are the news.
        seen = (step.package or f"{step.percent:.0f}", str(step.phase))
        news, self._last_step = seen != self._last_step, seen
        return news

    def _ended(self, report: JobReport) -> FinishedJob:
        status = report.exit_status
        assert status is not None, "an ended job has an exit status"
        output = self._output.decode("utf-8", "replace").replace("\r\n", "\n")
        overdue = status == OVERDUE
        return FinishedJob(exit_status=status, output=output, job=self._job, overdue=overdue)

    def _interrupted(self, report: JobReport) -> Interrupted:
        cause = "it was killed" if report.same_boot else "the host went down while it ran"
        return Interrupted(host=self._job.host, step=self._job.name, cause=cause)

    async def _asked(
        self, ask: Callable[[Remote, Job, Position], Awaitable[JobReport]]
    ) -> JobReport:
        """What the host answers, however long it takes to reach it, within the bound."""
        clock, attempt = self._with.clock, 0
        while True:
            try:
                remote = await self._with.session.remote(self._with.host)
                report = await ask(remote, self._job, self._position)
            except _FINAL:
                raise
            except HostError as error:
                if isinstance(error, JobRefused) and self._never_seen:
                    raise
                await self._with.session.close()
                self._told_away(error)
                silent = clock.elapsed() - self._heard
                if silent >= self._with.gone_timeout:
                    raise self._gone(error, silent) from error
                attempt += 1
                pause = RECONNECTING.pause(attempt, random.random())  # noqa: S311 (no secret)
                assert pause is not None
                await clock.sleep(pause)
            else:
                self._told_back()
                return report

    def _told_away(self, error: HostError) -> None:
        if not self._away:
            self._away = True
            self._with.journal.told(HostDisconnected(reason=str(error)))

    def _told_back(self) -> None:
        self._heard = self._with.clock.elapsed()
        if self._away:
            self._away = False
            self._with.journal.told(HostConnected())

    def _gone(self, error: HostError, silent: timedelta) -> HostGone:
        seconds = round(silent.total_seconds())
        return HostGone(
            host=self._job.host, step=self._job.name, seconds=seconds, problem=str(error)
        )
