"""Hosts, formatted for people."""

from collections.abc import Sequence

from tendhost.client import (
    AfterInterruption,
    Host,
    HostTest,
    Inventory,
    LoginFiles,
    Operation,
    PendingPackage,
    RebootOutcome,
    RestartServices,
    RootAccess,
    UpdateScope,
)
from tendhost.client.cli.console import (
    Cell,
    coloured,
    draw,
    say,
    say_incomplete,
    shortened,
    show,
    styled,
    table,
)
from tendhost.client.cli.formatting import ago, counted, duplicate_words, window_words
from tendhost.client.cli.render.health import checks_words, hooks_words
from tendhost.client.cli.session import print_text


def hosts(found: Sequence[Host]) -> None:
    """The fleet."""
    if not found:
        say("no hosts")
        return
    columns = ("NAME", "STATE", "PENDING", "SECURITY", "REBOOT", "UPDATED", "TAGS", "PROBLEM")
    draw(table(columns, (_host_row(host) for host in found)))
    say_incomplete(*((host.name, host.incomplete) for host in found))


def _host_row(host: Host) -> tuple[Cell, ...]:
    known = host.queried_at is not None
    return (
        host.name,
        coloured(str(host.state)),
        str(host.pending_updates) if known else "?",
        _count(host.pending_security_updates) if known else "?",
        {"needed": "needed", "not_needed": "no"}.get(str(host.reboot.need), "?"),
        ago(host.last_updated),
        ",".join(host.tags),
        shortened(host.error),
    )


def _count(number: int | None) -> str:
    return "?" if number is None else str(number)


def _security_words(number: int | None) -> str:
    if number is None:
        return "security updates unknown"
    return f"{number} of them security updates"


def host(found: Host) -> None:
    """All that is known of one host."""
    reboot = str(found.reboot.need).replace("_", " ")
    if found.reboot.reason:
        reboot += f" ({found.reboot.reason})"
    pending = "unknown: this host has never been queried"
    if found.queried_at is not None:
        pending = f"{found.pending_updates}, {_security_words(found.pending_security_updates)}"
        pending += f" (queried {ago(found.queried_at)})"
    lines: dict[str, Cell] = {
        "name": found.name,
        "state": coloured(str(found.state)),
        "address": found.address if found.address == "local" else _address(found),
        "jump": found.jump or "none",
        "use": "only as a jump for other hosts" if found.jump_only else "queried and updated",
        "host key": _host_keys(found),
        "system": found.os_name or "unknown",
        "tags": ", ".join(found.tags) or "none",
        "groups": ", ".join(found.groups) or "none",
        "compose projects": ", ".join(found.compose_paths) or "none",
        "pending": pending,
        "reboot": reboot,
        "automatic reboot": "yes" if found.auto_reboot else "no",
        "after an interruption": {
            AfterInterruption.UPGRADE: "repair, then upgrade again",
            AfterInterruption.REPAIR: "repair only",
        }.get(found.after_interruption, "unknown"),
        "windows": " or ".join(map(window_words, found.windows))
        or "inherited from its groups and the fleet",
        "updates change": scope_words(found.scope),
        "outdated services": {
            RestartServices.NEVER: "only listed",
            RestartServices.RESTART: "restarted after an update",
            RestartServices.REBOOT: "a reason to reboot",
        }.get(found.restart_services, "unknown"),
        "snapshots": str(found.snapshots).replace("_", " "),
        "hooks": hooks_words(found.hooks),
        "health checks": checks_words(found.health_checks),
        "rollback": "when unhealthy" if str(found.rollback) == "unhealthy" else "never",
        "healthy": {None: "never checked", True: "yes", False: "no"}[found.healthy],
        "updated": ago(found.last_updated),
    }
    if found.duplicate_of:
        others = "; ".join(map(duplicate_words, found.duplicate_of))
        lines["duplicate of"] = styled(others, "yellow")
    if found.error:
        lines["last problem"] = found.error
    show(lines)
    say_incomplete((found.name, found.incomplete))
    if found.failure is None:
        return
    failure = found.failure
    retries = f", retried {counted(failure.retry_count, 'time')}" if failure.retry_count else ""
    when = f" in step {failure.step}, {ago(failure.failed_at)}{retries}: "
    say("")
    say(coloured("failed"), when, failure.problem.message)
    seen = (
        f"acknowledged by {failure.acknowledged_by}"
        if failure.acknowledged_by
        else "not acknowledged"
    )
    say(f"  {seen}; fix the cause, then run: tendhost retry {found.name}")


