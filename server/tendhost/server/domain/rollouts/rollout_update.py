"""Members of a rollout that are moved in one transaction, with every count that this changes."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from tendhost.server.domain.rollouts.rollout import (
    NAMED_FAILURES,
    Member,
    MemberStatus,
    Rollout,
    RolloutStatus,
    Wave,
)


class RolloutUpdate:
    """A rollout with its waves as they come to be.

    Begun with the rollout and with the waves of all members that are going to be moved; what it holds
    in the end is stored as a whole.
    """

    def __init__(self, rollout: Rollout, waves: Iterable[Wave]) -> None:
        self.rollout = rollout
        self._waves = {wave.number: wave for wave in waves}
        self._changed: set[int] = set()
        self._members: dict[str, Member] = {}

    def move(self, member: Member, to: MemberStatus, **changes: object) -> None:
        """Note that `member` is `to` from now on, and nothing that it waited for matters any more."""
        moved = replace(
            replace(member, status=to, waiting=None, not_before=None, blocked_by=""),
            **changes,  # type: ignore[arg-type]
        )
        self._members[member.host] = moved
        self.rollout = replace(
            self.rollout,
            progress=self.rollout.progress.moved(member.status, to),
            failed_hosts=self._failed_hosts(member, to),
        )
        wave = self._waves[member.wave]
        if moved.wave == member.wave:
            self.change(replace(wave, progress=wave.progress.moved(member.status, to)))
            return
        self.change(replace(wave, progress=wave.progress.without(member.status)))
        joined = self._waves[moved.wave]
        self.change(replace(joined, progress=joined.progress.joined(to)))

    def change_detail(self, member: Member, detail: str) -> None:
        """Note that `member` stays where it is, and why in other words."""
        self._members[member.host] = replace(member, detail=detail)

    def goes_on(self) -> None:
        """Note that nothing holds the rollout up any more."""
        self.rollout = replace(self.rollout, held_up="", held_up_since=None, held_up_told=False)

    def change(self, wave: Wave) -> None:
        """Note that a wave is another one from now on."""
        self._waves[wave.number] = wave
        self._changed.add(wave.number)

    def estimated(self, now: datetime) -> Rollout:
        """The rollout with when it will end, by what is known now."""
        current = self._waves.get(self.rollout.wave)
        if current is None:
            return self.rollout
        return replace(self.rollout, expected_end=estimate(self.rollout, current, now))

    @property
    def members(self) -> tuple[Member, ...]:
        """Those that were moved, as they are now."""
        return tuple(self._members.values())

    @property
    def waves(self) -> tuple[Wave, ...]:
        """Those that were changed, as they are now."""
        return tuple(self._waves[number] for number in sorted(self._changed))

    def _failed_hosts(self, member: Member, to: MemberStatus) -> tuple[str, ...]:
        named = self.rollout.failed_hosts
        if to.failed and len(named) < NAMED_FAILURES:
            return (*named, member.host)
        if member.status.failed:
            return tuple(name for name in named if name != member.host)
        return named


def entered(rollout: Rollout, wave: Wave, now: datetime) -> tuple[Rollout, Wave]:
    """The rollout and its current wave once that has begun."""
    if wave.number == 0:
        return rollout, replace(wave, started_at=now)
    spent = wave.expected + rollout.spec.pause
    rest = max(timedelta(), rollout.expected_rest - spent)
    return replace(rollout, expected_rest=rest), replace(wave, started_at=now)


def estimate(rollout: Rollout, wave: Wave, now: datetime) -> datetime | None:
    """When the rollout will end, by what its hosts took before; None: it rests or has ended.

    The rest of the current wave is taken to be in proportion to the hosts that have not ended in it.
    """
    if rollout.over or rollout.status is not RolloutStatus.RUNNING:
        return None
    progress = wave.progress
    left = progress.total_hosts - progress.ended
    share = left / progress.total_hosts if progress.total_hosts else 0.0
    end = now + wave.expected * share + rollout.expected_rest
    if rollout.next_wave_at is None:
        return end
    # Of the pause that runs, the rest knows as of a whole one.
    return end - rollout.spec.pause + _pause_left(rollout, wave, now)


def _pause_left(rollout: Rollout, wave: Wave, now: datetime) -> timedelta:
    assert rollout.next_wave_at is not None
    left = max(timedelta(), rollout.next_wave_at - now)
    if not rollout.spec.settles or wave.settled_at is not None:
        return left
    if rollout.settling is None:
        return left + rollout.spec.settle
    return max(timedelta(), rollout.settling.since + rollout.spec.settle - now)
