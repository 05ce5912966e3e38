"""The short form of what watchers who leave, and watchers who stop reading, may cost."""

import pytest

from tests.faults.streams import measure


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_watchers_who_leave_or_stop_reading_cost_neither_memory_nor_the_others_their_time() -> (
    None
):
    found = await measure(short=True)
    assert found["streams_rss_growth_mib"] < 50, found
    assert found["stalled_watchers_p99_ms"] < 1000, found
