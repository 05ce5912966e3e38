"""Reboots that others hold up or have ordered, and hosts that answer from their initramfs."""

from datetime import datetime, timedelta

import pytest

from tendhost.server.domain.host_errors import (
    ChannelRefused,
    HostError,
    LinkLost,
    OutputTooLarge,
    PrivilegeMissing,
    ShellUnusable,
    Timeout,
)
from tendhost.server.domain.operations.operation import Operation, OperationKind, OperationStatus
from tests.unit.engine.fake_command import Command
from tests.unit.engine.fake_host import FakeHost, Rebooting
from tests.unit.engine.world import World, call

K, S = OperationKind, OperationStatus


def failure(operation: Operation) -> tuple[str, str]:
    assert operation.status is S.FAILED
    assert operation.problem is not None
    return operation.problem.reason, operation.problem.message


async def rebooted(fake: FakeHost) -> bool:
    return fake.boot == 2


async def ordered(fake: FakeHost) -> bool:
    return fake.count(Command.REBOOT) == 1


async def passed(world: World, moment: datetime) -> bool:
    return world.clock.now() >= moment


# --- the initramfs --------------------------------------------------------------------------------


async def test_another_key__after_a_reboot_is_waited_out_without_a_login(world: World):
    """A host with an encrypted disk: dropbear asks for its passphrase in the initramfs."""
    async with world.running() as engine:
        fake = await world.register("web1")
        own = fake.key
        fake.rebooting = Rebooting.OTHER_KEY
        failed = await world.run(K.REBOOT)
        reason, message = failure(failed)
        assert reason == "REBOOT_NEVER_RETURNED"
        assert "host key changed" in message
        assert (
            "if its disk is encrypted, unlock it, then retry the host: the retry waits for the host"
            in message
        )
        assert failed.started_at is not None
        assert failed.ended_at is not None
        assert failed.ended_at - failed.started_at >= timedelta(minutes=10)
        # A retry before it is unlocked, and one after that: neither reboots it again.
        again = await world.ended((await engine.operations.retry("web1", call())).operation.id)
        assert again.status is S.FAILED
        fake.key = own
        back = await world.ended((await engine.operations.retry("web1", call())).operation.id)
        assert back.status is S.SUCCEEDED, back.problem
        assert (fake.count(Command.REBOOT), fake.boot) == (1, 2)


async def test_another_key__until_the_host_is_unlocked_in_time(world: World):
    async with world.running():
        fake = await world.register("web1")
        own = fake.key
        fake.rebooting = Rebooting.OTHER_KEY
        operation = await world.start(K.REBOOT)
        await world.until(lambda: rebooted(fake))
        later = world.clock.now() + timedelta(minutes=5)
        await world.until(lambda: passed(world, later))
        fake.key = own
        ended = await world.ended(operation.id)
        assert ended.status is S.SUCCEEDED, ended.problem
        assert (fake.count(Command.REBOOT), fake.boot) == (1, 2)


async def test_another_key__is_waited_out_by_the_next_server_as_well(world: World):
    async with world.running():
        fake = await world.register("web1")
        own = fake.key
        fake.rebooting = Rebooting.OTHER_KEY
        operation = await world.start(K.REBOOT)
        await world.until(lambda: rebooted(fake))
    async with world.running():
        later = world.clock.now() + timedelta(minutes=5)
        await world.until(lambda: passed(world, later))
        fake.key = own
        ended = await world.ended(operation.id)
        assert ended.status is S.SUCCEEDED, ended.problem
    assert (fake.count(Command.REBOOT), fake.boot) == (1, 2)


async def test_an_initramfs__with_the_key_of_the_host_is_not_taken_for_the_host(world: World):
    async with world.running():
        fake = await world.register("web1")
        operation = await world.start(K.REBOOT)
        await world.until(lambda: rebooted(fake))
        fake.in_initramfs = True
        reason, message = failure(await world.ended(operation.id))
        assert reason == "REBOOT_NEVER_RETURNED"
        assert "initramfs" in message


# --- others ---------------------------------------------------------------------------------------


async def test_a_reboot__that_somebody_else_has_ordered_is_waited_for(world: World):
    async with world.running():
        fake = await world.register("web1")
        fake.others_reboot = world.clock.now() + timedelta(minutes=2)
        operation = await world.run(K.REBOOT)
        assert operation.status is S.SUCCEEDED, operation.problem
        assert "a shutdown was under way already" in operation.steps[2].detail
        assert (fake.boot, len(fake.rebooted_at)) == (2, 1)


async def test_a_reboot__of_the_former_server_that_is_delayed_is_waited_for(world: World):
    async with world.running():
        fake = await world.register("web1")
        fake.delays_reboot = timedelta(minutes=3)
        operation = await world.start(K.REBOOT)
        await world.until(lambda: ordered(fake))
    async with world.running():
        ended = await world.ended(operation.id)
        assert ended.status is S.SUCCEEDED, ended.problem
    assert (fake.boot, len(fake.rebooted_at)) == (2, 1)


async def test_a_reboot__of_somebody_else_that_is_cancelled_is_ordered(world: World):
    async with world.running():
        fake = await world.register("web1")
        fake.others_reboot = world.clock.now() + timedelta(hours=2)
        operation = await world.start(K.REBOOT)
        await world.until(lambda: ordered(fake))
        fake.others_reboot = None
        ended = await world.ended(operation.id)
        assert ended.status is S.SUCCEEDED, ended.problem
        assert (fake.boot, len(fake.rebooted_at)) == (2, 1)


