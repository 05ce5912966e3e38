"""The steps that change a host, and those that find out what came of it."""

from dataclasses import replace
from functools import partial

from tendhost.server.domain.host_errors import (
    ComposeFailed,
    Interrupted,
    PackageFailed,
    RollbackFailed,
    ServicesFailed,
)
from tendhost.server.domain.hosts.host import LOCAL, Problem
from tendhost.server.domain.inventory.compose import ProjectChange
from tendhost.server.domain.inventory.inventory import (
    Withheld,
    changed_since,
    diff_installed,
    not_restored,
)
from tendhost.server.domain.operations.operation import Outcome, UpdateResult
from tendhost.server.domain.operations.permission import Permission
from tendhost.server.engine import looking
from tendhost.server.engine.applying import ROLLBACK, restore, transact
from tendhost.server.engine.composing import take_back
from tendhost.server.engine.jobs.runner import Following, tidy, under_way
from tendhost.server.engine.planning import reboot_words, transaction
from tendhost.server.engine.rebooting import reboot
from tendhost.server.engine.stage import Stage
from tendhost.server.packages.units import parse_restart, restart_command
from tendhost.server.remote.local import own_unit


async def apply(stage: Stage) -> Outcome:
    """Upgrade the host's packages."""
    operation = stage.operation
    limit = stage.settings.lock_timeout + stage.settings.apply_timeout
    following, manager = stage.following(), stage.manager()
    try:
        done = await transact(following, operation, manager, transaction(stage), limit=limit)
    except Interrupted as error:
        return Outcome(problem=Problem.of(error), needs_person=True, interrupted=True)
    former = operation.update or UpdateResult()
    kept = dict.fromkeys((*former.kept_conffiles, *done.kept_conffiles))
    update = replace(former, kept_conffiles=tuple(kept))
    if done.error is not None:
        return Outcome(
            problem=Problem.of(done.error),
            needs_person=True,
            transient=done.transient,
            update=update,
        )
    return Outcome(detail=done.detail, update=update)


async def reboot_check(stage: Stage) -> Outcome:
    """Find out what was changed, and whether a reboot is due."""
    # A new connection: what carried the transaction may be gone, or have been upgraded itself.
    remote = await stage.session.renewed(stage.host)
    await tidy(stage.session, stage.host, stage.operation)
    result = await stage.query(remote, refresh=False)
    before = (await stage.store.inventory(stage.host.name)).inventory
    after = result.inventory
    # No host is without packages: what could not be read is not known to have changed.
    changes = diff_installed(before.installed, after.installed) if after.installed else ()
    former = stage.operation.update or UpdateResult()
    changes = changed_since(former.changes, changes)
    undone = _undone(stage, after.installed) if stage.operation.order.exact else ""
    return Outcome(
        problem=Problem.of(PackageFailed(host=stage.host.name, problem=undone)) if undone else None,
        detail=f"{_packages(len(changes))} changed; {reboot_words(result)}",
        observed=await stage.observed(result),
        findings=stage.found(result),
        update=replace(former, changes=changes),
    )


async def reboot_host(stage: Stage) -> Outcome:
    """Reboot the host, and wait for another boot to answer."""
    findings = stage.operation.findings
    recording = None
    if findings.reboot_ordered_at is None:
        findings = replace(findings, reboot_ordered_at=stage.clock.now())
        recording = partial(stage.journal.record, findings)
    detail = await reboot(
        stage.session,
        stage.host,
        boot_before=findings.boot_id,
        door=stage.door,
        recording=recording,
        timeout=stage.settings.reboot_timeout,
        clock=stage.clock,
    )
    update = stage.operation.update
    if update is not None:
        update = replace(update, rebooted=True)
    return Outcome(detail=detail, findings=findings, update=update)


