"""Each kind of operation on a fake host, when all goes well and in every way in which it may not."""

from datetime import timedelta

import pytest

from tendhost.server.domain.events import HostConnected, HostDisconnected, UpdateProgress
from tendhost.server.domain.hosts.states import HostState
from tendhost.server.domain.inventory.inventory import RebootNeed
from tendhost.server.domain.operations.operation import Operation, OperationKind, OperationStatus
from tendhost.server.engine.operations.manager import OperationSettings
from tests.unit.engine.fake_command import Command
from tests.unit.engine.fake_host import KEY, UNREACHABLE, FakeHost, Pending, Rebooting
from tests.unit.engine.world import World

K, S = OperationKind, OperationStatus


def steps(operation: Operation) -> list[str]:
    return [str(step.name) for step in operation.steps]


def failed_step(operation: Operation) -> str:
    return next(str(s.name) for s in operation.steps if s.status == "failed")


def reason(operation: Operation) -> str:
    assert operation.problem is not None
    return operation.problem.reason


# --- when all goes well ---------------------------------------------------------------------------


async def test_a_query_learns_what_is_pending_and_stores_the_inventory(world: World):
    async with world.running():
        fake = await world.register("web1")
        fake.pending = {"web": Pending(security=True), "db": Pending(held=True)}
        operation = await world.run(K.QUERY)
        assert operation.status is S.SUCCEEDED
        assert steps(operation) == ["connect", "list"]
        assert (
            "1 update pending, 1 of them security updates, 1 withheld" in operation.steps[-1].detail
        )
        host = await world.host()
        assert host.status.state is HostState.PENDING_UPDATES
        assert host.status.queried_at is not None
        stored = await world.store.inventory("web1")
        assert dict(stored.inventory.installed) == fake.installed
        assert await world.states() == ["querying", "pending_updates"]


async def test_an_update_with_a_reboot_goes_through_every_state(world: World):
    async with world.running():
        fake = await world.register("web1")
        fake.pending = {"web": Pending(wants_reboot=True), "db": Pending(conffile_kept=True)}
        operation = await world.run(K.UPDATE)
        assert operation.status is S.SUCCEEDED, operation.problem
        assert steps(operation) == [
            *("connect", "preflight", "list", "apply", "reboot_check", "reboot", "verify")
        ]
        assert operation.update is not None
        assert [c.name for c in operation.update.changes] == ["db", "web"]
        assert operation.update.kept_conffiles == ("/etc/db.conf",)
        assert operation.update.rebooted
        assert operation.update.reboot_required is RebootNeed.NOT_NEEDED
        assert (fake.count(Command.UPGRADE), fake.count(Command.REBOOT)) == (1, 1)
        host = await world.host()
        assert host.status.last_updated == operation.ended_at
        assert host.status.reboot.need is RebootNeed.NOT_NEEDED
        assert await world.states() == [
            *("querying", "pending_updates", "updating", "waiting_reboot"),
            *("rebooting", "verifying", "idle"),
        ]
    assert world.fleet.open_connections == 0


async def test_an_update_tells_its_progress_and_keeps_its_log(world: World):
    async with world.running():
        fake = await world.register("web1")
        fake.pending = {"web": Pending()}
        operation = await world.run(K.UPDATE)
        told = [e.body for e in await world.events() if isinstance(e.body, UpdateProgress)]
        assert [(p.package, p.phase) for p in told] == [
            *(("", "download"), ("web", "unpack"), ("web", "configure"))
        ]
        log = (await world.store.log(operation.id, offset=0, limit=10_000)).data
        assert b"Setting up web (2.0-1)" in log
        assert len(log) == operation.log_size


async def test_an_update_with_nothing_to_do_changes_nothing(world: World):
    async with world.running():
        fake = await world.register("web1")
        operation = await world.run(K.UPDATE)
        assert operation.status is S.SUCCEEDED
        assert steps(operation) == ["connect", "preflight", "list"]
        assert fake.count(Command.UPGRADE) == 0