def login_files(name: str, found: LoginFiles) -> None:
    """The files for the login on a host, to be copied from the terminal."""
    lines = [
        f"# On {name}, ~{found.user}/.ssh/authorized_keys:",
        *found.authorized_keys.splitlines(),
    ]
    if found.sudoers:
        lines += ["", f"# On {name}, /etc/sudoers.d/tendhost:", *found.sudoers.splitlines()]
    else:
        lines += ["", f"# {found.user} needs no sudoers file."]
    print_text("\n".join(lines) + "\n")


def host_test(found: HostTest) -> None:
    """What a test of the login on a host found out, a line for each fact."""
    key = "unknown"
    if found.host_key_fingerprint:
        pinned = "is" if found.host_key_pinned else "is not"
        key = f"{found.host_key_fingerprint}, which {pinned} the pinned key"
    user = f", as {found.user}" if found.user else ""
    lines: dict[str, Cell] = {
        "reachable": "yes" if found.reachable else "no",
        "host key": key,
        "login": f"yes{user}" if found.logged_in else "no",
        "root": {
            RootAccess.ROOT: "the user is root",
            RootAccess.SUDO: "with sudo -n",
            RootAccess.NONE: "no",
        }.get(found.root_access, "unknown"),
        "duration": f"{found.duration.total_seconds():.2f} s",
    }
    if found.problem is not None:
        lines["problem"] = found.problem.message
    show(lines)


def scope_words(scope: UpdateScope) -> str:
    """What of the pending updates is wanted, in words."""
    words = ["security updates" if scope.security_only else "everything"]
    if scope.include:
        words.append(f"only packages {', '.join(scope.include)}")
    if scope.exclude:
        words.append(f"except packages {', '.join(scope.exclude)}")
    if scope.allow_removals:
        words.append("removals allowed")
    if scope.autoremove:
        words.append("unused dependencies removed")
    if scope.download_first:
        words.append("everything downloaded first")
    return ", ".join(words)


def _host_keys(found: Host) -> str:
    keys = ", ".join(found.host_key_fingerprints) or found.host_key_fingerprint or "none"
    return f"{keys}, certified by its host authority" if found.host_key_certified else keys


def _address(found: Host) -> str:
    address = f"[{found.address}]" if ":" in found.address else found.address
    return f"{found.user}@{address}:{found.port}"


def inventory(found: Inventory) -> None:
    """What is installed and pending on a host."""
    say(
        f"{found.os_name}, kernel {found.kernel}, {found.architecture};"
        f" queried {ago(found.collected_at)}"
    )
    if found.pending_updates:
        say("")
        rows = (
            (
                p.name,
                p.from_version or _new(p),
                p.to_version,
                {True: "security", False: "", None: "?"}[p.security],
                "" if str(p.withheld) == "no" else str(p.withheld).replace("_", " "),
            )
            for p in found.pending_updates
        )
        draw(table(("PENDING", "FROM", "TO", "", "WITHHELD"), rows))
    say("")
    draw(table(("INSTALLED", "VERSION"), ((p.name, p.version) for p in found.packages)))
    say_incomplete((found.host, found.incomplete))


def _new(package: PendingPackage) -> str:
    return f"(for {', '.join(package.replaces)})" if package.replaces else "(new)"


def reboot_sentence(found: Operation) -> str:
    """What became of a reboot that was wanted only if required; empty: of any other one."""
    why = found.reboot_reason
    match found.reboot_outcome:
        case RebootOutcome.NOT_NEEDED:
            return "no reboot needed"
        case RebootOutcome.UNKNOWN:
            why = f": {why}" if why else ""
            return f"unknown whether a reboot is needed{why}; not rebooted"
        case _:
            return f"rebooted ({why})" if why else ""
