"""The whole question to a host as one script, and what its answer means.

`query_script` asks everything: facts, health, pending updates, inventory, reboot. With
`refresh=False` it is also the look after an update. `preflight_script` asks what must be known
before a change. Both run as the user who logged in and use `sudo -n` only where root is needed. Both
work on any Linux host: without apt there are the facts, and NoPackageManager among the problems.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from tendhost.server.domain.inventory import Inventory, Pending, Reboot, RebootNeed
from tendhost.server.packages.apt import POLICY
from tendhost.server.packages.dpkg import (
    HEALTH,
    DatabaseHealth,
    InstalledPackages,
    parse_health,
    parse_installed,
    parse_interrupted,
)
from tendhost.server.packages.errors import (
    ArchiveUntrusted,
    DiskFull,
    LockHeld,
    NoPackageManager,
    NotPrivileged,
    PackageCommandFailed,
    PackageDatabaseBroken,
    PackageError,
    RefreshFailed,
)
from tendhost.server.packages.failures import FailureKind, diagnose, lock_holder
from tendhost.server.packages.listing import parse_policy, parse_simulation, pending_packages
from tendhost.server.packages.native import (
    FACT_PARTS,
    FACTS,
    NativeFacts,
    Privilege,
    parse_facts,
)
from tendhost.server.packages.reboot import (
    REBOOT,
    RebootEvidence,
    decide_reboot,
    installed_kernels,
    parse_needrestart,
    parse_reboot_required,
)
from tendhost.server.packages.script import Part, framed_script, parse_parts, require

_IF_APT = 'case " "$(echo $managers)" " in *" apt-get "*)'

# DPkg::Lock::Timeout covers dpkg's locks and not that of the lists, so the wait is the script's
# own. Error-Mode=any: without it a source that cannot be reached leaves the exit status 0.
_PATIENTLY = r"""
patiently() {
  left=$1; shift
  while words=$(as_root "$@" 2>&1); rc=$?; [ $rc != 0 ]; do
    case $words in *'Could not get lock'*) ;; *) break ;; esac
    [ "$left" -gt 0 ] || break
    sleep 1; left=$((left - 1))
  done
  printf '%s\n' "$words" >&2
  return $rc
}
""".strip()
_UPDATE = "apt-get -qq -o APT::Update::Error-Mode=any update"


def query_script(*, refresh: bool, lock_timeout: timedelta) -> str:
    """The script for sh that asks everything; `lock_timeout` bounds the wait for apt's lists."""
    update = (
        f'[ "$privileged" != 0 ] || part refresh patiently {_seconds(lock_timeout)} {_UPDATE}'
        if refresh
        else ":"
    )
    return framed_script(
        FACTS,
        HEALTH,
        _PATIENTLY,
        _IF_APT,
        update,
        "part interrupted interrupted",
        "part simulation apt-get -s --with-new-pkgs upgrade",
        POLICY,
        "part installed installed",
        ";; esac",
        REBOOT,
    )


def preflight_script(*, lock_timeout: timedelta) -> str:
    """The script for sh that asks whether the host is fit for a change.

    `apt-get check` takes dpkg's lock for a moment, so that it names who holds it, and looks for
    unmet dependencies and an interrupted dpkg.
    """
    return framed_script(
        FACTS,
        HEALTH,
        _PATIENTLY,
        _IF_APT,
        "part interrupted interrupted",
        "part unsound unsound",
        f'[ "$privileged" != 0 ] || part check patiently {_seconds(lock_timeout)} apt-get -q check',
        ";; esac",
    )


