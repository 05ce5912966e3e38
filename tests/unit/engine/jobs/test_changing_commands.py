"""Every call that changes a host, one by one: what is asked before it, the first time and each further time."""

import ast
import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

import tendhost.server.engine
from tendhost.server.domain.host_errors import (
    Cancelled,
    DeadlineExceeded,
    Interrupted,
    LinkLost,
    NotPermitted,
    WindowClosed,
)
from tendhost.server.domain.hosts.group_policy import EffectivePolicy, Source, Sourced, SourceKind
from tendhost.server.domain.hosts.host import Host
from tendhost.server.domain.inventory.compose import ProjectChange, ProjectOutcome
from tendhost.server.domain.inventory.inventory import PackageChange
from tendhost.server.domain.operations.log_limit import LogLimit
from tendhost.server.domain.operations.operation import (
    JobRecord,
    Operation,
    OperationKind,
    OperationStatus,
    Outcome,
    Step,
    StepFacts,
    StepStatus,
    UpdateResult,
)
from tendhost.server.domain.operations.permission import (
    PERMISSIONS,
    ChangeKind,
    ChangingCommand,
    Permission,
)
from tendhost.server.domain.operations.step_traits import StepName
from tendhost.server.domain.policy.freezes import FreezePeriod
from tendhost.server.domain.policy.hooks import Hook
from tendhost.server.domain.policy.windows import MaintenanceWindow
from tendhost.server.engine.connection import HostConnector, Session
from tendhost.server.engine.fleet.policies import Policies
from tendhost.server.engine.jobs import door
from tendhost.server.engine.jobs.reporter import StepReporter
from tendhost.server.engine.steps.apply import apply
from tendhost.server.engine.steps.compose import compose
from tendhost.server.engine.steps.context import StepContext, StepSettings
from tendhost.server.engine.steps.download import download
from tendhost.server.engine.steps.hooks import post_hook, pre_hook
from tendhost.server.engine.steps.preflight import preflight
from tendhost.server.engine.steps.reboot import reboot_host
from tendhost.server.engine.steps.restart_services import restart_services
from tendhost.server.engine.steps.rollback import roll_back
from tendhost.server.engine.steps.snapshot import snapshot
from tendhost.server.remote.protocol import Completed, Remote
from tendhost.server.store.protocol import Store
from tendhost.server.store.records import InventoryRecord, LeaseLost
from tests.unit.engine.fake_host import FakeHost
from tests.unit.engine.world import World

K, P = ChangeKind, Permission
NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
APPLIED = (Step(name=StepName.APPLY, status=StepStatus.INTERRUPTED, started_at=NOON),)
PACKAGES = UpdateResult(
    changes=(PackageChange(name="web", from_version="1.0-1", to_version="2.0-1"),)
)
PROJECTS = UpdateResult(projects=(ProjectChange(path="/srv/shop", outcome=ProjectOutcome.UPDATED),))


@dataclass(frozen=True, kw_only=True)
class Case:
    """A call that gives one kind of command, and the operation in which it does."""

    step: Callable[[StepContext], Awaitable[Outcome]]
    operation: Callable[[Operation], Operation] = lambda operation: operation
    host: Callable[[FakeHost], None] = lambda host: None


def interrupted(host: FakeHost) -> None:
    host.interrupted = True


CASES = {
    (K.REBOOT, P.CHANGE): Case(step=reboot_host),
    (K.RESTART_SERVICES, P.CHANGE): Case(step=restart_services),
    (K.SNAPSHOT, P.CHANGE): Case(step=snapshot),
    (K.DOWNLOAD, P.PREPARE): Case(step=download),
    (K.APPLY, P.CHANGE): Case(step=apply),
    (K.REPAIR, P.CHANGE): Case(step=preflight, host=interrupted),
    (K.REPAIR, P.FINISH): Case(
        step=preflight, host=interrupted, operation=lambda o: replace(o, steps=APPLIED)
    ),
    (K.COMPOSE, P.CHANGE): Case(step=compose),
    (K.PRE_HOOK, P.CHANGE): Case(step=pre_hook),
    (K.POST_HOOK, P.FINISH): Case(step=post_hook),
    (K.ROLLBACK, P.FINISH): Case(step=roll_back, operation=lambda o: replace(o, update=PACKAGES)),
    (K.UNDO, P.FINISH): Case(step=roll_back, operation=lambda o: replace(o, update=PROJECTS)),
}
REFUSALS: dict[str, type[NotPermitted | LeaseLost]] = {
    "closed window": WindowClosed,
    "freeze": WindowClosed,
    "cancelled": Cancelled,
    "overdue": DeadlineExceeded,
    "lost lease": LeaseLost,
}
REFUSED_BY = {
    P.CHANGE: frozenset(REFUSALS),
    P.PREPARE: frozenset({"cancelled", "overdue", "lost lease"}),
    P.FINISH: frozenset({"lost lease"}),
}