async def test_a_dry_run_plans_and_changes_nothing(world: World):
    async with world.running():
        fake = await world.register("web1")
        fake.pending = {"web": Pending(wants_reboot=True)}
        operation = await world.run(K.UPDATE, dry_run=True)
        assert operation.status is S.SUCCEEDED
        assert operation.update is not None
        assert [p.name for p in operation.update.planned] == ["web"]
        assert (fake.count(Command.UPGRADE), fake.count(Command.REBOOT)) == (0, 0)
        host = await world.host()
        assert host.status.last_updated is None
        assert host.status.state is HostState.PENDING_UPDATES
        assert "updating" not in await world.states()


async def test_a_reboot_that_is_asked_for_ends_with_another_boot(world: World):
    async with world.running():
        fake = await world.register("web1")
        operation = await world.run(K.REBOOT)
        assert operation.status is S.SUCCEEDED
        assert steps(operation) == ["connect", "preflight", "reboot", "verify"]
        assert fake.boot == 2
        assert (await world.host()).status.state is HostState.IDLE
        told = [type(e.body) for e in await world.events()]
        assert told.count(HostConnected) == told.count(HostDisconnected) == 2


async def test_a_reboot_of_a_host_with_updates_leaves_them_pending(world: World):
    async with world.running():
        fake = await world.register("web1")
        fake.pending = {"web": Pending()}
        assert (await world.run(K.REBOOT)).status is S.SUCCEEDED
        assert (await world.host()).status.state is HostState.PENDING_UPDATES


async def test_a_check_says_what_it_found_and_changes_nothing(world: World):
    async with world.running():
        fake = await world.register("web1")
        healthy = await world.run(K.CHECK)
        assert healthy.health is not None
        assert healthy.health.healthy
        fake.failed_units = ["web.service"]
        sick = await world.run(K.CHECK)
        assert sick.status is S.SUCCEEDED
        assert sick.health is not None
        assert not sick.health.healthy
        assert "web.service" in sick.health.message
        host = await world.host()
        assert (host.status.healthy, host.status.state) == (False, HostState.IDLE)


async def test_what_had_failed_before_an_update_is_not_held_against_it(world: World):
    async with world.running():
        fake = await world.register("web1")
        fake.pending = {"web": Pending()}
        fake.failed_units = ["old.service"]
        operation = await world.run(K.UPDATE)
        assert operation.status is S.SUCCEEDED
        assert "failed before already: old.service" in operation.steps[-1].detail


# --- when the host is the trouble -----------------------------------------------------------------


async def test_a_failed_upgrade_is_looked_at_then_fails_the_host(world: World):
    async with world.running():
        fake = await world.register("web1")
        fake.pending = {"web": Pending(breaks=True, wants_reboot=True)}
        operation = await world.run(K.UPDATE)
        assert operation.status is S.FAILED
        assert steps(operation)[-2:] == ["apply", "reboot_check"]
        assert reason(operation) == "PACKAGE_FAILED"
        assert "web: cannot migrate" in operation.problem.message  # type: ignore[union-attr]
        host = await world.host()
        assert host.status.state is HostState.FAILED
        assert host.status.failure is not None
        assert host.status.failure.step == "apply"
        assert host.status.reboot.need is RebootNeed.NEEDED
        assert fake.count(Command.REBOOT) == 0


async def test_a_package_database_that_cannot_be_read_afterwards_is_not_taken_for_empty(
    world: World,
):
    async with world.running():
        fake = await world.register("web1")
        fake.pending = {"web": Pending(breaks=True)}
        hold = fake.hold(Command.UPGRADE)
        operation = await world.start(K.UPDATE)
        await world.reached(hold)
        fake.unreadable = True
        hold.released.set()
        ended = await world.ended(operation.id)
        assert ended.status is S.FAILED
        assert ended.update is not None
        assert ended.update.changes == ()