def _seconds(duration: timedelta) -> int:
    return max(0, math.ceil(duration.total_seconds()))


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryResult:
    """What a query learnt.

    `problems` say what could not be learnt or must be mended; what they do not touch is filled.
    After a RefreshFailed or LockHeld, `pending` is what the old lists say. `pending.queried_at` is
    None where the pending packages could not be listed.
    """

    facts: NativeFacts
    inventory: Inventory
    pending: Pending
    reboot: Reboot
    health: DatabaseHealth
    problems: tuple[PackageError, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Preflight:
    """Whether a host is fit for a change: it is where there are no problems."""

    facts: NativeFacts
    health: DatabaseHealth
    problems: tuple[PackageError, ...] = ()


def parse_query(output: bytes, *, at: datetime) -> QueryResult:
    """Understand the output of `query_script`; `at` is when it was asked. Raises ParseFailed."""
    parts = parse_parts(output, expected=(*FACT_PARTS, "reboot_required"))
    facts = parse_facts(parts)
    if not facts.system.package_manager:
        return QueryResult(
            facts=facts,
            inventory=Inventory(system=facts.system, collected_at=at),
            pending=Pending(),
            reboot=_reboot_without_packages(parts, facts),
            health=DatabaseHealth(),
            problems=(_no_manager(facts),),
        )
    require(parts, "interrupted", "simulation", "installed")
    problems: list[PackageError] = []
    if "refresh" in parts:
        problems += _refresh_problems(parts["refresh"])
    elif facts.privilege is Privilege.NONE:
        problems.append(_not_privileged(facts))
    installed, unreadable = _installed(parts["installed"])
    health = DatabaseHealth(
        interrupted=parse_interrupted(parts["interrupted"].stdout),
        unconfigured=installed.unconfigured,
        half_installed=installed.half_installed,
    )
    pending, refused = _pending(parts, installed, at)
    found = (unreadable, health.problem(), refused)
    problems += [problem for problem in found if problem is not None]
    return QueryResult(
        facts=facts,
        inventory=Inventory(system=facts.system, installed=installed.packages, collected_at=at),
        pending=pending,
        reboot=decide_reboot(_evidence(parts, facts, installed)),
        health=health,
        problems=tuple(problems),
    )


def parse_preflight(output: bytes) -> Preflight:
    """Understand the output of `preflight_script`. Raises ParseFailed."""
    parts = parse_parts(output, expected=FACT_PARTS)
    facts = parse_facts(parts)
    if not facts.system.package_manager:
        return Preflight(facts=facts, health=DatabaseHealth(), problems=(_no_manager(facts),))
    require(parts, "interrupted", "unsound")
    unreadable = _unreadable(parts["unsound"])
    health = parse_health(
        parts["interrupted"].stdout, "" if unreadable else parts["unsound"].stdout
    )
    problems: list[PackageError] = [p for p in (unreadable, health.problem()) if p is not None]
    if "check" not in parts:
        problems.append(_not_privileged(facts))
    elif parts["check"].status != 0:
        problem = apt_problem("apt-get check", parts["check"].status, parts["check"].stderr)
        # apt has no more to say of a broken database than is known by now.
        if not (problems and isinstance(problem, PackageDatabaseBroken)):
            problems.append(problem)
    return Preflight(facts=facts, health=health, problems=tuple(problems))


def apt_problem(command: str, exit_status: int, output: str) -> PackageError:
    """The error for a failed apt or dpkg command that should have changed nothing."""
    failure = diagnose(exit_status, output)
    match failure.kind:
        case FailureKind.LOCK_HELD if holder := lock_holder(output):
            return LockHeld(path=holder.path, pid=holder.pid, command=holder.command)
        case FailureKind.DISK_FULL:
            return DiskFull(words=failure.reason)
        case FailureKind.DPKG_INTERRUPTED:
            return PackageDatabaseBroken(words="dpkg was interrupted", repairable=True)
        case FailureKind.DATABASE_UNREADABLE | FailureKind.REINSTALL_IMPOSSIBLE:
            return PackageDatabaseBroken(words=failure.reason, repairable=False)
        case FailureKind.UNMET_DEPENDENCIES:
            return PackageDatabaseBroken(
                words="dependencies are unmet", packages=failure.packages, repairable=False
            )
    return PackageCommandFailed(command=command, exit_status=exit_status, words=failure.reason)


def _no_manager(facts: NativeFacts) -> NoPackageManager:
    return NoPackageManager(os_name=facts.system.os_name, found=facts.managers)


def _not_privileged(facts: NativeFacts) -> NotPrivileged:
    return NotPrivileged(user=facts.user, words=facts.privilege_words)


# E: Failed to fetch http://deb.example.org/dists/bookworm/InRelease  Could not connect to …
# E: The repository 'http://deb.example.org bookworm Release' does not have a Release file.
_FETCH = re.compile(r"^[EW]: Failed to fetch (\S+) +(.*)$", re.MULTILINE)
_REPOSITORY = re.compile(r"^[EW]: The repository '([^'\n]+)' (.*)$", re.MULTILINE)
# W: GPG error: …: The following signatures couldn't be verified because …: NO_PUBKEY 2EF30D53F48FF7B1
# E: The repository 'http://deb.example.org bookworm InRelease' is not signed.
# E: Release file for http://deb.example.org/InRelease is expired (invalid since 2d 3h 4min 5s). …
_DISTRUST = re.compile(
    r"The following signatures .*|Release file for \S+ is (?:expired|not valid yet).*"
    r"|The repository '[^'\n]+' is (?:not|no longer) signed\."
)


def _refresh_problems(part: Part) -> list[PackageError]:
    failed = _FETCH.findall(part.stderr) or _REPOSITORY.findall(part.stderr)
    # An apt that does not know Error-Mode ends with 0 and a warning.
    if part.status == 0 and not failed:
        return []
    problem = apt_problem(_UPDATE, part.status, part.stderr)
    if isinstance(problem, LockHeld | DiskFull | PackageDatabaseBroken):
        return [problem]
    sources = tuple(dict.fromkeys(address for address, _ in failed))
    words = failed[0][1] if failed else diagnose(part.status, part.stderr).reason
    if distrust := _DISTRUST.search(part.stderr):
        return [ArchiveUntrusted(sources=sources, words=distrust[0])]
    return [RefreshFailed(sources=sources, words=words)]


def _installed(part: Part) -> tuple[InstalledPackages, PackageDatabaseBroken | None]:
    unreadable = _unreadable(part)
    return (InstalledPackages() if unreadable else parse_installed(part.stdout)), unreadable


def _unreadable(part: Part) -> PackageDatabaseBroken | None:
    if part.status == 0:
        return None
    words = f"dpkg-query cannot read the package database: {part.words}"
    return PackageDatabaseBroken(words=words, repairable=False)


def _pending(
    parts: Mapping[str, Part], installed: InstalledPackages, at: datetime
) -> tuple[Pending, PackageError | None]:
    part = parts["simulation"]
    if part.status != 0:
        output = f"{part.stdout}\n{part.stderr}"
        return Pending(), apt_problem("apt-get -s upgrade", part.status, output)
    simulation = parse_simulation(part.stdout, part="simulation")
    policies = parse_policy(parts["policy"].stdout) if "policy" in parts else {}
    packages = pending_packages(simulation, policies, installed.held)
    return Pending(packages=packages, queried_at=at), None


def _evidence(
    parts: Mapping[str, Part], facts: NativeFacts, installed: InstalledPackages
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
        kernels=installed_kernels(installed.packages) if installed.packages else None,
        kernel_status=status,
        expected=expected,
    )


def _reboot_without_packages(parts: Mapping[str, Part], facts: NativeFacts) -> Reboot:
    required, asking = parse_reboot_required(parts["reboot_required"])
    if required or facts.system.container:
        return decide_reboot(
            RebootEvidence(required=required, asking=asking, container=facts.system.container)
        )
    return Reboot(need=RebootNeed.UNKNOWN, reason="no package manager that knows the kernels")
