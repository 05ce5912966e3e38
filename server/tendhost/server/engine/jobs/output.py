"""Reads what a job prints: its log, and the progress that stands in its log or its status."""

from collections.abc import Sequence
from dataclasses import replace

from tendhost.server.domain.operations.log_limit import left_out_line
from tendhost.server.domain.operations.operation import JobProgress, JobRecord
from tendhost.server.engine.jobs.reporter import JobOutput
from tendhost.server.packages.progress import Phase, ProgressSource, TransactionProgress
from tendhost.server.packages.terminal import plain_text
from tendhost.server.remote.job import JobReport, Position

REMEMBERED = 1024 * 1024
"""Bytes of output in which reasons and kept files are looked for: what 3,000 packages print. Each job that
is followed holds so much in memory; the log holds more of it."""
MOST_ERRORS = 1000
"""Errors on the status channel that are remembered, from the first on."""
LONGEST_NAME = 1000
"""Of what progress names, in characters: a path is shorter, and a longer name is none."""


class JobOutputReader:
    """The output of one job, read in parts from where its record says."""

    def __init__(self, record: JobRecord, printed: bytes, progress: ProgressSource) -> None:
        """`printed`: the end of what the job is known to have printed before."""
        self.record = record
        """The job with how far its output is read."""
        self.position = Position(log=record.log_read, status=record.status_read)
        self._printed = bytearray(printed)
        self._progress = progress
        self._parser = progress.progress_parser()
        self._last_step = ("", "")
        self._errors: list[TransactionProgress] = []

    @property
    def text(self) -> str:
        """The last REMEMBERED bytes of the log."""
        return plain_text(self._printed).replace("\r\n", "\n")

    @property
    def errors(self) -> tuple[TransactionProgress, ...]:
        """The errors among the progress, as far as this server has read it: not what one before it read."""
        return tuple(self._errors)

    def begin(self) -> JobRecord:
        """The record of the job, which was seen to have begun."""
        self.record = replace(self.record, begun=True)
        return self.record

    def conclude(self) -> JobRecord:
        """The record of the job, whose end was seen."""
        self.record = replace(self.record, concluded=True)
        return self.record

    def read(self, report: JobReport) -> tuple[JobOutput, Sequence[JobProgress]]:
        """Read the output that `report` brings; what is to be stored of it."""
        log_skipped = max(0, report.log_at - self.position.log)
        status_skipped = max(0, report.status_at - self.position.status)
        in_log = self._progress.progress_in_log
        if log_skipped if in_log else status_skipped:
            # The line that the parser holds has no end any more.
            self._parser = self._progress.progress_parser()
        self.position = Position(
            log=self.position.log + log_skipped + len(report.log),
            status=self.position.status + status_skipped + len(report.status),
        )
        if log_skipped:
            self._printed += left_out_line(log_skipped)
        self._printed += report.log
        del self._printed[:-REMEMBERED]
        steps = self._parser.feed(report.log if in_log else report.status)
        self._errors += [step for step in steps if step.phase is Phase.ERROR]
        del self._errors[MOST_ERRORS:]
        # The log is stored as it comes; a status line is read again until it is complete.
        held = 0 if in_log else self._parser.held
        self.record = replace(
            self.record, log_read=self.position.log, status_read=self.position.status - held
        )
        progress = [
            JobProgress(package=s.package[:LONGEST_NAME], percent=s.percent, phase=str(s.phase))
            for s in steps
            if self._is_new(s)
        ]
        return JobOutput(data=report.log, skipped=log_skipped), progress

    def _is_new(self, step: TransactionProgress) -> bool:
        # Several lines are about one package in one phase; the first is enough, but a download has
        # no package, so there the percents are new.
        seen = (step.package or f"{step.percent:.0f}", str(step.phase))
        is_new, self._last_step = seen != self._last_step, seen
        return is_new