async def test_a_reboot__that_is_held_up_for_too_long_says_by_whom_and_a_retry_waits(world: World):
    async with world.running() as engine:
        fake = await world.register("web1")
        fake.others_reboot = world.clock.now() + timedelta(minutes=15)
        fake.inhibitors = 'a(ssssuu) 1 "shutdown" "Unattended Upgrades" "Upgrades" "delay" 0 9'
        reason, message = failure(await world.run(K.REBOOT))
        assert reason == "REBOOT_NEVER_BEGAN"
        assert "waits for Unattended Upgrades (Upgrades)" in message
        retried = await engine.operations.retry("web1", call())
        ended = await world.ended(retried.operation.id)
        assert ended.status is S.SUCCEEDED, ended.problem
        assert (fake.boot, len(fake.rebooted_at)) == (2, 1)


async def test_a_reboot__that_somebody_blocks_is_refused_with_the_name(world: World):
    async with world.running():
        fake = await world.register("web1")
        fake.inhibitors = 'a(ssssuu) 1 "shutdown" "backup" "A backup runs" "block" 0 9'
        reason, message = failure(await world.run(K.REBOOT))
        assert reason == "REBOOT_REFUSED"
        assert "backup (A backup runs)" in message
        assert fake.boot == 1


async def test_way_down__is_asked_for_once_each_time_that_the_boot_is(world: World):
    async with world.running():
        fake = await world.register("web1")
        fake.others_reboot = world.clock.now() + timedelta(minutes=2)
        assert (await world.run(K.REBOOT)).status is S.SUCCEEDED
        # Once more before the first round.
        assert 60 < fake.count(Command.GOING_DOWN) <= fake.count(Command.BOOT) + 1


# --- an order that does not get through -----------------------------------------------------------

REFUSED = ChannelRefused(host="web1", address="web1.example.org", problem="no more sessions")
KILLED = ShellUnusable(
    host="web1", user="root", problem="the host printed nothing and ended with exit status 255"
)
NO_SUDO = PrivilegeMissing(host="web1", user="deploy", problem="sudo: PAM account management error")
NOT_SENT = (REFUSED, KILLED, NO_SUDO)
MAYBE_SENT = (
    LinkLost(host="web1", address="web1.example.org", problem="connection lost"),
    Timeout(host="web1", what="a command", seconds=60),
    OutputTooLarge(host="web1", limit=100),
)


def reasons(errors: tuple[HostError, ...]) -> list[str]:
    return [error.reason for error in errors]


@pytest.mark.parametrize("error", NOT_SENT, ids=reasons(NOT_SENT))
async def test_order__that_was_given_before_is_given_until_it_gets_through(
    world: World, error: HostError
):
    async with world.running():
        fake = await world.register("web1")
        fake.swallows_reboot = timedelta(minutes=2)
        operation = await world.start(K.REBOOT)
        await world.until(lambda: ordered(fake))
        fake.fails[Command.REBOOT] = [error] * 3
        ended = await world.ended(operation.id)
    assert ended.status is S.SUCCEEDED, ended.problem
    assert (fake.boot, len(fake.rebooted_at), fake.count(Command.REBOOT)) == (2, 1, 5)


async def test_order__that_never_gets_through_again_says_why_and_a_retry_goes_on(world: World):
    async with world.running() as engine:
        fake = await world.register("web1")
        fake.swallows_reboot = timedelta(minutes=2)
        operation = await world.start(K.REBOOT)
        await world.until(lambda: ordered(fake))
        fake.fails[Command.REBOOT] = [KILLED] * 500
        reason, message = failure(await world.ended(operation.id))
        assert reason == "REBOOT_SAME_BOOT_ID"
        assert "could not be sent again: web1: a login as 'root' does not run commands" in message
        fake.fails.clear()
        back = await world.ended((await engine.operations.retry("web1", call())).operation.id)
        assert back.status is S.SUCCEEDED, back.problem
    assert (fake.boot, len(fake.rebooted_at)) == (2, 1)


@pytest.mark.parametrize("error", MAYBE_SENT, ids=reasons(MAYBE_SENT))
async def test_order__that_may_have_got_through_is_given_once_more(world: World, error: HostError):
    async with world.running():
        fake = await world.register("web1")
        fake.fails[Command.REBOOT] = [error, error, error]
        reason, _ = failure(await world.run(K.REBOOT))
    assert reason == "REBOOT_SAME_BOOT_ID"
    assert (fake.boot, fake.count(Command.REBOOT)) == (1, 2)


async def test_order__that_was_given_before_is_not_refused_by_an_answer_that_is_cut_off(
    world: World,
):
    async with world.running():
        fake = await world.register("web1")
        fake.swallows_reboot, fake.garbles = timedelta(minutes=2), Command.REBOOT
        ended = await world.run(K.REBOOT)
    assert ended.status is S.SUCCEEDED, ended.problem
    assert (fake.boot, len(fake.rebooted_at), fake.count(Command.REBOOT)) == (2, 1, 2)


async def test_order__of_a_host_without_channels_is_given_by_the_next_attempt(world: World):
    async with world.running():
        fake = await world.register("web1")
        fake.fails[Command.REBOOT] = [REFUSED, REFUSED]
        ended = await world.run(K.REBOOT)
    assert ended.status is S.SUCCEEDED, ended.problem
    assert (fake.boot, len(fake.rebooted_at)) == (2, 1)


async def test_retry__of_an_order_that_a_killed_shell_ended_reboots_no_other_boot(world: World):
    async with world.running() as engine:
        fake = await world.register("web1")
        fake.fails[Command.REBOOT] = [KILLED]
        assert failure(await world.run(K.REBOOT))[0] == "SHELL_UNUSABLE"
        fake.reboot()  # the host was on its way down
        back = await world.ended((await engine.operations.retry("web1", call())).operation.id)
        assert back.status is S.SUCCEEDED, back.problem
    assert (fake.boot, len(fake.rebooted_at)) == (2, 1)
