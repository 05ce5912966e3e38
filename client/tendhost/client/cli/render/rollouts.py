"""Rollouts and their plans, formatted for people."""

from collections.abc import Iterator, Sequence
from datetime import timedelta

from tendhost.client import (
    Halt,
    HaltCause,
    HostFilter,
    PlannedHost,
    Progress,
    Rollout,
    RolloutHost,
    RolloutPlan,
    RolloutStatus,
    RolloutWave,
)
from tendhost.client.cli.console import coloured, draw, say, say_incomplete, table
from tendhost.client.cli.formatting import ago, at_time, counted, span
from tendhost.client.cli.render.tokens import scope


def rollouts(found: Sequence[Rollout]) -> None:
    """Rollouts, newest first."""
    if not found:
        say("no rollouts")
        return
    columns = ("ID", "STATUS", "WAVE", "HOSTS", "DONE", "FAILED", "SKIPPED", "STARTED")
    rows = (
        (
            r.id,
            coloured(str(r.status)),
            f"{r.wave}/{r.wave_count}",
            str(r.progress.total_hosts),
            str(r.progress.completed),
            str(r.progress.failed + r.progress.rolled_back),
            str(r.progress.skipped),
            ago(r.created_at),
        )
        for r in found
    )
    draw(table(columns, rows))
    say_incomplete(*((r.id, r.incomplete) for r in found))


def rollout(found: Rollout, members: Sequence[RolloutHost]) -> None:
    """One rollout with its hosts."""
    kind = " (dry run)" if found.spec.dry_run else ""
    say(f"{found.id}{kind}  ", coloured(str(found.status)), f"  {sentence(found)}")
    tell_situation(found)
    _say_bound(found.bound_to)
    say_notes(found.notes)
    rows = (
        (m.host, str(m.wave), coloured(str(m.status)), m.operation_id, m.detail) for m in members
    )
    draw(table(("HOST", "WAVE", "STATUS", "OPERATION", ""), rows))
    say_incomplete((found.id, found.incomplete), *((m.host, m.incomplete) for m in members))


def sentence(found: Rollout) -> str:
    """The numbers of a rollout."""
    total = counted(found.progress.total_hosts, "host")
    words = f"wave {found.wave} of {found.wave_count}; {total}: {counts(found.progress)}"
    return words + reboots_left(found)


def reboots_left(found: Rollout) -> str:
    """How many updated hosts still need a reboot; empty: none."""
    count = found.reboots_left_count
    need = "needs" if count == 1 else "need"
    return f"; {counted(count, 'host')} still {need} a reboot" if count else ""


def counts(progress: Progress) -> str:
    """The number of hosts in each status, without those that are 0."""
    parts = {
        "pending": progress.pending,
        "waiting": progress.waiting,
        "in progress": progress.in_progress,
        "completed": progress.completed,
        "failed": progress.failed,
        "rolled back": progress.rolled_back,
        "skipped": progress.skipped,
    }
    return ", ".join(f"{count} {word}" for word, count in parts.items() if count)


def situation(found: Rollout) -> str:
    """What a rollout waits for, or when it will end, and when it expires; empty: there is nothing to say."""
    return "\n".join(line for line in (_next(found), _expiry(found)) if line)


def _expiry(found: Rollout) -> str:
    left = found.progress.pending + found.progress.waiting
    if found.ended or found.expires_at is None or not left:
        return ""
    if found.status in (RolloutStatus.CANCELLED, RolloutStatus.EXPIRED):
        return ""
    return f"expires {at_time(found.expires_at)}: hosts that have not started by then are skipped"