@dataclass
class Rules:
    """What holds for the host at present, and the reporter that knows of a cancellation or a deadline."""

    world: World
    operation: Operation
    refusal: str = ""

    def of(self, config: object) -> EffectivePolicy:
        now = self.world.clock.now()
        source = Source(kind=SourceKind.FLEET)
        hook = Sourced(value=Hook(script="true\n"), source=source)
        policy = EffectivePolicy(pre_hook=hook, post_hook=hook)
        if self.refusal == "freeze":
            day = timedelta(days=1)
            period = FreezePeriod(name="holidays", starts_at=now - day, ends_at=now + day)
            policy = replace(policy, freezes=(Sourced(value=period, source=source),))
        if self.refusal == "closed window":
            hour = (now.hour + 6) % 24
            window = MaintenanceWindow(start=time(hour), end=time((hour + 1) % 24))
            policy = replace(policy, windows=(Sourced(value=(window,), source=source),))
        return policy

    def require_lease(self) -> None:
        if self.refusal == "lost lease":
            raise LeaseLost(what="operation 1")

    def require_permission(self) -> None:
        if self.refusal == "cancelled":
            raise Cancelled(host="web1")
        if self.refusal == "overdue":
            raise DeadlineExceeded(host="web1", seconds=60)

    async def save_facts(self, facts: StepFacts) -> None:
        self.operation = replace(self.operation, facts=facts)

    async def begin_job(self, kind: ChangeKind) -> Operation:
        number = self.operation.jobs_begun + 1
        job = JobRecord(operation=self.operation.id, kind=kind, number=number)
        self.operation = replace(
            self.operation, job=job, jobs_begun=number, epoch=self.operation.epoch + 1
        )
        return self.operation

    @property
    def log_limit(self) -> LogLimit:
        return LogLimit()

    async def wait_for_room(self) -> None:
        pass

    def add_output(self, job: JobRecord, **_: object) -> None:
        self.operation = replace(self.operation, job=job)

    def add_event(self, body: object) -> None:
        pass


class EnoughSeen(Exception):
    """A command was given more than once, which is all that a test wants to see."""


@dataclass
class Given:
    """What was given to the host; the link is lost under the first of it."""

    rules: Rules
    then: str = ""
    """What there is against a change from the first time on."""
    kinds: list[ChangeKind] = field(default_factory=list)

    async def __call__(
        self, remote: Remote, command: ChangingCommand, *, timeout: timedelta, input: bytes = b""
    ) -> Completed:
        self.kinds.append(command.kind)
        if len(self.kinds) > 1:
            raise EnoughSeen
        self.rules.refusal = self.then or self.rules.refusal
        raise LinkLost(host="web1", address="web1.example.org", problem="connection lost")


class Known:
    """What is on record of the host."""

    def __init__(self, record: InventoryRecord) -> None:
        inventory = replace(record.inventory, outdated_services=("nginx.service",))
        self._record = replace(record, inventory=inventory)

    async def inventory(self, name: str) -> InventoryRecord:
        return self._record


@pytest.fixture
async def ready(world: World) -> tuple[FakeHost, Host, InventoryRecord]:
    """A host that was queried."""
    async with world.running():
        fake = await world.register("web1", compose_paths=("/srv/shop",))
        await world.run(OperationKind.QUERY)
        return fake, await world.host(), cast(InventoryRecord, await world.store.inventory("web1"))


