"""Performs the steps of operations on their hosts. Decides nothing of their order."""

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial

from tendhost.server.clock import Clock
from tendhost.server.domain import errors
from tendhost.server.domain.course import Course
from tendhost.server.domain.errors import (
    DiskFull,
    Interrupted,
    Unhealthy,
    WindowClosed,
    WorkError,
)
from tendhost.server.domain.host import AfterInterruption, Host, Problem
from tendhost.server.domain.inventory import changed_since, diff_installed
from tendhost.server.domain.operation import (
    Findings,
    HealthResult,
    Operation,
    OperationKind,
    Outcome,
    StepName,
    UpdateResult,
    has_applied,
)
from tendhost.server.engine import looking
from tendhost.server.engine.applying import REPAIR, apply_upgrade, repair
from tendhost.server.engine.following import Following, tidy, under_way
from tendhost.server.engine.journal import Journal
from tendhost.server.engine.rebooting import reboot
from tendhost.server.engine.session import Session
from tendhost.server.engine.translate import work_error
from tendhost.server.packages.boot import Boot
from tendhost.server.packages.errors import (
    LockHeld,
    NotPrivileged,
    PackageDatabaseBroken,
    PackageError,
)
from tendhost.server.packages.failures import FailureKind
from tendhost.server.packages.families import package_manager
from tendhost.server.packages.package_manager import PackageManager, Transaction
from tendhost.server.packages.query import Preflight, QueryResult
from tendhost.server.packages.units import UnitHealth
from tendhost.server.remote.protocol import Remote
from tendhost.server.store.protocol import Store

