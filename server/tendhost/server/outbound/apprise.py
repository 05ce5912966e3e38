"""Notifications through Apprise: one message to each service of a target."""

import asyncio
import logging
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Protocol

from tendhost.server.domain.notifications.templates import Message
from tendhost.server.domain.request_errors import ConfigurationError
from tendhost.server.threads import DaemonThreads

THREADS = 4
"""Messages of one target that are sent at the same time."""
PATIENCE = timedelta(seconds=30)
"""Time limit for one message to one service; after it, the message counts as failed."""


class NotDelivered(Exception):
    """A message that did not reach everybody whom it was meant for. Never names a URL: they hold secrets."""


class NotificationSender(Protocol):
    """The way to the services of one target."""

    async def send(self, message: Message, reached: set[int]) -> None:
        """Have every service show `message`, but for those whose number is in `reached`.

        Adds the number of each that took it, so that a repetition spares those. Raises NotDelivered.
        """
        ...


class AppriseSender:
    """Services behind Apprise URLs, each sent to by itself.

    Raises ConfigurationError for URLs that Apprise cannot use, or where it is not installed.
    """

    def __init__(self, name: str, urls: Sequence[str], *, patience: timedelta = PATIENCE) -> None:
        self._services = _services(name, urls)
        self._threads = DaemonThreads(min(THREADS, len(urls)), name=f"notify-{name}")
        self._patience = patience

    async def send(self, message: Message, reached: set[int]) -> None:
        """See NotificationSender."""
        left = [number for number in range(len(self._services)) if number not in reached]
        problems = await asyncio.gather(*(self._sent(number, message) for number in left))
        reached.update(
            number for number, problem in zip(left, problems, strict=True) if not problem
        )
        told = [
            f"URL {number + 1} {problem}"
            for number, problem in zip(left, problems, strict=True)
            if problem
        ]
        if told:
            raise NotDelivered("; ".join(told))

    async def _sent(self, number: int, message: Message) -> str:
        """What went wrong; empty: nothing."""
        service = self._services[number]
        try:
            async with asyncio.timeout(self._patience.total_seconds()):
                return await self._threads.run(lambda: _notify(service, message))
        except TimeoutError:
            return f"did not take it within {self._patience.total_seconds():g} s"


def _services(name: str, urls: Sequence[str]) -> Sequence[Any]:
    field = f"notify {name!r}: urls"
    try:
        import apprise
    except ImportError as error:
        raise ConfigurationError(
            field=field,
            value="…",
            expected="the library Apprise to be installed: pip install 'tendhost[notify]'",
        ) from error
    _complaints.install()
    # Nothing is kept on disk and no plug-in is loaded from outside the library. Apprise uses threads of
    # its own, which the program's end would wait for, for several services at once and for time limits.
    asset = apprise.AppriseAsset(
        app_id="tendhost", app_desc="tendhost", async_mode=False, service_timeout=0
    )
    services = []
    for number, url in enumerate(urls, start=1):
        service = apprise.Apprise(asset=asset)
        if not service.add(url):
            raise ConfigurationError(
                field=field, value=f"number {number}", expected="a URL that Apprise understands"
            )
        services.append(service)
    return services


def _notify(service: Any, message: Message) -> str:
    """Send, in a thread of its own; what went wrong, empty: nothing."""
    with _complaints.heard() as said:
        try:
            sent = service.notify(
                body=message.body or message.title,
                title=message.title,
                notify_type=str(message.urgency),
                body_format="text",
            )
        except Exception as error:
            return f"failed with {type(error).__name__}"
    return "" if sent else _cause(said)


_STATUS = re.compile(r"error=(\d{3})")


def _cause(said: Sequence[str]) -> str:
    """What of Apprise's words can be told: they may hold any part of a URL, which is a secret."""
    for line in said:
        if found := _STATUS.search(line):
            return f"answered with status {found[1]}"
        if "connection error" in line.lower():
            return "could not be reached, or did not answer in time"
    return "did not take it"


class _Complaints(logging.Filter):
    """Keeps what Apprise says out of every log, tokens and all, and for each thread what is said there."""

    def __init__(self) -> None:
        super().__init__()
        self._said = threading.local()

    def install(self) -> None:
        logger = logging.getLogger("apprise")
        logger.propagate = False
        logger.addFilter(self)  # added twice it is there once

    def filter(self, record: logging.LogRecord) -> bool:
        lines = getattr(self._said, "lines", None)
        if lines is not None and record.levelno >= logging.WARNING:
            lines.append(record.getMessage())
        return False

    @contextmanager
    def heard(self) -> Iterator[Sequence[str]]:
        """What is said in this thread meanwhile."""
        lines: list[str] = []
        self._said.lines = lines
        try:
            yield lines
        finally:
            self._said.lines = None


_complaints = _Complaints()