async def performed(
    world: World,
    ready: tuple[FakeHost, Host, InventoryRecord],
    case: Case,
    monkeypatch: pytest.MonkeyPatch,
    *,
    first: str = "",
    then: str = "",
) -> tuple[Sequence[ChangeKind], BaseException]:
    """What was given to the host, and what the step ended with; with LinkLost it is tried again."""
    fake, host, record = ready
    case.host(fake)
    boot = f"{fake.boot_id}/42"
    operation = case.operation(
        Operation(
            id="0190b0b1-0000-7000-8000-000000000001",
            host="web1",
            kind=OperationKind.UPDATE,
            created_at=world.clock.now(),
            status=OperationStatus.RUNNING,
            facts=StepFacts(package_manager="apt", boot_id=boot, pending_count=1),
            update=UpdateResult(),
        )
    )
    rules = Rules(world=world, operation=operation, refusal=first)
    given = Given(rules=rules, then=then)
    monkeypatch.setattr(door, "run_change", given)
    session = Session(HostConnector(store=world.store, connector=world.fleet))

    async def trying() -> BaseException:
        while True:
            context = StepContext(
                operation=rules.operation,
                host=host,
                session=session,
                reporter=cast(StepReporter, rules),
                store=cast(Store, Known(record)),
                prober=world.prober,
                clock=world.clock,
                settings=StepSettings(),
                policies=cast(Policies, rules),
            )
            try:
                await case.step(context)
            except LinkLost:
                await session.close()
            except (EnoughSeen, NotPermitted, Interrupted, LeaseLost) as error:
                return error

    task = asyncio.create_task(trying())

    async def over() -> bool:
        return task.done()

    await world.until(over)
    await session.close()
    return given.kinds, await task


def test_the_walk_is_over_every_kind_of_command_with_every_permission():
    assert set(CASES) == {(kind, p) for kind, allowed in PERMISSIONS.items() for p in allowed}
    assert set(PERMISSIONS) == set(ChangeKind)


walked = pytest.mark.parametrize("which", CASES, ids="-".join)
against = pytest.mark.parametrize("refusal", REFUSALS)


@walked
@against
async def test_asked_the_first_time(
    world: World,
    ready: Any,
    which: tuple[ChangeKind, Permission],
    refusal: str,
    monkeypatch: pytest.MonkeyPatch,
):
    kind, permission = which
    kinds, error = await performed(world, ready, CASES[which], monkeypatch, first=refusal)
    if refusal in REFUSED_BY[permission]:
        assert (kinds, type(error)) == ([], REFUSALS[refusal])
    else:
        assert set(kinds) == {kind}


@walked
@against
async def test_asked_again_when_the_link_was_lost_under_it(
    world: World,
    ready: Any,
    which: tuple[ChangeKind, Permission],
    refusal: str,
    monkeypatch: pytest.MonkeyPatch,
):
    kind, permission = which
    kinds, error = await performed(world, ready, CASES[which], monkeypatch, then=refusal)
    if refusal in REFUSED_BY[permission]:
        assert (kinds, type(error)) == ([kind], REFUSALS[refusal])
    else:
        assert (kinds, type(error)) == ([kind, kind], EnoughSeen)


async def test_a_reboot_is_not_given_with_the_permission_of_something_else(
    world: World, ready: Any, monkeypatch: pytest.MonkeyPatch
):
    _, host, _ = ready
    rules = Rules(world=world, operation=cast(Operation, None))
    monkeypatch.setattr(door, "run_change", Given(rules=rules))
    way = door.Door(
        operation=cast(Operation, None),
        host=host,
        reporter=cast(StepReporter, rules),
        policies=cast(Policies, rules),
        clock=world.clock,
    )
    command = ChangingCommand(kind=K.REBOOT, change_script="reboot")
    with pytest.raises(AssertionError, match="another permission"):
        await way.give(cast(Remote, None), command, P.FINISH, timeout=timedelta(seconds=1))


SERVER = Path(tendhost.server.engine.__file__).parent.parent
LOOKS = {
    "engine/steps/verify.py",
    "engine/steps/queries.py",
    "engine/steps/plan.py",
    "engine/fleet/osquery.py",
    "engine/fleet/host_tests.py",
    "remote/job.py",
}
"""Where scripts are run that only look, and those about a job's folder."""


def test_nothing_but_the_door_gives_a_changing_command():
    """A new line here is a new way to a host: one that changes it goes through the door."""
    ran = {name for name, call in _calls() if call == "run" and "remote" in name[1]}
    assert {file for file, _ in ran} == LOOKS | {"remote/changes.py"}
    assert {file for (file, _), call in _calls() if call == "run_change"} == {"engine/jobs/door.py"}
    read = {
        path.relative_to(SERVER).as_posix()
        for path in SERVER.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr == "change_script"
    }
    assert read == {"remote/changes.py"}


def _calls() -> Iterator[tuple[tuple[str, str], str]]:
    """The file, on what, and the name of everything that is called in the server."""
    for path in SERVER.rglob("*.py"):
        file = path.relative_to(SERVER).as_posix()
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            if isinstance(node.func, ast.Attribute):
                yield (file, ast.unparse(node.func.value)), node.func.attr
            elif isinstance(node.func, ast.Name):
                yield (file, ""), node.func.id
