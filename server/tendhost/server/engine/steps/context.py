"""The context of a running step: its operation, its host, and the ways to both."""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Protocol

from tendhost.server.clock import Clock
from tendhost.server.domain.host_errors import PackageManagerMissing, Timeout
from tendhost.server.domain.hosts.group_policy import EffectivePolicy
from tendhost.server.domain.hosts.host import LOCAL, Host, RestartServices
from tendhost.server.domain.inventory.hardware import InventoryPart
from tendhost.server.domain.inventory.inventory import Observation, Reboot, RebootNeed
from tendhost.server.domain.operations.operation import Operation, OperationKind, StepFacts
from tendhost.server.domain.operations.permission import ChangeKind, Permission
from tendhost.server.domain.request_errors import InventoryNotFound
from tendhost.server.engine.connection import Session
from tendhost.server.engine.fleet.policies import Policies
from tendhost.server.engine.jobs.door import Door
from tendhost.server.engine.jobs.reporter import StepReporter
from tendhost.server.engine.jobs.runner import FinishedJob, JobRunner
from tendhost.server.engine.steps import queries
from tendhost.server.packages.boot import Boot
from tendhost.server.packages.detection import package_manager
from tendhost.server.packages.errors import LockHeld, NotRefreshed
from tendhost.server.packages.package_manager import PackageManager
from tendhost.server.packages.progress import ProgressSource
from tendhost.server.packages.query import AROUND_A_CHANGE, EVERYTHING, QueryOptions, QueryResult
from tendhost.server.packages.units import by_reboot_only
from tendhost.server.remote.local import own_unit
from tendhost.server.remote.probes import Prober
from tendhost.server.remote.protocol import Remote
from tendhost.server.store.protocols.hosts import InventoryStore
from tendhost.server.store.protocols.operations import LogStore