async def test_a_link_that_breaks_during_the_upgrade_costs_nothing(world: World):
    async with world.running():
        fake = await world.register("web1")
        fake.pending = {"web": Pending(wants_reboot=True)}
        fake.cut_during = Command.UPGRADE
        operation = await world.run(K.UPDATE)
        assert operation.status is S.SUCCEEDED, operation.problem
        assert operation.update is not None
        assert [c.name for c in operation.update.changes] == ["web"]
        assert (fake.count(Command.UPGRADE), fake.count(Command.REBOOT)) == (1, 1)
        gone_and_back = [
            type(event.body).__name__
            for event in await world.events()
            if isinstance(event.body, HostConnected | HostDisconnected)
        ]
        assert gone_and_back[:3] == ["HostConnected", "HostDisconnected", "HostConnected"]


@pytest.mark.parametrize(
    ("how", "why", "state"),
    [
        (Rebooting.REFUSED, "REBOOT_REFUSED", HostState.IDLE),
        (Rebooting.IGNORED, "REBOOT_NEVER_BEGAN", HostState.FAILED),
        (Rebooting.NEVER_RETURNS, "REBOOT_NEVER_RETURNED", HostState.FAILED),
        (Rebooting.SAME_BOOT, "REBOOT_SAME_BOOT_ID", HostState.FAILED),
        (Rebooting.OTHER_KEY, "REBOOT_NEVER_RETURNED", HostState.FAILED),
    ],
)
async def test_each_way_in_which_a_reboot_goes_wrong_has_its_own_error(
    world: World, how: Rebooting, why: str, state: HostState
):
    async with world.running():
        fake = await world.register("web1")
        fake.rebooting = how
        operation = await world.run(K.REBOOT)
        assert (operation.status, reason(operation)) == (S.FAILED, why)
        assert failed_step(operation) == "reboot"
        assert (await world.host()).status.state is state
        # An order that the link was lost under may never have arrived: it is given once more.
        assert fake.count(Command.REBOOT) == (2 if how is Rebooting.SAME_BOOT else 1)


async def test_a_refused_reboot_says_so_in_the_hosts_words(world: World):
    async with world.running():
        (await world.register("web1")).rebooting = Rebooting.REFUSED
        operation = await world.run(K.REBOOT)
        assert operation.problem is not None
        assert "refused to reboot (exit 1): shutdown: refused" in operation.problem.message


async def test_an_answer_cut_off_by_the_shutdown_is_not_taken_for_the_end_of_a_reboot(world: World):
    async with world.running():
        fake = await world.register("web1")
        fake.garbles = Command.BOOT
        operation = await world.run(K.REBOOT)
        assert operation.status is S.SUCCEEDED, operation.problem
        assert fake.count(Command.BOOT) == 2


async def test_a_unit_that_fails_after_the_reboot_fails_the_host(world: World):
    async with world.running():
        fake = await world.register("web1")
        fake.fails_after_boot = ["web.service"]
        operation = await world.run(K.REBOOT)
        assert (operation.status, reason(operation)) == (S.FAILED, "UNHEALTHY")
        host = await world.host()
        assert (host.status.state, host.status.healthy) == (HostState.FAILED, False)


async def test_too_small_a_disk_ends_an_update_before_anything_is_changed(world: World):
    async with world.running():
        fake = await world.register("web1")
        fake.pending = {"web": Pending()}
        fake.free_kib = 30_000
        operation = await world.run(K.UPDATE)
        assert (operation.status, reason(operation)) == (S.FAILED, "DISK_FULL")
        assert "29 MiB free" in operation.problem.message  # type: ignore[union-attr]
        assert fake.count(Command.UPGRADE) == 0
        assert (await world.host()).status.state is HostState.PENDING_UPDATES


async def test_an_interrupted_package_manager_is_repaired_once(world: World):
    async with world.running():
        fake = await world.register("web1")
        fake.pending = {"web": Pending()}
        fake.interrupted = True
        operation = await world.run(K.UPDATE)
        assert operation.status is S.SUCCEEDED
        assert "repaired" in operation.steps[1].detail
        assert fake.count(Command.REPAIR) == 1


