"""StartReboot with only_if_required: a fresh look decides, unknown reboots nothing, the answer says which."""

import pytest

from tendhost.server.domain.rollouts.budgets import FLEET
from tendhost.v1 import operation_pb2 as pb
from tendhost.v1.host_pb2 import HOST_STATE_WAITING_REBOOT, MaintenanceWindow, Policy
from tests.rpc.api import Api
from tests.unit.engine.fake_command import Command
from tests.unit.engine.fake_host import FakeHost

STEPS = ["CONNECT", "PREFLIGHT", "LIST"]


def reboot_need(fake: FakeHost, needed: bool | None) -> None:
    fake.reboot_required = bool(needed)
    fake.reboot_unreadable = needed is None


def steps(operation: pb.Operation) -> list[str]:
    return [pb.StepName.Name(step.name).removeprefix("STEP_NAME_") for step in operation.steps]


@pytest.mark.parametrize(
    ("needed", "outcome", "rest"),
    [
        (True, pb.REBOOT_OUTCOME_REBOOTED, ["REBOOT", "VERIFY"]),
        (False, pb.REBOOT_OUTCOME_NOT_NEEDED, []),
        (None, pb.REBOOT_OUTCOME_UNKNOWN, []),
    ],
)
async def test_reboot__is_done_only_where_a_fresh_look_finds_it_needed(
    api: Api, needed: bool | None, outcome: int, rest: list[str]
):
    fake = await api.register("web1")
    reboot_need(fake, not needed)
    await api.run("StartQuery")
    reboot_need(fake, needed)  # what is stored is not what decides
    operation = await api.run("StartReboot", only_if_required=True)
    assert operation.status == pb.OPERATION_STATUS_SUCCEEDED
    assert (operation.reboot_outcome, steps(operation)) == (outcome, [*STEPS, *rest])
    assert len(fake.rebooted_at) == bool(needed)
    assert "reboot" in operation.steps[2].detail


async def test_reboot__asked_for_twice_is_done_once(api: Api):
    fake = await api.register("web1")
    reboot_need(fake, needed=True)
    operation = await api.run("StartReboot", only_if_required=True)
    retried = await api.run("StartReboot", only_if_required=True)
    assert operation.reboot_outcome == pb.REBOOT_OUTCOME_REBOOTED
    # It has just been rebooted: the second one finds nothing to do.
    assert retried.reboot_outcome == pb.REBOOT_OUTCOME_NOT_NEEDED
    assert len(fake.rebooted_at) == 1


async def test_reboot__without_the_condition_reboots_all_the_same(api: Api):
    fake = await api.register("web1")
    operation = await api.run("StartReboot")
    assert operation.reboot_outcome == pb.REBOOT_OUTCOME_REBOOTED
    assert "LIST" not in steps(operation)
    assert len(fake.rebooted_at) == 1


LATER = MaintenanceWindow(start="01:00", end="02:00")
"""Closed at noon, when the world begins."""


@pytest.mark.parametrize(
    ("needed", "outcome"),
    [(False, pb.REBOOT_OUTCOME_NOT_NEEDED), (None, pb.REBOOT_OUTCOME_UNKNOWN)],
)
async def test_reboot__that_is_not_done_does_not_ask_for_the_window(
    api: Api, needed: bool | None, outcome: int
):
    fake = await api.register("web1", policy=Policy(windows=[LATER]))
    reboot_need(fake, needed)
    operation = await api.run("StartReboot", only_if_required=True)
    assert operation.status == pb.OPERATION_STATUS_SUCCEEDED
    assert (operation.reboot_outcome, steps(operation)) == (outcome, STEPS)


async def test_reboot__that_is_needed_outside_the_window_is_refused_and_the_host_waits_for_it(
    api: Api,
):
    fake = await api.register("web1", policy=Policy(windows=[LATER]))
    reboot_need(fake, needed=True)
    operation = await api.run("StartReboot", only_if_required=True)
    assert (operation.problem.reason, steps(operation)) == ("WINDOW_CLOSED", STEPS)
    assert operation.reboot_outcome == pb.REBOOT_OUTCOME_UNSPECIFIED
    assert not fake.rebooted_at
    assert (await api.host()).status.state == HOST_STATE_WAITING_REBOOT


@pytest.mark.parametrize("needed", [True, None])
async def test_reboot__says_why_it_was_done_or_not(api: Api, needed: bool | None):
    fake = await api.register("web1")
    reboot_need(fake, needed)
    operation = await api.run("StartReboot", only_if_required=True)
    assert operation.reboot_reason
    assert operation.reboot_reason in operation.steps[2].detail


async def test_reboot__counts_as_down_once_it_is_to_be_done(api: Api):
    fake = await api.register("web1")
    reboot_need(fake, needed=True)
    looking = fake.hold(Command.QUERY)
    id = await api.started("StartReboot", only_if_required=True)
    await looking.reached.wait()
    assert (await api.world.store.usage(FLEET)).down == 0
    ordering = fake.hold(Command.REBOOT)
    looking.released.set()
    await ordering.reached.wait()
    assert (await api.world.store.usage(FLEET)).down == 1
    ordering.released.set()
    operation = await api.ended(id)
    assert operation.reboot_outcome == pb.REBOOT_OUTCOME_REBOOTED