class StepStore(InventoryStore, LogStore, Protocol):
    """What steps read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSettings:
    """How long steps may take. The defaults are for a slow single-board computer."""

    query_timeout: timedelta = timedelta(minutes=5)
    """For one query of a host, beyond the wait for a lock."""
    apply_timeout: timedelta = timedelta(hours=2)
    """For a package transaction, beyond the wait for a lock."""
    lock_timeout: timedelta = timedelta(minutes=5)
    """For another user of the package manager to finish."""
    reboot_timeout: timedelta = timedelta(minutes=10)
    """From the reboot command to the first answer of the new boot."""
    verify_timeout: timedelta = timedelta(minutes=2)
    """For a host to be healthy after a change."""
    gone_timeout: timedelta = timedelta(minutes=30)
    """For a host to answer again that went silent while a job ran on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepContext:
    """Everything that a step works with: the operation, its host, the connection, and settings."""

    operation: Operation
    host: Host
    session: Session
    reporter: StepReporter
    store: StepStore
    prober: Prober
    clock: Clock
    settings: StepSettings
    policies: Policies

    @property
    def policy(self) -> EffectivePolicy:
        """The host's effective policy at this moment."""
        return self.policies.of(self.host.config)

    async def remote(self) -> Remote:
        """The open connection, opened now if there is none."""
        return await self.session.remote(self.host)

    async def query(self, remote: Remote, *, refresh: bool) -> QueryResult:
        """Query the host for what the operation needs. Raises HostError."""
        of_inventory = self.operation.kind is OperationKind.QUERY
        wanted = frozenset(self.operation.parts) or EVERYTHING
        config = self.host.config
        containers = {InventoryPart.CONTAINERS} if config.compose_paths else set()
        options = QueryOptions(
            parts=wanted if of_inventory else AROUND_A_CHANGE | containers,
            refresh=refresh,
            lock_timeout=self.settings.lock_timeout,
            compose_paths=config.compose_paths,
            compose_version=config.compose_version,
            osquery=of_inventory,
        )
        timeout = self.settings.lock_timeout + self.settings.query_timeout
        return await queries.query(
            remote, self.host.name, options=options, timeout=timeout, at=self.clock.now()
        )

    def manager(self) -> PackageManager:
        """The host's package manager, from an earlier step. Raises PackageManagerMissing."""
        manager = package_manager(self.operation.facts.package_manager)
        if manager is None:
            problem = "no package manager of the host is recorded"
            raise PackageManagerMissing(host=self.host.name, problem=problem)
        return manager

    def facts_after(self, result: QueryResult) -> StepFacts:
        """The operation's facts with those that a query of the host has found."""
        facts, system = self.operation.facts, result.facts.system
        if facts.reboot_ordered_at is None and system.boot_id:
            boot = Boot(id=system.boot_id, init_started=result.facts.init_started)
            facts = replace(facts, boot_id=str(boot))
        due, hindrance = self.reboot(result), self.reboot_hindrance()
        services_policy = self.host.config.policy.restart_services
        outdated = bool(result.inventory.outdated_services)
        if facts.reboot_ordered_at is None:
            facts = replace(facts, reboot_reason=due.reason)
        return replace(
            facts,
            package_manager=system.package_manager or facts.package_manager,
            pending_count=result.pending.count,
            reboot_need=due.need,
            reboot_allowed=not hindrance,
            reboot_hindrance=hindrance,
            services_due=outdated and services_policy is RestartServices.RESTART,
        )

    def restartable(self, result: QueryResult) -> tuple[str, ...]:
        """The outdated services that an update restarts if nothing else is due.

        Services that only a reboot renews are left out, or each update would restart them again.
        """
        if self.host.config.policy.restart_services is not RestartServices.RESTART:
            return ()
        own = own_unit() if self.host.config.address == LOCAL else ""
        services = result.inventory.outdated_services or ()
        return tuple(unit for unit in services if unit != own and not by_reboot_only(unit))

    async def observed(self, result: QueryResult) -> Observation:
        """What the query has found, completed from the stored inventory where it did not ask."""
        scope = self.host.config.policy.scope
        told = self.reboot(result)
        asked = result.asked_packages or told.need is RebootNeed.NEEDED
        seen = queries.observation(result, scope=scope, reboot=told if asked else None)
        whole = self.operation.kind is OperationKind.QUERY and not self.operation.parts
        listed = seen.pending.queried_at is not None
        stale = any(
            isinstance(p, LockHeld) or (isinstance(p, NotRefreshed) and not p.fetched)
            for p in result.problems
        )
        if whole and listed and not stale:
            return seen
        try:
            former = await self.store.inventory(self.host.name)
        except InventoryNotFound:
            return seen
        pending = seen.pending if listed else former.pending
        if listed and stale and former.pending.queried_at is not None:
            # Updates from old package lists are as old as the lists.
            pending = replace(pending, queried_at=former.pending.queried_at)
        return replace(
            seen,
            inventory=seen.inventory if whole else seen.inventory.completed(former.inventory),
            pending=pending,
        )

    def reboot(self, result: QueryResult) -> Reboot:
        """Whether the host needs a reboot, by the query and by its policy for outdated services."""
        services = result.inventory.outdated_services
        by_policy = self.host.config.policy.restart_services is RestartServices.REBOOT
        if not services or not by_policy or result.reboot.need is RebootNeed.NEEDED:
            return result.reboot
        verb = "run" if len(services) > 1 else "runs"
        reason = f"{', '.join(services)} {verb} what was replaced on the disk"
        return Reboot(need=RebootNeed.NEEDED, reason=reason)

    def reboot_hindrance(self) -> str:
        """Why an update may not reboot the host at this moment, as text; empty: it may."""
        if not self.host.config.may_reboot:
            return "its policy does not allow updates to reboot it"
        if self.operation.options.window_override_reason:
            return ""
        closed = self.policy.open_times.availability(self.clock.now())
        return "" if closed is None else closed.message

    @property
    def door(self) -> Door:
        """The door that every command which changes the host passes."""
        return Door(
            operation=self.operation,
            host=self.host,
            reporter=self.reporter,
            policies=self.policies,
            clock=self.clock,
        )

    @property
    def transaction_limit(self) -> timedelta:
        """How long a package transaction may take, the wait for a lock included."""
        return self.settings.lock_timeout + self.settings.apply_timeout

    async def run_job(
        self,
        kind: ChangeKind,
        command: str,
        *,
        permission: Permission = Permission.CHANGE,
        input: bytes = b"",
        limit: timedelta,
        progress: ProgressSource,
        overdue_fails: bool = True,
    ) -> FinishedJob:
        """Run `command` on the host as a job of `kind`; go on with the one that is under way, if any.

        `permission` is asked for each time that the job is to begin. `input` is what the command finds as a
        file beside it. `progress` understands what the job prints. `overdue_fails` False: a job that its host
        ended at `limit` is returned.

        Raises NotPermitted (the job has not begun, and never will), Interrupted (it was killed, or the host
        went down under it), Timeout (it took longer than `limit`), HostGone, JobRefused, HostKeyChanged,
        KeyUnusable, Superseded.
        """
        runner = JobRunner(
            store=self.store,
            clock=self.clock,
            session=self.session,
            host=self.host,
            reporter=self.reporter,
            door=self.door,
            permission=permission,
            gone_timeout=self.settings.gone_timeout,
        )
        finished = await runner.run(kind, command, input=input, limit=limit, progress=progress)
        if finished.overdue and overdue_fails:
            what, seconds = finished.job.name, limit.total_seconds()
            raise Timeout(host=self.host.name, what=what, seconds=seconds)
        return finished
