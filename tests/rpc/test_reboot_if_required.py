"""RebootHost with only_if_required: a fresh look decides, unknown reboots nothing, the answer says which."""

import pytest

from tendhost.v1 import operation_pb2 as pb
from tests.rpc.api import Api
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
        (None, pb.REBOOT_OUTCOME_NOT_KNOWN, []),
    ],
)
async def test_reboot__is_done_only_where_a_fresh_look_finds_it_needed(
    api: Api, needed: bool | None, outcome: int, rest: list[str]
):
    fake = await api.register("web1")
    reboot_need(fake, not needed)
    await api.run("QueryInventory")
    reboot_need(fake, needed)  # what is stored is not what decides
    operation = await api.run("RebootHost", only_if_required=True)
    assert operation.status == pb.OPERATION_STATUS_SUCCEEDED
    assert (operation.reboot_outcome, steps(operation)) == (outcome, [*STEPS, *rest])
    assert len(fake.rebooted_at) == bool(needed)
    assert "reboot" in operation.steps[2].detail


async def test_reboot__asked_for_twice_is_done_once(api: Api):
    fake = await api.register("web1")
    reboot_need(fake, needed=True)
    operation = await api.run("RebootHost", only_if_required=True)
    retried = await api.run("RebootHost", only_if_required=True)
    assert operation.reboot_outcome == pb.REBOOT_OUTCOME_REBOOTED
    # It has just been rebooted: the second one finds nothing to do.
    assert retried.reboot_outcome == pb.REBOOT_OUTCOME_NOT_NEEDED
    assert len(fake.rebooted_at) == 1


async def test_reboot__without_the_condition_reboots_all_the_same(api: Api):
    fake = await api.register("web1")
    operation = await api.run("RebootHost")
    assert operation.reboot_outcome == pb.REBOOT_OUTCOME_REBOOTED
    assert "LIST" not in steps(operation)
    assert len(fake.rebooted_at) == 1
