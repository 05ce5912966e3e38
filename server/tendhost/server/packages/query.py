"""One query of a host as a script for sh, and the parser of what the script prints.

`query_script` asks for facts, health, pending updates, inventory and reboot: all of them, or the parts
that `QueryOptions` name. Without `refresh` it also serves as the query after an update.
`preflight_script` asks what must be known before a change. Both scripts run as the user who logged in
and use `sudo -n` only where root is needed. Both work on any Linux host: the script itself detects the
package manager; a host without one has its facts, and NoPackageManager among the problems.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from tendhost.server.domain.bounds import bounded
from tendhost.server.domain.inventory.compose import ComposeVersion
from tendhost.server.domain.inventory.hardware import InventoryPart
from tendhost.server.domain.inventory.inventory import Inventory, Pending, Reboot, RebootNeed
from tendhost.server.packages.bounding import parser
from tendhost.server.packages.collector import collector_lines, parse_collected
from tendhost.server.packages.compose.inspect import (
    ComposeInspection,
    inspect_lines,
    parse_inspection,
)
from tendhost.server.packages.detection import (
    PACKAGE_MANAGERS,
    Detection,
    detection_lines,
    parse_detection,
)
from tendhost.server.packages.errors import (
    ImmutableSystem,
    NoPackageManager,
    NotPrivileged,
    PackageError,
)
from tendhost.server.packages.facts import (
    FACT_PARTS,
    FACTS,
    HostFacts,
    Privilege,
    parse_facts,
)
from tendhost.server.packages.kernels import parse_kernel_owners
from tendhost.server.packages.osquery import combine, osquery_lines, parse_answer
from tendhost.server.packages.package_manager import PackageManager, PackageReport
from tendhost.server.packages.reboot import (
    REBOOT,
    RebootEvidence,
    decide_reboot,
    parse_needrestart,
    parse_outdated,
    parse_reboot_required,
)
from tendhost.server.packages.script import Part, framed_script, parse_parts

_BY_PACKAGE_MANAGER = frozenset({InventoryPart.PACKAGES, InventoryPart.PENDING})
AROUND_A_CHANGE = _BY_PACKAGE_MANAGER
"""The parts that an update queries."""
EVERYTHING = frozenset(InventoryPart)


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryOptions:
    """What is asked of a host."""

    parts: frozenset[InventoryPart] = AROUND_A_CHANGE
    """SYSTEM is always asked for."""
    refresh: bool = False
    """Whether the package lists are fetched again."""
    lock_timeout: timedelta = timedelta()
    """How long another user of the package lists is waited for."""
    compose_paths: tuple[str, ...] = ()
    """The folders of compose projects; with CONTAINERS only."""
    compose_version: ComposeVersion = ComposeVersion.AUTO
    osquery: bool = False
    """Whether osquery is asked where the host has it. Around a change it is not: what was changed is told
    by two answers of the same collector."""


def query_script(options: QueryOptions) -> str:
    """The script for sh that asks for the parts of `options`, and whether a reboot is due."""
    lines = [FACTS, detection_lines()]
    if options.parts & _BY_PACKAGE_MANAGER:
        refresh = options.refresh and InventoryPart.PENDING in options.parts
        timeout = options.lock_timeout
        lines.append(_each(lambda known: known.query_lines(refresh=refresh, lock_timeout=timeout)))
    lines.append(collector_lines(options.parts))
    if InventoryPart.CONTAINERS in options.parts:
        lines.append(inspect_lines(options.compose_paths, version=options.compose_version))
    if options.osquery:
        lines.append(osquery_lines(options.parts))
    return framed_script(*filter(None, lines), REBOOT)


def preflight_script(*, lock_timeout: timedelta) -> str:
    """The script for sh that asks whether the host is fit for a change."""
    return framed_script(
        FACTS,
        detection_lines(),
        _each(lambda known: known.preflight_lines(lock_timeout=lock_timeout)),
    )


def _each(lines: Callable[[PackageManager], str]) -> str:
    """The lines of every package manager, of which a host runs those of its own."""
    cases = "\n".join(f"{known.command})\n{lines(known)}\n;;" for known in PACKAGE_MANAGERS)
    return f"case $manager in\n{cases}\nesac"


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryResult:
    """What a query learnt.

    `problems` say what could not be learnt or must be mended; what they do not touch is filled.
    After a NotRefreshed or LockHeld, `pending` is what the old lists say. `pending.queried_at` is
    None where the pending packages could not be listed.
    """

    facts: HostFacts
    manager: PackageManager | None
    """None: none that tendhost knows."""
    inventory: Inventory
    pending: Pending
    reboot: Reboot
    asked_packages: bool = True
    """Whether the package manager was asked: without its word the need of a reboot is not known."""
    problems: tuple[PackageError, ...] = ()


_DEFAULT = QueryOptions()


@dataclass(frozen=True, slots=True, kw_only=True)
class Preflight:
    """Whether a host is fit for a change: it is where there are no problems."""

    facts: HostFacts
    manager: PackageManager | None
    problems: tuple[PackageError, ...] = ()


def parse_query(output: bytes, *, at: datetime, options: QueryOptions = _DEFAULT) -> QueryResult:
    """Understand the output of `query_script` for the same `options`; `at` is when it was asked.

    What is beyond the bounds of what a host may say is left out, and named in `inventory.missing`.
    Raises ParseFailed.
    """
    left_out: list[str] = []
    found = bounded(_parse_query(output, at, options), left_out=left_out)
    if not left_out:
        return found
    missing = (*found.inventory.missing, *left_out)
    return replace(found, inventory=replace(found.inventory, missing=missing))


def _parse_query(output: bytes, at: datetime, options: QueryOptions) -> QueryResult:
    parts = parse_parts(output, expected=(*FACT_PARTS, "manager", "reboot_required"))
    facts, detection = _host(parts)
    manager = detection.manager
    inventory = _collected(parts, facts, options, at)
    asked = options.parts & _BY_PACKAGE_MANAGER
    if facts.immutability is not None and facts.immutability.image:
        return _parse_image(parts, facts, detection, inventory, options, at)
    if manager is None:
        problem = _no_manager(facts, detection)
        return QueryResult(
            facts=facts,
            manager=None,
            inventory=replace(inventory, missing=(*inventory.missing, f"packages: {problem}")),
            pending=Pending(),
            reboot=_reboot_without_packages(parts, facts),
            asked_packages=bool(asked),
            problems=(problem,) if asked else (),
        )
    report = manager.parse_query(parts, facts, at) if asked else PackageReport()
    return QueryResult(
        facts=facts,
        manager=manager,
        inventory=_with_packages(inventory, report, options),
        pending=report.pending if InventoryPart.PENDING in options.parts else Pending(),
        reboot=decide_reboot(_evidence(parts, facts, report)),
        asked_packages=bool(asked),
        problems=report.problems,
    )


def _parse_image(
    parts: Mapping[str, Part],
    facts: HostFacts,
    detection: Detection,
    inventory: Inventory,
    options: QueryOptions,
    at: datetime,
) -> QueryResult:
    """What a query learnt of a system that is replaced as a whole: of its packages only what is installed.

    That nothing else is known of them is no problem of the host.
    """
    asked, manager = bool(options.parts & _BY_PACKAGE_MANAGER), detection.manager
    report = PackageReport()
    if asked and manager is not None:
        with suppress(PackageError):
            # Its package manager may be a script that says what to use instead.
            report = PackageReport(installed=manager.parse_query(parts, facts, at).installed)
    if asked:
        missing = (*inventory.missing, f"pending updates: {facts.immutability}")
        inventory = replace(_with_packages(inventory, report, options), missing=missing)
    return QueryResult(
        facts=facts,
        manager=manager,
        inventory=inventory,
        pending=Pending(),
        reboot=_reboot_of_image(parts, facts),
        asked_packages=asked,
    )


def _collected(
    parts: Mapping[str, Part], facts: HostFacts, options: QueryOptions, at: datetime
) -> Inventory:
    """All of the inventory that no package manager is asked for."""
    native = parse_collected(parts, options.parts)
    answer = parse_answer(parts, options.parts, architecture=facts.system.architecture)
    best, sources = combine(answer, native, options.parts)
    containers = InventoryPart.CONTAINERS in options.parts
    docker = parse_inspection(parts) if containers else ComposeInspection()
    if docker.docker:
        # docker itself tells more of its containers than osquery does.
        sources = {**sources, InventoryPart.CONTAINERS: f"docker {docker.docker}"}
    packages = (answer.deb_packages or answer.rpm_packages) if answer else None
    failed = answer.failed if answer else {}
    outdated = parse_outdated(parts.get("outdated"))
    unknown = (
        () if outdated is not None else ("outdated services: only root of a systemd can tell",)
    )
    return Inventory(
        system=facts.system,
        installed=packages or (),
        machine=best.machine,
        cpu=best.cpu,
        memory=best.memory,
        mounts=best.mounts or (),
        interfaces=best.interfaces or (),
        outdated_services=outdated,
        containers=tuple(sorted(docker.containers, key=lambda container: container.name)),
        images=docker.images,
        projects=docker.projects,
        sources={str(part): source for part, source in sources.items()},
        missing=(
            *(f"osquery, {table}: {error}" for table, error in failed.items()),
            *unknown,
            *((f"containers: {docker.problem}",) if docker.problem else ()),
            *(f"containers: {other}" for other in docker.others),
        ),
        collected_at=at,
    )


def _with_packages(inventory: Inventory, report: PackageReport, options: QueryOptions) -> Inventory:
    if not options.parts & _BY_PACKAGE_MANAGER:
        return inventory
    missing = list(inventory.missing)
    if report.pending.security_count is None:
        missing.append("which updates are security updates: the archives do not tell")
    installed = inventory.installed or report.installed
    unknown = {
        str(InventoryPart.PACKAGES): not installed,
        str(InventoryPart.PENDING): report.pending.queried_at is None,
    }
    return replace(
        inventory,
        installed=installed,
        sources={part: s for part, s in inventory.sources.items() if not unknown.get(part)},
        missing=tuple(missing),
    )


@parser
def parse_preflight(output: bytes) -> Preflight:
    """Understand the output of `preflight_script`. Raises ParseFailed."""
    parts = parse_parts(output, expected=(*FACT_PARTS, "manager"))
    facts, detection = _host(parts)
    if facts.immutability is not None:
        return _immutable(facts, detection)
    if detection.manager is None:
        return Preflight(facts=facts, manager=None, problems=(_no_manager(facts, detection),))
    problems = detection.manager.parse_preflight(parts, facts)
    return Preflight(facts=facts, manager=detection.manager, problems=problems)


def _immutable(facts: HostFacts, detection: Detection) -> Preflight:
    """A host whose packages are not to be changed. Nothing of it is repaired, whatever it may have."""
    found = facts.immutability
    assert found is not None
    problems: list[PackageError] = [ImmutableSystem(why=found.why, instead=found.instead)]
    if facts.privilege is Privilege.NONE:
        problems.append(NotPrivileged(user=facts.user, text=facts.sudo_message))
    return Preflight(facts=facts, manager=detection.manager, problems=tuple(problems))


def _host(parts: Mapping[str, Part]) -> tuple[HostFacts, Detection]:
    """The facts, with what was concluded from them."""
    facts = parse_facts(parts)
    detection = parse_detection(parts, facts)
    image = facts.immutability is not None and facts.immutability.image
    system = replace(
        facts.system,
        package_manager=detection.manager.name if detection.manager and not image else "",
        concluded=(detection.why, *facts.concluded),
    )
    return replace(facts, system=system), detection


def _no_manager(facts: HostFacts, detection: Detection) -> NoPackageManager:
    return NoPackageManager(os_name=facts.system.os_name, found=detection.found)


def _evidence(parts: Mapping[str, Part], facts: HostFacts, report: PackageReport) -> RebootEvidence:
    required, asking = parse_reboot_required(parts["reboot_required"])
    needrestart = parts.get("needrestart")
    status, expected = parse_needrestart(needrestart.stdout if needrestart else "")
    return RebootEvidence(
        required=required,
        asking=asking,
        container=facts.system.container,
        running=facts.system.kernel,
        build=facts.kernel_build,
        kernels=report.kernels,
        owners=parse_kernel_owners(parts.get("kernel_owners")),
        kernel_status=status,
        expected=expected,
        family=report.reboot,
    )


def _reboot_of_image(parts: Mapping[str, Part], facts: HostFacts) -> Reboot:
    if facts.immutability is not None and facts.immutability.staged:
        return Reboot(need=RebootNeed.NEEDED, reason="a new image of the system is staged")
    found = _reboot_without_packages(parts, facts)
    if found.need is not RebootNeed.UNKNOWN:
        return found
    return Reboot(
        need=RebootNeed.UNKNOWN, reason="it is unknown whether a new system image is staged"
    )


def _reboot_without_packages(parts: Mapping[str, Part], facts: HostFacts) -> Reboot:
    required, asking = parse_reboot_required(parts["reboot_required"])
    if required or facts.system.container:
        return decide_reboot(
            RebootEvidence(required=required, asking=asking, container=facts.system.container)
        )
    return Reboot(need=RebootNeed.UNKNOWN, reason="no package manager that knows the kernels")
