"""The durations of a rollout when the clock is set: pauses, settling, approvals, and the time limit.

They are stored as the dates at which they end, since only dates survive a restart. While a server runs it
knows by how much its clock was set, and moves the dates by that. After a restart only the dates are known:
then no duration ends later than if it started now, and one whose date has passed has ended.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from tendhost.server.domain.rollouts.rollout import Rollout


def shifted(rollout: Rollout, by: timedelta) -> Rollout:
    """The rollout after the clock was set by `by`, negative for back: every duration keeps its length."""
    settling = rollout.settling
    if settling is not None:
        look_at = None if settling.look_at is None else settling.look_at + by
        settling = replace(
            settling,
            since=settling.since + by,
            next_look_at=settling.next_look_at + by,
            look_at=look_at,
        )
    return replace(
        rollout,
        next_wave_at=None if rollout.next_wave_at is None else rollout.next_wave_at + by,
        approval_until=None if rollout.approval_until is None else rollout.approval_until + by,
        expiry_shift=rollout.expiry_shift + (by if rollout.spec.expires_after else timedelta()),
        settling=settling,
        held_up_since=None if rollout.held_up_since is None else rollout.held_up_since + by,
    )


def bounded(rollout: Rollout, now: datetime) -> Rollout:
    """The rollout with no remaining duration longer than its specification at `now`."""
    spec = rollout.spec
    if rollout.next_wave_at is not None:
        latest = now + spec.delay_between_waves
        rollout = replace(rollout, next_wave_at=min(rollout.next_wave_at, latest))
    if rollout.approval_until is not None:
        latest = now + spec.approval_timeout
        rollout = replace(rollout, approval_until=min(rollout.approval_until, latest))
    if rollout.expires_at is not None and spec.expires_after is not None:
        beyond = rollout.expires_at - (now + spec.expires_after)
        if beyond > timedelta():
            rollout = replace(rollout, expiry_shift=rollout.expiry_shift - beyond)
    return rollout
