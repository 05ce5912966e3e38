"""Rollouts over real hosts: halted by their budget, paused in a wave, and gone on with by another server."""

import asyncio

import pytest

from tendhost.v1 import host_service_pb2, rollout_pb2, rollout_service_pb2
from tests.e2e.daemon import Daemon, daemon
from tests.fleet import HostSpec

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(300)]

PENDING = rollout_pb2.ROLLOUT_HOST_STATUS_PENDING
IN_PROGRESS = rollout_pb2.ROLLOUT_HOST_STATUS_IN_PROGRESS
COMPLETED = rollout_pb2.ROLLOUT_HOST_STATUS_COMPLETED
FAILED = rollout_pb2.ROLLOUT_HOST_STATUS_FAILED
HALTED = rollout_pb2.ROLLOUT_STATUS_HALTED


def specs(*failing: str) -> list[HostSpec]:
    return [
        HostSpec(
            name=name,
            packages=("tb-simple", "tb-failing") if name in failing else ("tb-simple", "tb-slow"),
            failing_ok=False,
        )
        for name in ("a", "b", "c", "d", "e", "f")
    ]


async def registered(server: Daemon, fleet) -> None:
    for host in fleet.hosts:
        await server.register(host.name, host.address)


async def until(server: Daemon, id: str, *wanted: int) -> rollout_pb2.Rollout:
    """The rollout once its hosts, by name, have these statuses."""
    members: dict[str, int] = {}
    request = rollout_service_pb2.WatchRolloutRequest(id=id)
    async with asyncio.timeout(90):
        async for message in server.rollouts.WatchRollout(request):
            members.update((host.host, host.status) for host in message.hosts)
            if tuple(members[name] for name in sorted(members)) == wanted:
                return message.rollout
    raise AssertionError(f"it ended with {members}")


async def is_now(server: Daemon, id: str, status: int) -> rollout_pb2.Rollout:
    """The rollout once it has this status."""
    request = rollout_service_pb2.WatchRolloutRequest(id=id)
    async with asyncio.timeout(90):
        async for message in server.rollouts.WatchRollout(request):
            if message.rollout.status == status:
                return message.rollout
    raise AssertionError("it ended")


async def test_rollout_halts_as_the_example_of_the_contract_and_goes_on_once_its_hosts_are_mended(
    make_fleet, tmp_path
):
    fleet = make_fleet(*specs("b", "c"))
    async with daemon(tmp_path / "state", key=fleet.private_key) as server:
        await registered(server, fleet)
        begun = await server.rollout(
            waves=["1", "50%", "rest"], max_failures="1", delay_between_waves={"seconds": 0}
        )
        await until(server, begun.id, COMPLETED, FAILED, FAILED, COMPLETED, PENDING, PENDING)
        halted = await is_now(server, begun.id, HALTED)
        assert halted.halt.message == "2 failed, more than max_failures = 1: b, c" or (
            halted.halt.message == "2 failed, more than max_failures = 1: c, b"
        )
        assert [h.transactions() for h in fleet.hosts[4:]] == [[], []]
        explain = host_service_pb2.ExplainHostRequest
        failed = await server.hosts.ExplainHost(explain(name="b"))
        assert "it has been in failed since" in failed.update
        assert "cannot migrate database" in failed.update
        waits = await server.hosts.ExplainHost(explain(name="e"))
        assert "it is in wave 3, and wave 2 of 3 is on; the rollout has halted" in waits.update
        for name in "bc":
            fleet[name].run("touch /etc/tb-failing-ok", check=True)
        await server.rollouts.RetryRollout(rollout_service_pb2.RetryRolloutRequest(id=begun.id))
        ended, _ = await server.rollout_ended(begun.id)
    assert ended.status == rollout_pb2.ROLLOUT_STATUS_COMPLETED
    assert ended.progress.completed == 6
    for host in fleet.hosts:
        assert host.transactions().count("tb-simple 2.0-1") == 1


async def test_rollout_that_is_paused_when_its_server_is_killed_does_no_host_twice(
    make_fleet, tmp_path
):
    fleet = make_fleet(*specs())
    for name in "bcd":
        fleet[name].run("echo 5 >/etc/tb-slow-seconds", check=True)
    async with daemon(tmp_path / "state", key=fleet.private_key) as server:
        await registered(server, fleet)
        begun = await server.rollout(waves=["1", "50%", "rest"], delay_between_waves={"seconds": 0})
        await until(
            server, begun.id, COMPLETED, IN_PROGRESS, IN_PROGRESS, IN_PROGRESS, PENDING, PENDING
        )
        await server.rollouts.PauseRollout(rollout_service_pb2.PauseRolloutRequest(id=begun.id))
        server.process.kill()
        await server.process.wait()
    async with daemon(tmp_path / "state", key=fleet.private_key) as server:
        paused = await until(
            server, begun.id, COMPLETED, COMPLETED, COMPLETED, COMPLETED, PENDING, PENDING
        )
        assert paused.status == rollout_pb2.ROLLOUT_STATUS_PAUSED
        await server.rollouts.ResumeRollout(rollout_service_pb2.ResumeRolloutRequest(id=begun.id))
        ended, _ = await server.rollout_ended(begun.id)
    assert (ended.status, ended.progress.completed) == (rollout_pb2.ROLLOUT_STATUS_COMPLETED, 6)
    for host in fleet.hosts:
        assert host.transactions().count("tb-simple 2.0-1") == 1


async def test_wave_whose_host_falls_ill_while_it_settles_halts_and_goes_on_once_it_is_well(
    make_fleet, tmp_path
):
    fleet = make_fleet(*specs()[:2])
    async with daemon(tmp_path / "state", key=fleet.private_key) as server:
        await registered(server, fleet)
        # Failed before anything was changed: no fault of the update's.
        fleet["a"].run("systemd-run --wait --unit=tb-old false || true", check=True)
        begun = await server.rollout(
            waves=["1"], settle={"seconds": 20}, delay_between_waves={"seconds": 0}
        )
        await until(server, begun.id, COMPLETED, PENDING)
        fleet["a"].run("systemd-run --wait --unit=tb-broken false || true", check=True)
        halted = await is_now(server, begun.id, HALTED)
        assert halted.halt.cause == rollout_pb2.HALT_CAUSE_UNHEALTHY
        assert list(halted.halt.hosts) == ["a"]
        assert halted.halt.message == (
            "wave 1 did not stay healthy: a: failed units: tb-broken.service"
        )
        fleet["a"].run("systemctl reset-failed tb-broken", check=True)
        await server.rollouts.ResumeRollout(rollout_service_pb2.ResumeRolloutRequest(id=begun.id))
        ended, _ = await server.rollout_ended(begun.id)
        first = await server.rollouts.GetRollout(
            rollout_service_pb2.GetRolloutRequest(id=begun.id, page_size=1)
        )
    assert ended.progress.completed == 2
    assert first.waves[0].settled_at.ToDatetime() >= halted.halt.at.ToDatetime()
