"""The detached jobs of a fake host: what the scripts of remote/job.py do, in memory."""

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tendhost.server.remote.job_scripts import ATTACH, CLEAN, POLL, START, WITHDRAW
from tendhost.server.remote.protocol import Completed
from tests.unit.engine.fake_command import Command, Hold

if TYPE_CHECKING:
    from tests.unit.engine.fake_host import FakeHost


@dataclass(kw_only=True)
class FakeJob:
    """A job on a fake host. One that is held runs until it is let go, whoever watches."""

    kind: Command
    boot: int
    hold: Hold | None
    killed: bool = False
    said: str = ""
    told: str = ""
    ended: tuple[int, str, str] | None = None


def job_kind_of(command: str) -> Command:
    """What a job's command is for; fails for one that no fake host knows."""
    signs = {
        "APT::Status-Fd=3": Command.UPGRADE,
        "--configure -a": Command.REPAIR,
        "$here/hook": Command.HOOK,
    }
    return next(kind for sign, kind in signs.items() if sign in command)


class FakeJobs:
    """Every job of one host."""

    def __init__(self, host: "FakeHost") -> None:
        self._host = host
        self.epochs: dict[str, int] = {}
        """The operations that have a folder on the host."""
        self.jobs: dict[tuple[str, str], FakeJob] = {}
        self.transferred = 0
        """Bytes of output that were asked for."""
        self.refuses = ""
        """Why the host cannot keep a job, if it cannot."""
        self.never_begins = False
        self.stalls = False
        """What is ordered to start is prepared, and its wrapper never runs."""
        self.prepared: set[tuple[str, str]] = set()
        self.lose_start = False
        """The link is lost under the next order to start, before it arrives."""
        self.forget_after_attach = False
        """A power cut takes the folder that was made last, once."""

    def kill(self) -> None:
        """Kill what runs."""
        for job in self.jobs.values():
            job.killed = True

    def release(self) -> None:
        """Let what is held go on."""
        for job in self.jobs.values():
            if job.hold is not None:
                job.hold.released.set()

    def say(self, words: str) -> None:
        """Have what runs print this before anything else."""
        for job in self.jobs.values():
            job.said = words

    def tell(self, lines: str) -> None:
        """Have what runs tell these lines of status before anything else."""
        for job in self.jobs.values():
            job.told = lines

    def answer(self, command: str) -> tuple[Completed, Command | None]:
        """The answer to a request, and what it began."""
        head = command.partition("\nops=")[0]
        values = dict(word.split("=", 1) for word in shlex.split(head))
        operation, epoch = values["operation"], int(values["epoch"])
        if self.refuses:
            return Completed(exit_status=1, stdout=b"", stderr=self.refuses.encode()), None
        recorded = self.epochs.get(operation, -1)
        if recorded > epoch or (command.endswith(START) and recorded != epoch):
            return _said(f"tendhost-job stale {recorded if recorded >= 0 else 'none'}\n"), None
        key, began = (operation, values["job"]), None
        if command.endswith(ATTACH):
            self.epochs[operation] = epoch
            if self.forget_after_attach:
                self.forget_after_attach = False
                del self.epochs[operation]
        elif command.endswith(CLEAN):
            return self._cleaned(operation), None
        elif command.endswith(WITHDRAW):
            if key not in self.jobs:
                self.prepared.discard(key)
                self.epochs.pop(operation, None)
        elif command.endswith(START) and key not in self.jobs and self.stalls:
            self.prepared.add(key)
        elif command.endswith(START) and key not in self.jobs and not self.never_begins:
            self.prepared.discard(key)
            began = self._begin(key, command)
        else:
            assert command.endswith((POLL, START)), "a request that is none"
        return _said(self._report(key, values)), began

    def _begin(self, key: tuple[str, str], command: str) -> Command:
        kind = job_kind_of(command)
        self._host.ran.append(kind)
        hold = self._host.holds.pop(kind, None)
        if hold is not None:
            hold.reached.set()
        self.jobs[key] = FakeJob(kind=kind, boot=self._host.boot, hold=hold)
        self._go_on(self.jobs[key])
        return kind

    def _go_on(self, job: FakeJob) -> None:
        dead = job.killed or job.boot != self._host.boot
        if job.ended is None and not dead and (job.hold is None or job.hold.released.is_set()):
            host = self._host
            does = {
                Command.UPGRADE: host.upgrade,
                Command.REPAIR: host.repair,
                Command.HOOK: host.hook,
            }
            job.ended = does[job.kind]()

    def _report(self, key: tuple[str, str], values: dict[str, str]) -> bytes:
        job = self.jobs.get(key)
        if job is None and key in self.prepared:
            return b"tendhost-job prepared - same 0 0 0 0 all\n"
        if job is None:
            return b"tendhost-job absent\n"
        self._go_on(job)
        here = "same" if job.boot == self._host.boot else "other"
        if job.ended is None:
            dead = job.killed or here == "other"
            state, words, lines = "dead -" if dead else "running -", job.said, job.told
        else:
            status, lines, words = job.ended
            state, lines, words = f"ended {status}", job.told + lines, job.said + words
        most, from_ = int(values["most"]), (int(values["log_from"]), int(values["status_from"]))
        keep = (int(values["log_head"]), int(values["log_tail"])), (0, int(values["status_tail"]))
        parts, sizes, more = b"", "", "all"
        for text, begin, (head, tail) in zip((words, lines), from_, keep, strict=True):
            whole = text.encode()
            at = max(begin, len(whole) - tail) if begin >= head else begin
            part = whole[at : at + most]
            more = "more" if len(whole) > at + most else more
            sizes += f" {at} {len(part)}"
            parts += part
            self.transferred += len(part)
        return f"tendhost-job {state} {here}{sizes} {more}\n".encode() + parts

    def _cleaned(self, operation: str) -> Completed:
        mine = [key for key in self.jobs if key[0] == operation]
        if any(not self._over(self.jobs[key]) for key in mine):
            return Completed(exit_status=1, stdout=b"", stderr=b"it still runs")
        for key in mine:
            del self.jobs[key]
        self.epochs.pop(operation, None)
        return _said("tendhost-job absent\n")

    def _over(self, job: FakeJob) -> bool:
        return job.ended is not None or job.killed or job.boot != self._host.boot


def _said(text: str | bytes) -> Completed:
    answer = text.encode() if isinstance(text, str) else text
    return Completed(exit_status=0, stdout=answer, stderr=b"")
