"""The whole way without root, against simulated hosts; what they answer is made up, the way is not."""

from pathlib import Path

import pytest

from tendhost.v1 import host_pb2, operation_pb2, rollout_pb2, rollout_service_pb2
from tests.e2e.daemon import daemon
from tests.simulated import SimulatedFleet
from tests.unit.remote.web_receiver import Receiver, receiving

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
        key.touch(mode=0o600)
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


def configured(folder: Path, receiver: Receiver) -> Path:
    """A configuration that tells `receiver` everything and runs a command before each wave."""
    file = folder / "tendhostd.toml"
    file.write_text(
        f"""
        [[notify]]
        name = "ops"
        urls = ["json://127.0.0.1:{receiver.port}/"]

        [[wave_hook]]
        name = "gate"
        when = "before_wave"
        command = ["/bin/sh", "-c", "echo $TENDHOST_KEY >>{folder}/ran; ! test -e {folder}/closed"]

        [[wave_hook]]
        name = "board"
        when = "after_wave"
        url = "http://127.0.0.1:{receiver.port}/board"
        """
    )
    return file


async def test_wave_hooks_hold_up_a_rollout_and_people_are_told_of_it(tmp_path):
    with SimulatedFleet({"web1": ("tb-simple",), "web2": ("tb-failing",)}) as fleet:
        key = tmp_path / "key"
        key.touch(mode=0o600)
        key.write_bytes(fleet.private_key)
        (tmp_path / "closed").touch()
        async with receiving() as receiver:
            file = configured(tmp_path, receiver)
            async with daemon(
                tmp_path / "state", key=key, options=("--config", str(file))
            ) as server:
                for host in fleet.hosts:
                    await server.register(host.name, host.address, port=host.port)
                begun = await server.rollout(waves=("1",), delay_between_waves={"seconds": 0})
                await receiver.received(2)
                assert receiver.titles == [
                    f"Rollout {begun.id} started",
                    f"Rollout {begun.id} halted",
                ]
                assert (
                    "wave hook 'gate' (before_wave) failed: exit status 1"
                    in (receiver.documents[1]["message"])
                )
                (tmp_path / "closed").unlink()
                resume = rollout_service_pb2.ResumeRolloutRequest(id=begun.id)
                await server.rollouts.ResumeRollout(resume)
                rollout, _ = await server.rollout_ended(begun.id)
                await receiver.received(7)
    assert (rollout.progress.completed, rollout.progress.failed) == (1, 1)
    first, second = f"{begun.id}/1/before_wave", f"{begun.id}/2/before_wave"
    assert (tmp_path / "ran").read_text().split() == [first, first, second]
    posted = [d["key"] for d in receiver.documents if "key" in d]
    assert posted == [f"{begun.id}/1/after_wave", f"{begun.id}/2/after_wave"]
    assert {d["title"] for d in receiver.documents[2:] if "title" in d} == {
        f"Rollout {begun.id}: wave 1 of 2 done",
        "web2 failed",
        f"Rollout {begun.id} completed",
    }
