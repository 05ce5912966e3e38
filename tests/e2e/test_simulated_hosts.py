"""The whole way without root, against simulated hosts; what they answer is made up, the way is not."""

import pytest

from tendhost.v1 import host_pb2, operation_pb2, rollout_pb2
from tests.e2e.daemon import daemon
from tests.simulated import SimulatedFleet

pytestmark = pytest.mark.simulated

PACKAGES = {
    "web1": ("tb-simple", "tb-secure", "tb-held"),
    "web2": ("tb-simple", "tb-failing"),
    "web3": ("tb-simple", "tb-kernel"),
    "web4": ("tb-simple",),
}
SUCCEEDED = operation_pb2.OPERATION_STATUS_SUCCEEDED


async def test_rollout_upgrades_reboots_and_survives_a_bad_host(tmp_path):
    with SimulatedFleet(PACKAGES) as fleet:
        key = tmp_path / "key"
        key.write_bytes(fleet.private_key)
        async with daemon(tmp_path / "state", key=key) as server:
            for host in fleet.hosts:
                await server.register(host.name, host.address, port=host.port, tags=["web"])
            begun = await server.rollout(waves=("2",), delay_between_waves={"seconds": 0})
            rollout, members = await server.rollout_ended(begun.id)
            held = await server.inventory("web1")
            fleet["web2"].mend()
            mended = await server.retry("web2")
        for host in fleet.hosts:
            assert host.version_of("tb-simple") == "2.0-1"
            assert host.transactions().count("tb-simple 2.0-1") == 1
        assert [host.boot_count for host in fleet.hosts] == [1, 1, 2, 1]
    assert rollout.status == rollout_pb2.ROLLOUT_STATUS_COMPLETED
    assert (rollout.progress.completed, rollout.progress.failed) == (3, 1)
    assert "cannot migrate database" in members["web2"].detail
    assert [p.withheld for p in held.pending_updates] == [host_pb2.WITHHELD_HELD]
    assert mended.status == SUCCEEDED, mended