def _next(found: Rollout) -> str:
    if found.ended:
        return ""
    if found.status is RolloutStatus.PAUSED:
        return f"paused; to continue: tendhost rollout resume {found.id}"
    if found.status in (RolloutStatus.CANCELLED, RolloutStatus.EXPIRED):
        running = counted(found.progress.in_progress, "running operation")
        return f"ends with its {running}" if found.progress.in_progress else ""
    if found.halt is not None:
        return _halted(found, found.halt)
    if found.approval_until is not None:
        return (
            f"wave {found.wave + 1} waits for an approval until {at_time(found.approval_until)}:"
            f" tendhost rollout approve {found.id} {found.wave + 1}"
        )
    if found.held_up:
        return f"held up: {found.held_up}"
    if found.settling_since is not None:
        until = at_time(found.settling_since + (found.spec.settle or timedelta()))
        return f"wave {found.wave} settles until {until}, if its hosts stay healthy"
    if found.next_wave_at is not None:
        return f"wave {found.wave + 1} starts {at_time(found.next_wave_at)}"
    if found.expected_end is not None:
        return f"expected to end {at_time(found.expected_end)}"
    return _waits(found)


def _halted(found: Rollout, halt: Halt) -> str:
    ways = []
    if found.progress.failed or found.progress.rolled_back:
        ways.append(f"  tendhost rollout retry {found.id}   to retry the failed hosts")
    more = "; add --max-failures to allow more failures"
    with_more = more if halt.cause is HaltCause.FAILURES else ""
    if halt.cause is HaltCause.REBOOT_LEFT:
        with_more = "; add --ignore-reboots-left to continue without these reboots"
    ways.append(f"  tendhost rollout resume {found.id}  to continue{with_more}")
    ways.append(f"  tendhost rollout cancel {found.id}  to end it")
    return "\n".join((f"halted: {halt.message}", *ways))


def _waits(found: Rollout) -> str:
    """What the hosts that are left of the current wave wait for, if all of them wait."""
    if not found.progress.waiting or found.progress.in_progress:
        return ""
    hosts = counted(found.progress.waiting, "waiting host")
    if found.opens_at is None:
        return f"wave {found.wave}: {hosts}; the end cannot be estimated before they start"
    opens = f"the first may be changed {at_time(found.opens_at)}"
    if found.expires_at is not None and found.opens_at >= found.expires_at:
        opens += ", after the rollout has expired"
    return f"wave {found.wave} waits for the windows of its {hosts}: {opens}"


def _say_bound(bound_to: HostFilter | None) -> None:
    if bound_to is not None:
        say(f"bound to hosts of {scope(bound_to)}, as they are labelled when their turn comes")


def say_notes(notes: Sequence[str]) -> None:
    """Print what the definition of a rollout means for its hosts."""
    for note in notes:
        say(f"note: {note}")


def tell_situation(found: Rollout) -> None:
    """Print what a rollout waits for, if it waits for anything."""
    for line in situation(found).splitlines():
        say(line)


def _waves(found: Sequence[RolloutWave]) -> Iterator[tuple[str, str]]:
    return ((f"wave {wave.number}", wave.incomplete) for wave in found)


def plan(made: RolloutPlan, hosts: Sequence[PlannedHost]) -> None:
    """A plan with its hosts."""
    exclusion = [host for host in hosts if not host.wave]
    say(
        f"plan {made.id}: {counted(made.host_count, 'host')} in"
        f" {counted(made.wave_count, 'wave')}, about {span(made.expected_duration)}"
    )
    if made.not_selected_count:
        say(f"not selected: {counted(made.not_selected_count, 'host')}")
    _say_bound(made.bound_to)
    stages = {wave.number: wave.stage for wave in made.waves}
    rows = (
        (str(host.wave), stages.get(host.wave, ""), host.host, host.detail)
        for host in hosts
        if host.wave
    )
    draw(table(("WAVE", "STAGE", "HOST", "EXPECTED"), rows))
    if exclusion:
        draw(table(("EXCLUDED", "WHY"), ((host.host, host.detail) for host in exclusion)))
    say_incomplete((made.id, made.incomplete), *_waves(made.waves))
    say_notes(made.notes)
    for warning in made.warnings:
        say(f"would be held up now: {warning}")
    say(f"to start it: tendhost rollout start --plan {made.id}")
