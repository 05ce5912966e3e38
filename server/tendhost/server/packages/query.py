"""The whole question to a host as one script, and what its answer means.

`query_script` asks everything: facts, health, pending updates, inventory, reboot. With
`refresh=False` it is also the look after an update. `preflight_script` asks what must be known
before a change. Both run as the user who logged in and use `sudo -n` only where root is needed. Both
work on any Linux host: the script itself chooses the package manager to ask, and without one there are
the facts, and NoPackageManager among the problems.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from tendhost.server.domain.inventory import Inventory, Pending, Reboot, RebootNeed
from tendhost.server.packages.errors import NoPackageManager, PackageError
from tendhost.server.packages.families import (
    PACKAGE_MANAGERS,
    Choice,
    choice_lines,
    parse_choice,
)
from tendhost.server.packages.native import FACT_PARTS, FACTS, NativeFacts, parse_facts
from tendhost.server.packages.package_manager import PackageManager, PackageReport
from tendhost.server.packages.reboot import (
    REBOOT,
    RebootEvidence,
    decide_reboot,
    parse_needrestart,
    parse_reboot_required,
)
from tendhost.server.packages.script import Part, framed_script, parse_parts


def query_script(*, refresh: bool, lock_timeout: timedelta) -> str:
    """The script for sh that asks everything.

    `lock_timeout` bounds the wait for another user of the package lists, which are fetched anew where
    `refresh` is asked for.
    """
    return framed_script(
        FACTS,
        choice_lines(),
        _each(lambda known: known.query_lines(refresh=refresh, lock_timeout=lock_timeout)),
        REBOOT,
    )


def preflight_script(*, lock_timeout: timedelta) -> str:
    """The script for sh that asks whether the host is fit for a change."""
    return framed_script(
        FACTS,
        choice_lines(),
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
    After a RefreshFailed or LockHeld, `pending` is what the old lists say. `pending.queried_at` is
    None where the pending packages could not be listed.
    """

    facts: NativeFacts
    manager: PackageManager | None
    """None: none that tendhost knows."""
    inventory: Inventory
    pending: Pending
    reboot: Reboot
    problems: tuple[PackageError, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Preflight:
    """Whether a host is fit for a change: it is where there are no problems."""

    facts: NativeFacts
    manager: PackageManager | None
    problems: tuple[PackageError, ...] = ()


def parse_query(output: bytes, *, at: datetime) -> QueryResult:
    """Understand the output of `query_script`; `at` is when it was asked. Raises ParseFailed."""
    parts = parse_parts(output, expected=(*FACT_PARTS, "manager", "reboot_required"))
    facts, choice = _host(parts)
    manager = choice.manager
    if manager is None:
        return QueryResult(
            facts=facts,
            manager=None,
            inventory=Inventory(system=facts.system, collected_at=at),
            pending=Pending(),
            reboot=_reboot_without_packages(parts, facts),
            problems=(_no_manager(facts, choice),),
        )
    report = manager.parse_query(parts, facts, at)
    return QueryResult(
        facts=facts,
        manager=manager,
        inventory=Inventory(system=facts.system, installed=report.installed, collected_at=at),
        pending=report.pending,
        reboot=decide_reboot(_evidence(parts, facts, report)),
        problems=report.problems,
    )


def parse_preflight(output: bytes) -> Preflight:
    """Understand the output of `preflight_script`. Raises ParseFailed."""
    parts = parse_parts(output, expected=(*FACT_PARTS, "manager"))
    facts, choice = _host(parts)
    if choice.manager is None:
        return Preflight(facts=facts, manager=None, problems=(_no_manager(facts, choice),))
    problems = choice.manager.parse_preflight(parts, facts)
    return Preflight(facts=facts, manager=choice.manager, problems=problems)


def _host(parts: Mapping[str, Part]) -> tuple[NativeFacts, Choice]:
    """The facts, with what was concluded from them."""
    facts = parse_facts(parts)
    choice = parse_choice(parts, facts)
    system = replace(
        facts.system,
        package_manager=choice.manager.name if choice.manager else "",
        concluded=(choice.why, *facts.concluded),
    )
    return replace(facts, system=system), choice


def _no_manager(facts: NativeFacts, choice: Choice) -> NoPackageManager:
    return NoPackageManager(os_name=facts.system.os_name, found=choice.found)


def _evidence(
    parts: Mapping[str, Part], facts: NativeFacts, report: PackageReport
) -> RebootEvidence:
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
        kernel_status=status,
        expected=expected,
        family=report.reboot,
    )


def _reboot_without_packages(parts: Mapping[str, Part], facts: NativeFacts) -> Reboot:
    required, asking = parse_reboot_required(parts["reboot_required"])
    if required or facts.system.container:
        return decide_reboot(
            RebootEvidence(required=required, asking=asking, container=facts.system.container)
        )
    return Reboot(need=RebootNeed.UNKNOWN, reason="no package manager that knows the kernels")
