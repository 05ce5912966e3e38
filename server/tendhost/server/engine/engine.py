"""The engine as a whole: put together, started on what is stored, and let go of."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from tendhost.server.clock import Clock
from tendhost.server.domain.access.issuers import TrustedIssuer
from tendhost.server.domain.leases import Replica
from tendhost.server.domain.notifications.target import NotifyTarget
from tendhost.server.engine.audit import AuditLog
from tendhost.server.engine.audit_sinks import AuditSinks
from tendhost.server.engine.certificate_watch import CertificateWatch, ReadExpiries
from tendhost.server.engine.connection import HostConnector
from tendhost.server.engine.duties import RETENTION, SCHEDULES, Duties
from tendhost.server.engine.fleet.availability import HostAvailability
from tendhost.server.engine.fleet.host_tests import HostTester
from tendhost.server.engine.fleet.login_setup import LoginSetup
from tendhost.server.engine.fleet.osquery import OsqueryClient
from tendhost.server.engine.fleet.policies import Policies
from tendhost.server.engine.fleet.registry import Registry
from tendhost.server.engine.fleet.reports import Reports
from tendhost.server.engine.fleet.selections import Selections
from tendhost.server.engine.issuers import Issuers
from tendhost.server.engine.loop_monitor import LoopMonitor
from tendhost.server.engine.notifications import Notifier
from tendhost.server.engine.operations.manager import Operations, OperationSettings
from tendhost.server.engine.replica import ReplicaLease
from tendhost.server.engine.restore import settle_restoration
from tendhost.server.engine.retention import Pruner, Retention
from tendhost.server.engine.rollouts.manager import Rollouts
from tendhost.server.engine.rollouts.wave_hooks import WaveHooks
from tendhost.server.engine.schedules import Schedules
from tendhost.server.engine.steps.context import StepSettings
from tendhost.server.engine.steps.executor import StepExecutor
from tendhost.server.engine.store_watch import StoreWatch
from tendhost.server.engine.tasks import TaskSet
from tendhost.server.engine.tokens import Tokens
from tendhost.server.engine.waiting import CEILING
from tendhost.server.outbound.apprise import NotificationSender
from tendhost.server.outbound.audit_sink import AuditSink
from tendhost.server.outbound.key_sets import KeySetSource
from tendhost.server.remote.probes import Prober
from tendhost.server.remote.protocol import Connector
from tendhost.server.store.protocol import Store

logger = logging.getLogger(__name__)

HELD_UP_AFTER = timedelta(hours=1)
NO_WAVE_HOOKS = WaveHooks((), environment={})


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """What an operator may set of the engine."""

    operations: OperationSettings = OperationSettings()
    steps: StepSettings = StepSettings()
    retention: Retention = Retention()
    held_up_after: timedelta = HELD_UP_AFTER
    """People are told of a rollout that a disruption budget has held up for so long."""
    unfinished_rollouts: int = 1_000
    """With so many unfinished rollouts no further one starts."""
    lease: timedelta | None = None
    """Length of the lease of a replica; None: no other process can open the database, so that it does not end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """What the RPCs call."""

    store: Store
    lease: ReplicaLease
    duties: Duties
    registry: Registry
    operations: Operations
    rollouts: Rollouts
    schedules: Schedules
    selections: Selections
    osquery: OsqueryClient
    host_tester: HostTester
    login_setup: LoginSetup
    reports: Reports
    notifier: Notifier
    policies: Policies
    pruner: Pruner
    tokens: Tokens
    issuers: Issuers
    certificates: CertificateWatch
    audit: AuditLog
    audit_sinks: AuditSinks
    store_watch: StoreWatch
    loop_monitor: LoopMonitor | None = None
    """None: nobody watches the event loop."""