async def restart_services(stage: Stage) -> Outcome:
    """Restart the services that run what was replaced; once more does no harm."""
    host = stage.host.name
    inventory = (await stage.store.inventory(host)).inventory
    # The server would end in the middle of it, and its successor would begin the same once more.
    own = own_unit() if stage.host.config.address == LOCAL else ""
    units = tuple(unit for unit in inventory.outdated_services or () if unit != own)
    completed = await stage.door.give(
        await stage.remote(),
        restart_command(units),
        Permission.CHANGE,
        timeout=stage.settings.query_timeout,
    )
    done = looking.understood(host, completed, lambda output: parse_restart(output, units))
    former = stage.operation.update or UpdateResult()
    update = replace(former, restarted=done.restarted)
    if done.failed:
        error = ServicesFailed(host=host, problem="; ".join(done.failed))
        return Outcome(problem=Problem.of(error), needs_person=True, update=update)
    words = [f"restarted {', '.join(done.restarted)}" if done.restarted else "nothing restarted"]
    left = (*done.left, *((own,) if own in (inventory.outdated_services or ()) else ()))
    if left:
        words.append(f"only a reboot renews {', '.join(left)}")
    return Outcome(detail="; ".join(words), update=update)


async def roll_back(stage: Stage) -> Outcome:
    """Take back what the update changed."""
    operation, host = stage.operation, stage.host.name
    update = operation.update or UpdateResult()
    limit = stage.settings.lock_timeout + stage.settings.apply_timeout
    # A host that is not healthy is put back whatever has been said since.
    following = stage.following(Permission.FINISH)
    projects, failed = update.projects, ""
    # A job that a former server began comes first; what is done by then finds nothing more to do.
    if under_way(operation, ROLLBACK) is None:
        projects, failed = await _projects_taken_back(stage, following, update)
    if update.changes:
        failure = await restore(
            following,
            stage.journal.operation,
            stage.manager(),
            update.changes,
            limit=limit,
            lock_timeout=stage.settings.lock_timeout,
        )
        if failure is not None:
            where = f"; the snapshot {update.snapshot} is there" if update.snapshot else ""
            also = f"; {failed}" if failed else ""
            raise RollbackFailed(host=host, problem=f"{failure.reason}{where}{also}")
    if under_way(operation, ROLLBACK) is not None:
        projects, failed = await _projects_taken_back(stage, following, update)
    remote = await stage.session.renewed(stage.host)
    result = await stage.query(remote, refresh=False)
    missing = not_restored(update.changes, result.inventory.installed)
    if missing or failed:
        left = f"not as they were: {', '.join(missing)}" if missing else ""
        raise RollbackFailed(host=host, problem="; ".join(filter(None, (left, failed))))
    units = await looking.units(remote, host)
    newly = [unit for unit in units.failed if unit not in operation.findings.failed_units]
    health = f"still failed: {', '.join(newly)}" if newly else "healthy again"
    words = [f"{_packages(len(update.changes))} back as before"]
    back = sum(1 for old, new in zip(update.projects, projects, strict=True) if old != new)
    if back:
        words.append(f"{back} compose projects are back on their former images")
    return Outcome(
        detail=f"{', '.join(words)}; {health}",
        observed=await stage.observed(result),
        findings=stage.found(result),
        update=replace(update, projects=projects, rolled_back=True),
    )


async def _projects_taken_back(
    stage: Stage, following: Following, update: UpdateResult
) -> tuple[tuple[ProjectChange, ...], str]:
    """What became of the compose projects, and, if one was not put back, why.

    The packages are to be put back all the same.
    """
    try:
        return await take_back(stage, following, update.projects), ""
    except ComposeFailed as error:
        return update.projects, str(error)


def _undone(stage: Stage, installed: tuple[tuple[str, str], ...]) -> str:
    """What of the plan was not done although nothing else was to be, in words; empty: nothing.

    A package manager that is given exact versions may pass over those that are not to be had.
    """
    planned = stage.operation.update.planned if stage.operation.update else ()
    there = set(installed)
    missing = [
        f"{package.name} {package.to_version} was not installed"
        for package in planned
        if package.withheld is Withheld.NO and (package.name, package.to_version) not in there
    ]
    if not missing or not installed:
        return ""
    return f"a part of the plan was not done: {'; '.join(missing)}"


def _packages(count: int) -> str:
    return "1 package" if count == 1 else f"{count} packages"
