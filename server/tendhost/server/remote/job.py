"""The detached job: a command on a host that survives the connection and the server, and runs exactly once.

A job lives in a folder of its operation on the host, `/var/lib/tendhost/ops/<operation>/<name>`, which
only root may enter and which a reboot leaves alone:

    cmd     what is run, with sh                  log     what it printed for people (its stderr)
    input   what cmd finds there, if anything
    run     the wrapper that runs it              status  what it printed for programs (its stdout)
    keep    how much of log is wanted             boot    the boot in which it began
    claim/  made by the wrapper that began
    lock    flocked while it runs                 rc      its exit status, there once it has ended

`mkdir claim` is atomic, so of any number of wrappers one begins. The lock is inherited by all that the
command starts, so the kernel tells everybody when the last of it is gone: a claimed job without `rc`
whose lock is free has died. Beside the jobs stands `epoch`, the number of whoever may act on them.

To begin changes the host, so the command for it is only made here (`start_command`): the door gives it. To begin
takes two requests, on purpose: `attach` makes the operation's folder and raises the epoch,
the start command needs to find exactly that epoch. So a request that lay about in a broken link is without effect
when it arrives late, whether the job still runs, has been cleaned away, or belongs to somebody else.
"""

import math
import re
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from tendhost.server.domain.host_errors import JobRefused, LinkLost, Superseded
from tendhost.server.domain.operations.permission import ChangeKind, ChangingCommand
from tendhost.server.domain.shell_words import quoted
from tendhost.server.failpoints import reached
from tendhost.server.remote.job_scripts import (
    ATTACH,
    CLEAN,
    POLL,
    REPORT,
    START,
    WITHDRAW,
    WRAPPER,
)
from tendhost.server.remote.protocol import Completed, Remote

REQUEST_TIMEOUT = timedelta(seconds=60)
"""For one request about a job: a loaded single-board computer needs a few seconds for it."""
LARGEST_PART = 256 * 1024
"""Bytes of the log, and of the status, that one request brings at most."""
STATUS_TAIL = LARGEST_PART
"""Of a status that was not read for long, only so much of its end is: it tells of progress."""
UNRECORDED = "none"
"""What Superseded names where the host knows of no epoch at all."""
OVERDUE = 124
"""The exit status of a job that had to be ended, as that of timeout(1)."""


class JobState(StrEnum):
    """Where a job stands on its host."""

    ABSENT = "absent"
    PREPARED = "prepared"
    """Its folder is there, and no wrapper has begun it yet."""
    RUNNING = "running"
    ENDED = "ended"
    """Its exit status is known."""
    DEAD = "dead"
    """It began, is gone, and left no exit status: it was killed, or the host went down under it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogWindow:
    """How much of a job's log is wanted, in bytes of its beginning and of its end."""

    head: int = 8 * 1024 * 1024
    tail: int = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job as it is asked for. `operation` is a word of letters, digits and dashes."""

    host: str
    """The registered name, for messages."""
    operation: str
    """Whose folder it lives in."""
    kind: ChangeKind
    number: int
    """Which of the operation's jobs it is, counted from 1."""
    epoch: int
    command: str
    limit: timedelta
    """How long the command may run before it is ended, with SIGTERM and a minute later SIGKILL."""
    input: bytes = b""
    """What the command finds as the file `input` beside it: on its way there it stands in no list of
    processes, and no bound on the length of an argument holds for it."""
    log_window: LogWindow = LogWindow()
    """What lies between is passed over as soon as more than the end is there to be read. A job that has begun
    keeps what it was begun with."""

    @property
    def name(self) -> str:
        """The name of its folder: a word of letters, digits, underscores and dashes."""
        return f"{self.kind}-{self.number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """How far a job's output has been read, in bytes of its log and its status."""

    log: int = 0
    status: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class JobReport:
    """A job as it stood when it was asked about, and what it printed after a position."""

    state: JobState
    exit_status: int | None = None
    """Of an ENDED job; OVERDUE where it was ended for running too long."""
    same_boot: bool = True
    """Whether the host still runs the boot in which the job began."""
    log: bytes = b""
    log_at: int = 0
    """Where these bytes stand in the log: beyond the position where something was passed over."""
    status: bytes = b""
    status_at: int = 0
    more: bool = False
    """Whether there was more to read than one request brings."""


