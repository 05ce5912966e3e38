"""How long history is kept, and the loop that drops what is older."""

import logging
from dataclasses import dataclass
from datetime import timedelta

from tendhost.server.clock import Clock
from tendhost.server.domain.errors import StoreUnavailable
from tendhost.server.store.protocol import Store

logger = logging.getLogger(__name__)

INTERVAL = timedelta(hours=1)
REQUESTS_KEPT = timedelta(hours=24)
"""How long a request that is sent again gets the answer that it got before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """What is kept. What is unfinished is kept whatever its age."""

    history: timedelta = timedelta(days=90)
    """Ended operations and rollouts, logs and events that are older go."""
    events: int = 1_000_000
    """Of all events at most the newest so many stay."""


async def prune_forever(*, store: Store, clock: Clock, retention: Retention) -> None:
    """Prune at once and then every INTERVAL, until cancelled."""
    while True:
        try:
            now = clock.now()
            dropped = await store.prune(
                before=now - retention.history,
                requests_before=now - REQUESTS_KEPT,
                keep_events=retention.events,
            )
        except StoreUnavailable as error:
            logger.warning("history was not pruned", extra={"cause": error.cause})
        else:
            if dropped:
                logger.info("history was pruned", extra={"rows": dropped})
        await clock.sleep(INTERVAL)