@asynccontextmanager
async def running_engine(
    *,
    store: Store,
    connector: Connector,
    prober: Prober,
    clock: Clock,
    settings: EngineSettings,
    targets: Sequence[tuple[NotifyTarget, NotificationSender]] = (),
    sinks: Sequence[tuple[str, AuditSink]] = (),
    wave_hooks: WaveHooks = NO_WAVE_HOOKS,
    issuers: Sequence[tuple[TrustedIssuer, KeySetSource]] = (),
    read_expiries: ReadExpiries | None = None,
    loop_monitor: LoopMonitor | None = None,
) -> AsyncIterator[Engine]:
    """An engine that has taken up everything unfinished, and lets go of it when the context ends.

    Nothing is cancelled on any host by that: what was running is taken up by the next engine.
    """
    lease = ReplicaLease(
        store=store,
        clock=clock,
        replica=Replica(id="", started_at=clock.now()),
        length=settings.lease,
    )
    await lease.enter()
    await settle_restoration(store=store, clock=clock)
    policies = Policies(store=store, clock=clock)
    await policies.load()
    hosts = HostConnector(store=store, connector=connector)
    tokens = Tokens(store=store, clock=clock, reread=lease.interval or CEILING)
    await tokens.load()
    audit = AuditLog(store=store, clock=clock)
    trusted = Issuers(issuers, clock=clock)
    certificates = CertificateWatch(store=store, clock=clock, read=read_expiries)
    async with asyncio.TaskGroup() as tasks:
        operations = Operations(
            store=store,
            connector=hosts,
            executor=StepExecutor(
                store=store,
                prober=prober,
                clock=clock,
                settings=settings.steps,
                policies=policies,
            ),
            clock=clock,
            lease=lease,
            tasks=tasks,
            settings=settings.operations,
        )
        host_availability = HostAvailability(policies)
        selections = Selections(store=store, clock=clock)
        rollouts = Rollouts(
            store=store,
            operations=operations,
            host_availability=host_availability,
            selections=selections,
            wave_hooks=wave_hooks,
            clock=clock,
            lease=lease,
            tasks=tasks,
            held_up_after=settings.held_up_after,
            most_unfinished=settings.unfinished_rollouts,
        )
        policies.on_change(rollouts.recheck_host)
        schedules = Schedules(store=store, rollouts=rollouts, selections=selections, clock=clock)
        registry = Registry(store=store, connector=hosts, clock=clock)
        pruner = Pruner(store=store, clock=clock, retention=settings.retention)
        duties = Duties(store=store, lease=lease, clock=clock)
        keeping: TaskSet[None] = TaskSet(tasks.create_task)
        keeping.start(duties.keep(RETENTION, pruner.run))
        keeping.start(lease.keep())
        resumed = await operations.take_up_unfinished()
        carried = await rollouts.take_up_unfinished()
        if resumed or carried:
            logger.info(
                "unfinished work was resumed", extra={"operations": resumed, "rollouts": carried}
            )
        store_watch = StoreWatch(store=store, clock=clock)
        keeping.start(duties.keep(SCHEDULES, schedules.keep))
        for keeper in (
            operations,
            rollouts,
            policies,
            tokens,
            audit,
            store_watch,
            certificates,
        ):
            keeping.start(keeper.keep())
        for keys in trusted.keys:
            keeping.start(keys.keep())
        notifier = Notifier(targets, store=store, duties=duties, clock=clock)
        audit_sinks = AuditSinks(sinks, store=store, duties=duties, clock=clock)
        try:
            async with notifier.running(), audit_sinks.running():
                yield Engine(
                    store=store,
                    lease=lease,
                    duties=duties,
                    registry=registry,
                    operations=operations,
                    rollouts=rollouts,
                    schedules=schedules,
                    selections=selections,
                    osquery=OsqueryClient(store=store, connector=hosts, clock=clock),
                    host_tester=HostTester(store=store, connector=hosts, clock=clock),
                    login_setup=LoginSetup(store=store, connector=hosts),
                    reports=Reports(store=store, clock=clock, host_availability=host_availability),
                    policies=policies,
                    tokens=tokens,
                    issuers=trusted,
                    certificates=certificates,
                    audit=audit,
                    audit_sinks=audit_sinks,
                    store_watch=store_watch,
                    notifier=notifier,
                    pruner=pruner,
                    loop_monitor=loop_monitor,
                )
        finally:
            await keeping.cancel()
            await trusted.close()
            await audit.close()
            schedules.close()
            policies.close()
            await rollouts.stop()
            rollouts.close()
            await operations.stop()
            operations.close()
            await lease.leave()