async def attach(remote: Remote, job: Job, position: Position) -> JobReport:
    """Take the job's operation over on its host, and see how the job stands.

    Raises Superseded (somebody with a higher epoch has), JobRefused, and what Remote.run raises.
    """
    return await _asked(remote, job, position, ATTACH)


def start_command(job: Job, position: Position) -> ChangingCommand:
    """The command that begins the job unless it has begun. It reads `job.input`, within REQUEST_TIMEOUT."""
    script = _request(
        job,
        position,
        START,
        command=job.command,
        wrapper=WRAPPER,
        limit=str(max(1, math.ceil(job.limit.total_seconds()))),
        input_size=str(len(job.input)),
    )
    return ChangingCommand(kind=job.kind, change_script=script, privileged=True)


def started(job: Job, completed: Completed) -> JobReport:
    """The job after its start command. Raises as `attach` does, and Superseded without an `attach`."""
    report = _answer(job, completed)
    reached("job.launched")
    return report


async def withdraw(remote: Remote, job: Job, position: Position) -> JobReport:
    """Make sure that a job which has not begun never will, whatever was ordered: it is ABSENT then.

    One that has begun is left alone, and reported as it stands. Raises as `attach` does.
    """
    return await _asked(remote, job, position, WITHDRAW)


async def poll(remote: Remote, job: Job, position: Position) -> JobReport:
    """See how the job stands; changes nothing on the host. Raises as `attach` does."""
    return await _asked(remote, job, position, POLL)


async def clean(remote: Remote, job: Job) -> None:
    """Remove the operation's folder with all its jobs, unless one of them still runs."""
    await _asked(remote, job, Position(), CLEAN)


async def _asked(remote: Remote, job: Job, position: Position, script: str) -> JobReport:
    request = _request(job, position, script)
    return _answer(job, await remote.run(request, timeout=REQUEST_TIMEOUT, privileged=True))


def _request(job: Job, position: Position, script: str, **further: str) -> str:
    values = {
        "operation": job.operation,
        "job": job.name,
        "epoch": str(job.epoch),
        "log_from": str(position.log),
        "status_from": str(position.status),
        "most": str(LARGEST_PART),
        "log_head": str(job.log_window.head),
        "log_tail": str(job.log_window.tail),
        "status_tail": str(STATUS_TAIL),
        **further,
    }
    words = (f"{name}={quoted(value)}" for name, value in values.items())
    return "\n".join((*words, REPORT, script))


def _answer(job: Job, done: Completed) -> JobReport:
    if done.exit_status >= 128:
        # Its shell was killed, on the way down for example: no answer.
        raise LinkLost(host=job.host, address=job.host, problem=f"exit {done.exit_status}")
    if done.exit_status != 0:
        said = " ".join(done.stderr.decode("utf-8", "replace").split())[:500]
        raise JobRefused(host=job.host, problem=said or f"exit status {done.exit_status}")
    return _report(job, done.stdout)


_HEAD = re.compile(
    rb"tendhost-job (?:stale (?P<epoch>\d{1,18}|none)|(?P<absent>absent)"
    rb"|(?P<state>prepared|running|ended|dead) (?P<rc>\d{1,3}|-) (?P<boot>same|other)"
    rb" (?P<log_at>\d{1,18}) (?P<log>\d{1,9}) (?P<status_at>\d{1,18}) (?P<status>\d{1,9})"
    rb" (?P<more>more|all))\n"
)


def _report(job: Job, output: bytes) -> JobReport:
    head = _HEAD.match(output)
    if head is None:
        line = output[:200].decode("utf-8", "replace")
        raise JobRefused(host=job.host, problem=f"unexpected answer: {line!r}")
    if head["epoch"]:
        raise Superseded(host=job.host, epoch=job.epoch, recorded=head["epoch"].decode())
    if head["absent"]:
        return JobReport(state=JobState.ABSENT)
    state = JobState(head["state"].decode())
    log_size, status_size = int(head["log"]), int(head["status"])
    rest = output[head.end() :]
    if len(rest) != log_size + status_size or (state is JobState.ENDED) != (head["rc"] != b"-"):
        problem = f"the answer is cut off after {len(rest)} of {log_size + status_size} bytes"
        raise JobRefused(host=job.host, problem=problem)
    return JobReport(
        state=state,
        exit_status=int(head["rc"]) if state is JobState.ENDED else None,
        same_boot=head["boot"] == b"same",
        log=rest[:log_size],
        log_at=int(head["log_at"]),
        status=rest[log_size:],
        status_at=int(head["status_at"]),
        more=head["more"] == b"more",
    )