async def test_a_package_database_that_stays_broken_fails_the_host(world: World):
    async with world.running():
        fake = await world.register("web1")
        fake.interrupted, fake.repairable = True, False
        operation = await world.run(K.UPDATE)
        assert (operation.status, reason(operation)) == (S.FAILED, "PACKAGE_DATABASE_BROKEN")
        assert fake.count(Command.REPAIR) == 1
        assert (await world.host()).status.state is HostState.FAILED


@pytest.mark.parametrize(
    ("knob", "value", "why", "state"),
    [
        ("reachable", False, "HOST_UNREACHABLE", HostState.PENDING_UPDATES),
        ("accepts_key", False, "AUTHENTICATION_REFUSED", HostState.FAILED),
        ("key", f"{KEY[:-4]}AAAA", "HOST_KEY_CHANGED", HostState.FAILED),
        ("privileged", False, "PRIVILEGE_MISSING", HostState.PENDING_UPDATES),
        ("refresh_fails", True, "REFRESH_FAILED", HostState.PENDING_UPDATES),
    ],
)
@pytest.mark.parametrize("looks", [K.QUERY, K.CHECK, "dry run", K.UPDATE])
async def test_failure_to_look__leaves_the_host_as_it_was_and_shows_the_problem(
    world: World, knob: str, value: object, why: str, state: HostState, looks: str
):
    if knob in ("privileged", "refresh_fails") and looks is K.CHECK:
        return  # a check asks for neither
    async with world.running():
        fake = await world.register("web1")
        fake.pending = {"web": Pending()}
        await world.run(K.QUERY)
        setattr(fake, knob, value)
        dry_run = looks == "dry run"
        operation = await world.run(K.UPDATE if dry_run else K(looks), dry_run=dry_run)
        assert (operation.status, reason(operation)) == (S.FAILED, why)
        host = await world.host()
        assert host.status.state is (state if looks is K.UPDATE else HostState.PENDING_UPDATES)
        assert host.status.last_problem == operation.problem
        setattr(fake, knob, getattr(FakeHost, knob, KEY))
        if host.status.failure is None:
            assert (await world.run(K.QUERY)).status is S.SUCCEEDED
            assert (await world.host()).status.last_problem is None


@pytest.mark.parametrize(
    ("says", "attempts"),
    [
        (UNREACHABLE, OperationSettings().retry.attempts),
        ("E: Problem executing scripts APT::Update::Post-Invoke-Success 'false'\n", 1),
    ],
)
async def test_refresh__is_tried_again_where_it_may_pass_by_itself(
    world: World, says: str, attempts: int
):
    async with world.running():
        fake = await world.register("web1")
        fake.refresh_fails, fake.refresh_says = True, says
        operation = await world.run(K.QUERY)
    assert reason(operation) == "REFRESH_FAILED"
    assert operation.steps[-1].attempts == attempts


async def test_a_fault_of_the_server_itself_ends_the_operation_and_is_no_riddle(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    async with world.running():
        fake = await world.register("web1")

        def broken(_: object) -> None:
            raise RuntimeError("a bug")

        monkeypatch.setattr("tests.unit.engine.fake_answers.units", broken)
        operation = await world.run(K.CHECK)
        assert (operation.status, reason(operation)) == (S.FAILED, "UNEXPECTED")
        assert "a bug" not in str(operation.problem)
        assert "a bug" in caplog.text
        assert fake.count(Command.UNITS) == 1


async def test_what_old_lists_say_is_as_old_as_they_are(world: World):
    async with world.running():
        fake = await world.register("web1")
        await world.run(K.QUERY)
        first = (await world.host()).status.queried_at
        world.clock.advance(timedelta(days=3))
        fake.refresh_fails = True
        await world.run(K.QUERY)
        assert (await world.host()).status.queried_at == first
