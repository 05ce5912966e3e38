"""The durations of a rollout in spite of a clock that is set: pauses, settling, approvals, the time limit.

They are stored as the dates at which they end, for only dates outlive a server. While a server runs it
knows by how much its clock was set, and moves them by that. Across a restart nothing is known but the
dates: there none may end later than if it began now, and one that has ended by its date has ended.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from tendhost.server.domain.rollouts.rollout import Rollout


def shifted(rollout: Rollout, by: timedelta) -> Rollout:
    """The rollout once the clock was set by `by`, forward or, negative, back: every duration stays as long."""
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
    """The rollout with no duration left that is longer than was asked, by a clock that says `now`."""
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
