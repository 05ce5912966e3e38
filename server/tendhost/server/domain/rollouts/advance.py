"""What a rollout does next: pure, and idempotent.

`advance` takes a rollout, its current wave and the time. Called again before its decision was carried
out, it returns the same decision, so that the next server continues where a killed one stopped. It uses
counts only, so its cost does not depend on the number of hosts in a wave.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from tendhost.server.domain.abbreviation import abbreviated
from tendhost.server.domain.rollouts.budgets import overspent, tolerated
from tendhost.server.domain.rollouts.clock import bounded
from tendhost.server.domain.rollouts.rollout import (
    NAMED_FAILURES,
    Halt,
    HaltCause,
    Rollout,
    RolloutStatus,
    Wave,
)
from tendhost.server.domain.rollouts.settling import settling_from


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Start at most `room` members of the current wave."""

    room: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Wait until `until`, or, without it, until a member ends or a user changes the rollout."""

    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Save:
    """Store `rollout` and call `advance` again."""

    rollout: Rollout


@dataclass(frozen=True, slots=True, kw_only=True)
class Enter:
    """Run the hooks before the wave `rollout.wave`, start it, store `rollout` and call `advance` again."""

    rollout: Rollout


@dataclass(frozen=True, slots=True, kw_only=True)
class Leave:
    """Run the hooks after the current wave, store `rollout` and call `advance` again."""

    rollout: Rollout


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckWave:
    """Begin or continue a health round of the updated hosts of the current wave, with `rollout`."""

    rollout: Rollout


@dataclass(frozen=True, slots=True, kw_only=True)
class SkipRest:
    """Skip every member that has not started."""


Decision = Start | Wait | Save | Enter | Leave | CheckWave | SkipRest


_WINDING_UP = frozenset({RolloutStatus.CANCELLED, RolloutStatus.EXPIRED})
_AT_REST = frozenset({RolloutStatus.PAUSED, RolloutStatus.HALTED})


def advance(rollout: Rollout, wave: Wave, now: datetime, *, at_once: int) -> Decision:
    """What to do next with a rollout whose current wave is `wave`.

    `at_once` is the number of members of one rollout that may be in progress, whatever the size of the wave.
    """
    if rollout.over:
        return Wait()
    in_bounds = bounded(rollout, now)
    if in_bounds != rollout:
        # The clock was put back: no wait is longer than the user asked for.
        return Save(rollout=in_bounds)
    if rollout.status in _WINDING_UP:
        return _wind_up(rollout, now)
    if rollout.expires_at is not None and now >= rollout.expires_at and _has_more_ahead(rollout):
        return Save(rollout=expired(rollout))
    if rollout.status in _AT_REST:
        return Wait(until=rollout.expires_at)
    if overspent(rollout.spec.max_failures, rollout.progress):
        # In the last wave, too: nobody has to look for failures in a rollout that counts as completed.
        return Save(rollout=halted(rollout, _failures_halt(rollout, now)))
    if rollout.status is RolloutStatus.AWAITING_APPROVAL:
        return _awaiting_approval(rollout, now)
    if rollout.next_wave_at is not None:
        return _between_waves(rollout, wave, now)
    if wave.started_at is None:
        return Enter(rollout=rollout)
    if wave.progress.not_begun:
        room = at_once - rollout.progress.in_progress
        return Start(room=room) if room > 0 else Wait(until=rollout.expires_at)
    if wave.progress.in_progress:
        return Wait(until=rollout.expires_at if rollout.progress.not_begun else None)
    return _wave_over(rollout, wave, now)


def _has_more_ahead(rollout: Rollout) -> bool:
    """Whether the rollout has more ahead than the end of its running operations."""
    return (
        rollout.progress.not_begun > 0
        or rollout.next_wave_at is not None
        or rollout.status is not RolloutStatus.RUNNING
    )


def expired(rollout: Rollout) -> Rollout:
    """The rollout after its time limit has passed: members that have not started are skipped."""
    return replace(
        rollout,
        status=RolloutStatus.EXPIRED,
        next_wave_at=None,
        settling=None,
        approval_until=None,
        expired_while=_situation(rollout),
    )


def _situation(rollout: Rollout) -> str:
    """What the rollout does, or waits for, as text."""
    wave = f"wave {rollout.wave + 1} of {rollout.waves}"
    if rollout.halt is not None:
        return f"the rollout had halted: {rollout.halt.message}"
    if rollout.status is RolloutStatus.PAUSED:
        return "the rollout was paused"
    if rollout.status is RolloutStatus.AWAITING_APPROVAL:
        return f"nobody had approved wave {rollout.wave + 2}"
    if rollout.settling is not None:
        return f"{wave} had not settled"
    if rollout.next_wave_at is not None:
        return f"the pause after {wave} had not passed"
    return f"{wave} had not ended"


def halted(rollout: Rollout, halt: Halt) -> Rollout:
    """The rollout halted for `halt`."""
    return replace(rollout, status=RolloutStatus.HALTED, halt=halt, approval_until=None)


def _failures_halt(rollout: Rollout, now: datetime) -> Halt:
    limit = tolerated(rollout.spec.max_failures, rollout.progress)
    assert limit is not None
    failures = rollout.progress.failures
    named = rollout.failed_hosts
    hosts = abbreviated(named, most=len(named), total=failures)
    of = f" (of {rollout.progress.total_hosts} hosts)" if "%" in rollout.spec.max_failures else ""
    message = (
        f"{failures} failed, more than max_failures = {rollout.spec.max_failures}{of}: {hosts}"
    )
    return Halt(cause=HaltCause.FAILURES, message=message, at=now, hosts=rollout.failed_hosts)


def _awaiting_approval(rollout: Rollout, now: datetime) -> Decision:
    if rollout.approved_wave > rollout.wave:
        return Save(rollout=replace(rollout, status=RolloutStatus.RUNNING, approval_until=None))
    until = rollout.approval_until
    assert until is not None
    if now < until:
        return Wait(until=_earlier(until, rollout))
    message = f"nobody approved wave {rollout.wave + 2} in time"
    return Save(rollout=halted(rollout, Halt(cause=HaltCause.APPROVAL, message=message, at=now)))


def _between_waves(rollout: Rollout, wave: Wave, now: datetime) -> Decision:
    assert rollout.next_wave_at is not None
    if now < rollout.next_wave_at:
        return Wait(until=_earlier(rollout.next_wave_at, rollout))
    if rollout.spec.settles and wave.progress.completed and wave.settled_at is None:
        return _settle(rollout, now)
    if rollout.spec.approve_waves and rollout.approved_wave <= rollout.wave:
        until = now + rollout.spec.approval_timeout
        awaiting = RolloutStatus.AWAITING_APPROVAL
        return Save(rollout=replace(rollout, status=awaiting, approval_until=until))
    return Save(rollout=replace(rollout, wave=rollout.wave + 1, next_wave_at=None))


def _settle(rollout: Rollout, now: datetime) -> Decision:
    settling = rollout.settling
    if settling is None or (settling.look_at is None and now < settling.since):
        # It starts again where the clock was put back to before its start.
        return Save(rollout=replace(rollout, settling=settling_from(now, rollout.spec.settle)))
    if settling.look_at is None and now < settling.next_look_at:
        return Wait(until=_earlier(settling.next_look_at, rollout))
    return CheckWave(rollout=replace(rollout, settling=settling.looking(now)))


def after_wave_check(
    rollout: Rollout,
    wave: Wave,
    now: datetime,
    *,
    unhealthy: Mapping[str, str],
    reboots_left: Mapping[str, str],
) -> tuple[Rollout, Wave]:
    """The rollout and its current wave after a health round that ended `now`.

    `unhealthy` are the hosts that it found unhealthy, each with its problem, and `reboots_left` the healthy ones
    that need a reboot, or may need one, each with the reason.
    """
    assert rollout.settling is not None, "no health round is under way"
    if unhealthy:
        return halted(replace(rollout, settling=None), _unhealthy_halt(wave, unhealthy, now)), wave
    if reboots_left and rollout.spec.require_rebooted:
        halt = _reboots_halt(rollout, wave, reboots_left, now)
        return halted(replace(rollout, settling=None), halt), wave
    settling = rollout.settling.after_look(rollout.spec.settle)
    if settling is None:
        wave = replace(wave, settled_at=now)
    return replace(rollout, settling=settling), wave


def _unhealthy_halt(wave: Wave, unhealthy: Mapping[str, str], now: datetime) -> Halt:
    named, hosts = _named(unhealthy)
    message = f"wave {wave.number + 1} did not stay healthy: {hosts}"
    return Halt(cause=HaltCause.UNHEALTHY, message=message, at=now, hosts=named)


def _reboots_halt(
    rollout: Rollout, wave: Wave, reboots_left: Mapping[str, str], now: datetime
) -> Halt:
    named, hosts = _named(reboots_left)
    message = (
        f"wave {wave.number + 1} is not rebooted: {hosts}. Reboot each (tendhost reboot {named[0]}), or query it"
        f" if it was rebooted without tendhost, then: tendhost rollout resume {rollout.id}"
    )
    return Halt(cause=HaltCause.REBOOT_LEFT, message=message, at=now, hosts=named)


def _named(hosts: Mapping[str, str]) -> tuple[tuple[str, ...], str]:
    """The first of some hosts, and all of them as text, each with its problem."""
    names = sorted(hosts)
    told = [f"{name}: {hosts[name]}" for name in names]
    return tuple(names[:NAMED_FAILURES]), abbreviated(told, most=NAMED_FAILURES, separator="; ")


def _wave_over(rollout: Rollout, wave: Wave, now: datetime) -> Decision:
    if rollout.wave + 1 < rollout.waves:
        moved = replace(rollout, next_wave_at=now + rollout.spec.delay_between_waves)
    else:
        moved = replace(rollout, status=RolloutStatus.COMPLETED, ended_at=now, expected_end=None)
    return Leave(rollout=moved) if wave.ended_at is None else Save(rollout=moved)


def _wind_up(rollout: Rollout, now: datetime) -> Decision:
    if rollout.progress.not_begun:
        return SkipRest()
    if rollout.progress.in_progress:
        return Wait()
    return Save(rollout=replace(rollout, ended_at=now, expected_end=None))


def _earlier(until: datetime, rollout: Rollout) -> datetime:
    return until if rollout.expires_at is None else min(until, rollout.expires_at)
