"""Sinks of the audit log: what takes records elsewhere, and how they say that they could not."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Protocol

from tendhost.server.domain.access.audit import AuditEntry
from tendhost.server.threads import DaemonThreads

PATIENCE = timedelta(seconds=30)
"""Time limit for one delivery; after it, the delivery counts as failed."""


class SinkFailed(Exception):
    """Records that did not arrive, or of which that is not known. Never names a URL or a secret."""


class AuditSink(Protocol):
    """A place outside the server to which records are sent."""

    async def deliver(self, entries: Sequence[AuditEntry], former: str) -> None:
        """Send records, which follow each other; `former` is the hash of the one before the first.

        Returns once they have arrived as far as the receiver says. Raises SinkFailed: then all of them are sent
        again.
        """
        ...


async def run_within(threads: DaemonThreads, work: Callable[[], None], patience: timedelta) -> None:
    """Run `work` in a thread. Raises SinkFailed where it raises OSError or takes longer than `patience`."""
    seconds = patience.total_seconds()
    try:
        async with asyncio.timeout(seconds):
            await threads.run(work)
    except TimeoutError:
        raise SinkFailed(f"no answer within {seconds:g} s") from None
    except (OSError, UnicodeError) as error:
        # A UnicodeError is of a host name that no name server could know.
        raise SinkFailed(getattr(error, "strerror", "") or type(error).__name__) from error
