"""Every scenario by name, and how many batches of it a run of the suite has."""

from collections.abc import Mapping, Sequence

from tests.faults import floods, permission, scenarios, shortages, stampede, wrong_clock
from tests.faults.ground import AT_ONCE, Terrain
from tests.faults.scenarios import Scenario
from tests.tools import faketime_library

SCENARIOS: Mapping[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        Scenario(name="kill_server", batch=scenarios.kill_server),
        Scenario(name="link", batch=scenarios.link, terrain=Terrain(cable=True)),
        Scenario(name="reboot", batch=scenarios.reboot),
        Scenario(name="same_request", batch=scenarios.same_request),
        Scenario(name="disk_full", batch=shortages.disk_full),
        Scenario(
            name="server_disk_full",
            batch=shortages.server_disk_full,
            terrain=Terrain(state_size="12m"),
        ),
        Scenario(name="window_end", batch=permission.window_end),
        Scenario(name="prints_much", batch=floods.prints_much),
        Scenario(
            name="server_disk_full_printing",
            batch=floods.server_disk_full_printing,
            terrain=Terrain(state_size="192m"),
        ),
        Scenario(name="clock_jump", batch=shortages.clock_jump, terrain=Terrain(clock=True)),
        Scenario(name="stampede", batch=stampede.stampede, terrain=Terrain(places=stampede.PLACES)),
        Scenario(name="clock_ahead", batch=wrong_clock.clock_ahead, terrain=Terrain(clock=True)),
    )
}
SHARES: Mapping[str, float] = {"kill_server": 1, "link": 0.25, "reboot": 0.2}
"""Of the runs that are asked for; of each other scenario there are fewer."""
OTHERS = 0.04


def missing(name: str) -> str:
    """What this machine lacks for a scenario, if anything."""
    if SCENARIOS[name].terrain.clock and faketime_library() is None:
        return "libfaketime is not installed (Debian's package of that name)"
    return ""


def batches_of(only: str, runs: int) -> Mapping[str, Sequence[int]]:
    """The numbers of the batches for `runs` updates under a killed server; of one scenario, or all."""
    return {
        name: range(max(1, round(runs * SHARES.get(name, OTHERS) / AT_ONCE)))
        for name in SCENARIOS
        if only in ("", name)
    }
