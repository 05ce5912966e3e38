"""Performs the steps of operations on their hosts. Decides nothing of their order."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import timedelta

from tendhost.server.clock import Clock
from tendhost.server.domain.course import Course
from tendhost.server.domain.errors import Unhealthy
from tendhost.server.domain.host import Problem
from tendhost.server.domain.operation import HealthResult, OperationKind, Outcome, StepName
from tendhost.server.engine import looking
from tendhost.server.engine.changing import (
    apply,
    reboot_check,
    reboot_host,
    restart_services,
    roll_back,
)
from tendhost.server.engine.composing import compose
from tendhost.server.engine.journal import Journal
from tendhost.server.engine.preparing import download, list_packages, preflight
from tendhost.server.engine.session import Session
from tendhost.server.engine.snapshots import snapshot
from tendhost.server.engine.stage import Stage, StepSettings
from tendhost.server.packages.units import UnitHealth
from tendhost.server.remote.protocol import Remote
from tendhost.server.store.protocol import Store

VERIFY_PAUSE = timedelta(seconds=1)


async def connect(stage: Stage) -> Outcome:
    """Open a connection, and so verify the host's key."""
    await stage.session.renewed(stage.host)
    return Outcome(detail=f"logged in as {stage.host.config.user}")


async def verify(stage: Stage) -> Outcome:
    """Check the host's health over a new connection."""
    operation, host = stage.operation, stage.host.name
    remote = await stage.session.renewed(stage.host)
    if operation.kind is OperationKind.CHECK:
        units = await looking.units(remote, host)
        health = _health(units, known=())
        return Outcome(detail=health.message, health=health)
    health = await _settled(stage, remote)
    if not health.healthy:
        error = Unhealthy(host=host, problem=health.message)
        return Outcome(problem=Problem.of(error), needs_person=True, health=health)
    outcome = Outcome(detail=health.message, health=health)
    if operation.findings.reboot_ordered_at is None:
        return outcome
    result = await stage.query(remote, refresh=False)
    return replace(outcome, observed=await stage.observed(result), findings=stage.found(result))


async def _settled(stage: Stage, remote: Remote) -> HealthResult:
    deadline = stage.clock.elapsed() + stage.settings.verify_timeout
    while True:
        units = await looking.units(remote, stage.host.name)
        health = _health(units, known=stage.operation.findings.failed_units)
        if health.healthy or stage.clock.elapsed() >= deadline:
            return health
        await stage.clock.sleep(VERIFY_PAUSE)


def _health(units: UnitHealth, *, known: tuple[str, ...]) -> HealthResult:
    """Healthy is a host that has started and has no failed unit but those that had failed before."""
    if not units.started:
        return HealthResult(healthy=False, message=f"still {units.state}")
    newly = tuple(unit for unit in units.failed if unit not in known)
    if newly:
        return HealthResult(healthy=False, message=f"failed units: {', '.join(newly)}")
    if units.failed:
        return HealthResult(
            healthy=True, message=f"healthy; failed before already: {', '.join(units.failed)}"
        )
    return HealthResult(healthy=True, message="healthy")


_STEPS: Mapping[StepName, Callable[[Stage], Awaitable[Outcome]]] = {
    StepName.CONNECT: connect,
    StepName.PREFLIGHT: preflight,
    StepName.LIST: list_packages,
    StepName.DOWNLOAD: download,
    StepName.SNAPSHOT: snapshot,
    StepName.APPLY: apply,
    StepName.COMPOSE: compose,
    StepName.REBOOT_CHECK: reboot_check,
    StepName.REBOOT: reboot_host,
    StepName.RESTART_SERVICES: restart_services,
    StepName.VERIFY: verify,
    StepName.ROLLBACK: roll_back,
}


class Performer:
    """Performs any step of any operation."""

    def __init__(self, *, store: Store, clock: Clock, settings: StepSettings) -> None:
        self._store = store
        self._clock = clock
        self._settings = settings

    async def perform(
        self, step: StepName, course: Course, session: Session, journal: Journal
    ) -> Outcome:
        """Perform `step`. Raises WorkError, which is the outcome of a step that failed."""
        stage = Stage(
            operation=course.operation,
            host=course.host,
            session=session,
            journal=journal,
            store=self._store,
            clock=self._clock,
            settings=self._settings,
        )
        return await _STEPS[step](stage)