VERIFY_PAUSE = timedelta(seconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSettings:
    """How long steps may take. The defaults are for a slow single-board computer."""

    query_timeout: timedelta = timedelta(minutes=5)
    """For one look at a host, beyond the wait for a lock."""
    apply_timeout: timedelta = timedelta(hours=2)
    """For a package transaction, beyond the wait for a lock."""
    lock_timeout: timedelta = timedelta(minutes=5)
    """For another user of the package manager to finish."""
    reboot_timeout: timedelta = timedelta(minutes=10)
    """From the order to reboot to the first answer of the new boot."""
    verify_timeout: timedelta = timedelta(minutes=2)
    """For a host to be healthy after a change."""
    gone_timeout: timedelta = timedelta(minutes=30)
    """For a host to answer again that went silent while a job ran on it."""


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
        operation, host = course.operation, course.host
        match step:
            case StepName.CONNECT:
                await session.renewed(host)
                return Outcome(detail=f"logged in as {host.config.user}")
            case StepName.PREFLIGHT:
                return await self._preflight(operation, host, session, journal)
            case StepName.LIST:
                return await self._list(operation, host, session)
            case StepName.APPLY:
                return await self._apply(operation, host, session, journal)
            case StepName.REBOOT_CHECK:
                return await self._reboot_check(operation, host, session)
            case StepName.REBOOT:
                return await self._reboot(operation, host, session, journal)
            case StepName.VERIFY:
                return await self._verify(operation, host, session)

    # --- before a change --------------------------------------------------------------------------

    async def _preflight(
        self, operation: Operation, host: Host, session: Session, journal: Journal
    ) -> Outcome:
        # What an interrupted upgrade left is repaired whenever that is; all else keeps to the window.
        goes_on = has_applied(operation) or under_way(operation, REPAIR) is not None
        if not goes_on:
            self._require_window(operation, host)
        wants_packages = operation.kind is OperationKind.UPDATE
        seen, detail = await self._fit(
            operation, host, session, journal, may_repair=wants_packages and not operation.dry_run
        )
        _raise_first(host.name, seen.problems, packages=wants_packages)
        if goes_on:
            self._require_window(operation, host)
        units = await looking.units(await session.remote(host), host.name)
        boot = Boot(id=seen.facts.system.boot_id, init_started=seen.facts.init_started)
        policy = host.config.policy
        findings = replace(
            operation.findings,
            package_manager=seen.facts.system.package_manager,
            boot_id=str(boot),
            failed_units=operation.findings.failed_units if goes_on else units.failed,
            reboot_allowed=self._may_reboot(host),
            apply_again=policy.after_interruption is AfterInterruption.UPGRADE,
        )
        return Outcome(detail=detail, findings=findings)

    def _require_window(self, operation: Operation, host: Host) -> None:
        now = self._clock.now()
        window = host.config.policy.maintenance_window
        if window is not None and not operation.dry_run and not window.contains(now):
            opens = f"{window.next_opening(now):%Y-%m-%d %H:%M} UTC"
            raise WindowClosed(host=host.name, window=str(window), opens=opens)

    async def _fit(
        self,
        operation: Operation,
        host: Host,
        session: Session,
        journal: Journal,
        *,
        may_repair: bool,
    ) -> tuple[Preflight, str]:
        """What is wrong with the host, once what a repair can mend is mended, and what was done."""
        seen = broken = None
        if under_way(operation, REPAIR) is None:
            seen = await self._fitness(session, host)
            broken = _repairable(seen)
            if broken is None or not may_repair:
                return seen, "fit for a change"
            # What looks interrupted may be under way, by whoever holds the lock.
            _raise_first(host.name, _locks(seen.problems), packages=True)
        following = self._following(host, session, journal)
        if has_applied(operation):
            # What the operation itself began is repaired whatever has been said since.
            following = replace(following, require_permission=lambda: None)
        limit = self._settings.apply_timeout
        manager = (seen.manager if seen else None) or _manager(operation)
        why_not = await repair(following, operation, manager, limit=limit)
        seen = await self._fitness(session, host)
        still = _repairable(seen)
        if still is not None and why_not is not None and why_not.kind is FailureKind.LOCK_HELD:
            raise errors.PackageManagerLocked(host=host.name, problem=why_not.reason)
        if still is not None:
            problem = f"{still}; the repair failed: {why_not.reason if why_not else still}"
            raise errors.PackageDatabaseBroken(host=host.name, problem=problem)
        return seen, f"repaired ({broken or 'an interrupted repair'}), fit for a change"

    def _following(self, host: Host, session: Session, journal: Journal) -> Following:
        return Following(
            store=self._store,
            clock=self._clock,
            session=session,
            host=host,
            journal=journal,
            gone_timeout=self._settings.gone_timeout,
            require_permission=lambda: self._require_permission(host, journal),
        )

    def _require_permission(self, host: Host, journal: Journal) -> None:
        """Raise why the host may not be changed now, where it was allowed when that was decided.

        Much time may have passed since, and more than one server.
        """
        journal.require_permission()
        self._require_window(journal.operation, host)

    async def _fitness(self, session: Session, host: Host) -> Preflight:
        timeout = self._settings.lock_timeout + self._settings.query_timeout
        return await looking.preflight(
            await session.remote(host),
            host.name,
            lock_timeout=self._settings.lock_timeout,
            timeout=timeout,
        )

    def _may_reboot(self, host: Host) -> bool:
        policy = host.config.policy
        return policy.auto_reboot and policy.allows_change(self._clock.now())

    async def _list(self, operation: Operation, host: Host, session: Session) -> Outcome:
        await tidy(session, host, operation)
        remote = await session.remote(host)
        result = await self._query(remote, host, refresh=True)
        outcome = Outcome(
            detail=_listed(result), findings=self._found(operation.findings, host, result)
        )
        if not has_applied(operation):
            # Else the stored inventory stays what it was before the upgrade that goes on, for the
            # comparison at its end.
            outcome = replace(outcome, observed=looking.observation(result))
            if operation.kind is OperationKind.UPDATE:
                planned = UpdateResult(planned=result.pending.packages)
                outcome = replace(outcome, update=planned)
        try:
            _raise_first(host.name, result.problems, packages=True)
            if operation.kind is OperationKind.UPDATE and result.pending.count:
                await self._require_space(remote, host, result)
        except WorkError as error:
            # What was learnt is true all the same.
            return replace(
                outcome,
                problem=Problem.of(error),
                needs_person=error.needs_person,
                transient=error.transient,
            )
        return outcome

    async def _query(self, remote: Remote, host: Host, *, refresh: bool) -> QueryResult:
        return await looking.query(
            remote,
            host.name,
            refresh=refresh,
            lock_timeout=self._settings.lock_timeout,
            timeout=self._settings.lock_timeout + self._settings.query_timeout,
            at=self._clock.now(),
        )

    def _found(self, findings: Findings, host: Host, result: QueryResult) -> Findings:
        if findings.reboot_ordered_at is None and result.facts.system.boot_id:
            facts = result.facts
            boot = Boot(id=facts.system.boot_id, init_started=facts.init_started)
            findings = replace(findings, boot_id=str(boot))
        return replace(
            findings,
            package_manager=result.facts.system.package_manager or findings.package_manager,
            pending_count=result.pending.count,
            reboot_need=result.reboot.need,
            reboot_allowed=self._may_reboot(host),
        )

    async def _require_space(self, remote: Remote, host: Host, result: QueryResult) -> None:
        manager = result.manager
        assert manager is not None, "what is pending was listed"
        completed = await remote.run(
            manager.plan_script(Transaction()), timeout=self._settings.query_timeout
        )
        try:
            plan = manager.parse_plan(completed.stdout)
        except PackageError as error:
            raise work_error(host.name, error) from error
        needs = {manager.cache: plan.download_bytes or 0, "/usr": max(0, plan.disk_bytes or 0)}
        demand: dict[str, int] = {}
        for disk in result.facts.disks:
            demand[disk.mount] = demand.get(disk.mount, 0) + needs.get(disk.path, 0)
        for disk in result.facts.disks:
            if disk.free_bytes < demand[disk.mount]:
                problem = (
                    f"{disk.mount} has {_size(disk.free_bytes)} free,"
                    f" the update needs {_size(demand[disk.mount])}"
                )
                raise DiskFull(host=host.name, problem=problem)

    # --- the change -------------------------------------------------------------------------------

    async def _apply(
        self, operation: Operation, host: Host, session: Session, journal: Journal
    ) -> Outcome:
        transaction = Transaction(lock_timeout=self._settings.lock_timeout)
        manager = _manager(operation)
        limit = self._settings.lock_timeout + self._settings.apply_timeout
        following = self._following(host, session, journal)
        try:
            applied = await apply_upgrade(following, operation, manager, transaction, limit=limit)
        except Interrupted as error:
            return Outcome(problem=Problem.of(error), needs_person=True, interrupted=True)
        former = operation.update or UpdateResult()
        kept = dict.fromkeys((*former.kept_conffiles, *applied.kept_conffiles))
        update = replace(former, kept_conffiles=tuple(kept))
        if applied.error is not None:
            return Outcome(
                problem=Problem.of(applied.error),
                needs_person=True,
                transient=applied.transient,
                update=update,
            )
        return Outcome(detail=applied.detail, update=update)

    async def _reboot_check(self, operation: Operation, host: Host, session: Session) -> Outcome:
        # A new connection: what carried the transaction may be gone, or have been upgraded itself.
        remote = await session.renewed(host)
        await tidy(session, host, operation)
        result = await self._query(remote, host, refresh=False)
        before = (await self._store.inventory(host.name)).inventory
        after = result.inventory
        # No host is without packages: what could not be read is not known to have changed.
        changes = diff_installed(before.installed, after.installed) if after.installed else ()
        former = operation.update or UpdateResult()
        changes = changed_since(former.changes, changes)
        return Outcome(
            detail=f"{len(changes)} packages changed; {_reboot_words(result)}",
            observed=looking.observation(result),
            findings=self._found(operation.findings, host, result),
            update=replace(former, changes=changes),
        )

    async def _reboot(
        self, operation: Operation, host: Host, session: Session, journal: Journal
    ) -> Outcome:
        findings = operation.findings
        ordering: Callable[[], Awaitable[None]] | None
        may_order = True
        if findings.reboot_ordered_at is None:
            findings = replace(findings, reboot_ordered_at=self._clock.now())
            ordering = partial(self._put_order_on_record, host, journal, findings)
        else:
            ordering = None
            try:
                self._require_permission(host, journal)
            except WorkError:
                may_order = False  # it was given, or else it is not to be given any more
        detail = await reboot(
            session,
            host,
            boot_before=findings.boot_id,
            ordering=ordering,
            may_order=may_order,
            timeout=self._settings.reboot_timeout,
            clock=self._clock,
        )
        update = operation.update
        if update is not None:
            update = replace(update, rebooted=True)
        return Outcome(detail=detail, findings=findings, update=update)

    async def _put_order_on_record(self, host: Host, journal: Journal, findings: Findings) -> None:
        self._require_permission(host, journal)
        await journal.record(findings)

    # --- after a change ---------------------------------------------------------------------------

    async def _verify(self, operation: Operation, host: Host, session: Session) -> Outcome:
        remote = await session.renewed(host)
        if operation.kind is OperationKind.CHECK:
            units = await looking.units(remote, host.name)
            health = _health(units, known=())
            return Outcome(detail=health.message, health=health)
        health = await self._settled(remote, host, known=operation.findings.failed_units)
        if not health.healthy:
            error = Unhealthy(host=host.name, problem=health.message)
            return Outcome(problem=Problem.of(error), needs_person=True, health=health)
        outcome = Outcome(detail=health.message, health=health)
        if operation.findings.reboot_ordered_at is None:
            return outcome
        result = await self._query(remote, host, refresh=False)
        return replace(
            outcome,
            observed=looking.observation(result),
            findings=self._found(operation.findings, host, result),
        )

    async def _settled(self, remote: Remote, host: Host, *, known: tuple[str, ...]) -> HealthResult:
        deadline = self._clock.elapsed() + self._settings.verify_timeout
        while True:
            units = await looking.units(remote, host.name)
            health = _health(units, known=known)
            if health.healthy or self._clock.elapsed() >= deadline:
                return health
            await self._clock.sleep(VERIFY_PAUSE)


def _manager(operation: Operation) -> PackageManager:
    """The package manager that an earlier step saw on the host. Raises PackageManagerMissing."""
    manager = package_manager(operation.findings.package_manager)
    if manager is None:
        problem = "no package manager is on record for it"
        raise errors.PackageManagerMissing(host=operation.host, problem=problem)
    return manager


def _repairable(seen: Preflight) -> PackageDatabaseBroken | None:
    broken = (p for p in seen.problems if isinstance(p, PackageDatabaseBroken))
    return next((problem for problem in broken if problem.repairable), None)


def _locks(problems: tuple[PackageError, ...]) -> tuple[PackageError, ...]:
    return tuple(problem for problem in problems if isinstance(problem, LockHeld))


def _raise_first(host: str, problems: tuple[PackageError, ...], *, packages: bool) -> None:
    """Raise the first problem that matters: without a change of packages only the privilege does."""
    for problem in problems:
        if packages or isinstance(problem, NotPrivileged):
            raise work_error(host, problem) from problem


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


def _listed(result: QueryResult) -> str:
    pending = result.pending
    withheld = len(pending.packages) - pending.count
    words = [f"{pending.count} updates pending"]
    if pending.security_count:
        words.append(f"{pending.security_count} of them security")
    if withheld:
        words.append(f"{withheld} withheld")
    return f"{', '.join(words)}; {_reboot_words(result)}"


def _reboot_words(result: QueryResult) -> str:
    reboot = result.reboot
    words = {"needed": "reboot needed", "not_needed": "no reboot needed"}
    known = words.get(str(reboot.need), "whether a reboot is needed is not known")
    return f"{known} ({reboot.reason})" if reboot.reason else known


def _size(count: int) -> str:
    return f"{count / 2**20:.0f} MiB" if count >= 10 * 2**20 else f"{math.ceil(count / 1024)} KiB"
