"""The fault suite in its short form: each scenario once, the killed server three times."""

import pytest

from tests.faults.catalogue import SCENARIOS, missing
from tests.faults.suite import carry_out

pytestmark = [pytest.mark.fleet, pytest.mark.slow, pytest.mark.timeout(600)]

SEED = 1
# The killed server: at an instant, and as a job begins and as it ends.
BATCHES = {"kill_server": (1, 8, 24)}


@pytest.mark.parametrize("name", SCENARIOS)
async def test_updates_get_to_their_end_exactly_once_under_faults(name: str) -> None:
    if why_not := missing(name):
        pytest.skip(why_not)
    said: list[str] = []
    tally = await carry_out(SCENARIOS[name], BATCHES.get(name, (0,)), SEED, said.append)
    assert not tally.counts.total(), "\n".join(said)
    assert tally.struck, "no fault came while an operation was under way"
    assert tally.revisions
