"""The package transaction on a host, and the repair of one that was interrupted.

It runs over the connection: the detached job that outlives a lost link takes this module's place, with
the same functions. Until then a transaction whose end was not seen is INTERRUPTED or LINK_LOST, and is
never begun again by itself.
"""

from dataclasses import dataclass
from datetime import timedelta

from tendhost.server.domain.errors import PackageFailed
from tendhost.server.domain.events import UpdateProgress
from tendhost.server.engine.journal import Journal
from tendhost.server.engine.translate import upgrade_error
from tendhost.server.packages.apt import (
    UpgradeOptions,
    kept_conffiles,
    repair_command,
    upgrade_command,
)
from tendhost.server.packages.failures import diagnose
from tendhost.server.packages.progress import Progress, StatusParser
from tendhost.server.remote.protocol import Remote

REMEMBERED = 4 * 1024 * 1024
"""Bytes of output in which reasons and kept files are looked for; the log holds all of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """How a package transaction ended."""

    detail: str
    kept_conffiles: tuple[str, ...]
    error: PackageFailed | None


class _Follower:
    """Takes what a transaction prints: status lines on one stream, words for people on the other."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._parser = StatusParser()
        self._last: tuple[str, str] = ("", "")
        self._output = bytearray()

    def status(self, data: bytes) -> None:
        steps = [step for step in self._parser.feed(data) if self._is_news(step)]
        self._journal.progressed(
            [
                UpdateProgress(package=s.package, percent=s.percent, phase=str(s.phase))
                for s in steps
            ]
        )

    def words(self, data: bytes) -> None:
        self._journal.printed(data)
        self._output += data
        del self._output[:-REMEMBERED]

    @property
    def output(self) -> str:
        # apt runs dpkg on a terminal of its own, which ends lines with a carriage return as well.
        return self._output.decode("utf-8", "replace").replace("\r\n", "\n")

    def _is_news(self, step: Progress) -> bool:
        # Several lines tell of one package in one phase; the first is enough, but a download has
        # no package, so there the percents are the news.
        seen = (step.package or f"{step.percent:.0f}", str(step.phase))
        news, self._last = seen != self._last, seen
        return news


async def apply_upgrade(
    remote: Remote, host: str, options: UpgradeOptions, journal: Journal, *, timeout: timedelta
) -> Applied:
    """Upgrade the host's packages. Raises WorkError where the end was not seen."""
    follower = _Follower(journal)
    status = await remote.stream(
        upgrade_command(options),
        timeout=timeout,
        on_stdout=follower.status,
        on_stderr=follower.words,
        privileged=True,
    )
    output = follower.output
    error = upgrade_error(host, diagnose(status, output), status) if status else None
    kept = kept_conffiles(output)
    detail = "the package manager is done"
    if kept:
        detail += f"; kept as they were: {', '.join(kept)}"
    return Applied(detail=detail, kept_conffiles=kept, error=error)


async def repair(remote: Remote, host: str, journal: Journal, *, timeout: timedelta) -> str:
    """Finish what an interrupted package manager left; why it could not be finished, or nothing.

    Raises WorkError where the end was not seen.
    """
    follower = _Follower(journal)
    status = await remote.stream(
        repair_command(),
        timeout=timeout,
        on_stdout=follower.status,
        on_stderr=follower.words,
        privileged=True,
    )
    return diagnose(status, follower.output).reason if status else ""
