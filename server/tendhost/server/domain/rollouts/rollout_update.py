"""An update of a rollout: the members that move in one transaction, and every count that this changes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from tendhost.server.domain.rollouts.prerequisites import after_move
from tendhost.server.domain.rollouts.rollout import (
    NAMED_FAILURES,
    Member,
    MemberStatus,
    Rollout,
    RolloutStatus,
    Wave,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdatedRollout:
    """What one transaction stores of a rollout."""

    rollout: Rollout
    waves: tuple[Wave, ...]
    """Waves that have changed, in order."""
    members: tuple[Member, ...]
    """Members that have changed."""


class RolloutUpdate:
    """The changes of one transaction to a rollout, its waves and its members.

    Callers say which members move. `waves` names the waves that the update needs, and `applied` gives
    the rollout, the waves and the members as they are to be stored.
    """

    def __init__(self, rollout: Rollout, *, message: str = "", held_up: str = "") -> None:
        self.rollout = rollout
        self.message = message
        """Message of the event; empty: the rollout advanced."""
        self.held_up = held_up
        """Budget that has held the rollout up for so long that the event notifies people; empty: none."""
        self._members: dict[str, Member] = {}
        self._moves: list[tuple[Member, Member]] = []
        self._wave_changes: dict[int, dict[str, object]] = {}

    def move(self, member: Member, to: MemberStatus, **changes: object) -> None:
        """Give `member` the status `to` and forget what it waited for.

        Any move may change when the first window opens, so that this has to be found again.
        """
        waits_for_nothing = replace(
            member, status=to, waiting=None, not_before=None, blocked_by="", reboot_left=False
        )
        moved = replace(waits_for_nothing, **changes)  # type: ignore[arg-type]
        self._members[member.host] = moved
        self._moves.append((member, moved))
        self.rollout = replace(
            self.rollout,
            progress=self.rollout.progress.moved(member.status, to),
            failed_hosts=self._failed_hosts(member, to),
            opens_at=None,
            prerequisites=after_move(
                self.rollout.prerequisites,
                member.dependence,
                ended=to.ended - member.status.ended,
                succeeded=(to is MemberStatus.COMPLETED)
                - (member.status is MemberStatus.COMPLETED),
            ),
            reboots_left=self.rollout.reboots_left + moved.reboot_left - member.reboot_left,
        )

    def change_member(self, member: Member, **changes: object) -> None:
        """Change fields of `member` that no count depends on."""
        self._members[member.host] = replace(member, **changes)  # type: ignore[arg-type]

    def change_wave(self, number: int, **changes: object) -> None:
        """Change fields of the wave of this number; its progress follows from the moves."""
        self._wave_changes.setdefault(number, {}).update(changes)

    def clear_held_up(self) -> None:
        """Note that no budget holds the rollout up any longer."""
        self.rollout = replace(self.rollout, held_up="", held_up_since=None, held_up_told=False)

    @property
    def members(self) -> tuple[Member, ...]:
        """Members that have changed, with their changes."""
        return tuple(self._members.values())

    @property
    def waves(self) -> Sequence[int]:
        """Numbers of the waves that `applied` needs: those that change, and, for the estimate, the current one."""
        moved = (wave for pair in self._moves for wave in (pair[0].wave, pair[1].wave))
        current = (self.rollout.wave,) if _is_running(self.rollout) else ()
        return sorted({*current, *moved, *self._wave_changes})

    def applied(self, waves: Iterable[Wave], now: datetime) -> UpdatedRollout:
        """The update as it is to be stored, with a new estimate of the end.

        `waves` are those that `waves` names, as they are stored.
        """
        before = {wave.number: wave for wave in waves}
        after = dict(before)
        for origin, moved in self._moves:
            _move_between_waves(after, origin, moved)
        for number, changes in self._wave_changes.items():
            after[number] = replace(after[number], **changes)  # type: ignore[arg-type]
        end = None
        if _is_running(self.rollout):
            end = estimated_end(self.rollout, after[self.rollout.wave], now)
        return UpdatedRollout(
            rollout=replace(self.rollout, expected_end=end),
            waves=tuple(after[n] for n in sorted(after) if after[n] != before[n]),
            members=self.members,
        )

    def _failed_hosts(self, member: Member, to: MemberStatus) -> tuple[str, ...]:
        named = self.rollout.failed_hosts
        if to.failed and len(named) < NAMED_FAILURES:
            return (*named, member.host)
        if member.status.failed:
            return tuple(name for name in named if name != member.host)
        return named


def _move_between_waves(waves: dict[int, Wave], origin: Member, moved: Member) -> None:
    """Count a moved member in the progress of its wave, or of the wave that it left and the one it joined."""
    wave = waves[origin.wave]
    if moved.wave == origin.wave:
        progress = wave.progress.moved(origin.status, moved.status)
        waves[origin.wave] = replace(wave, progress=progress)
        return
    joined = waves[moved.wave]
    waves[origin.wave] = replace(wave, progress=wave.progress.without(origin.status))
    waves[moved.wave] = replace(joined, progress=joined.progress.joined(moved.status))


def entered(rollout: Rollout, wave: Wave) -> Rollout:
    """The rollout once its current wave, `wave`, has begun."""
    if wave.number == 0:
        return rollout
    spent = wave.expected + rollout.spec.pause
    return replace(rollout, expected_rest=max(timedelta(), rollout.expected_rest - spent))


def estimated_end(rollout: Rollout, wave: Wave, now: datetime) -> datetime | None:
    """When the rollout will end, by the earlier updates of its hosts; None: it rests, has ended, or only waits.

    The rest of the current wave is taken to be in proportion to the hosts that have not ended in it.
    """
    if not _is_running(rollout) or only_waits(wave):
        return None
    progress = wave.progress
    left = progress.total_hosts - progress.ended
    share = left / progress.total_hosts if progress.total_hosts else 0.0
    # Before the current wave begins, `expected_rest` still includes it.
    going = rollout if wave.started_at is not None else entered(rollout, wave)
    end = now + wave.expected * share + going.expected_rest
    if rollout.next_wave_at is None:
        return end
    # `expected_rest` includes a whole pause, and a part of this one has passed.
    return end - rollout.spec.pause + _pause_left(rollout, wave, now)


def only_waits(wave: Wave) -> bool:
    """Whether every member that is left of a wave waits for something."""
    progress = wave.progress
    return progress.waiting > 0 and not progress.pending and not progress.in_progress


def _is_running(rollout: Rollout) -> bool:
    return rollout.status is RolloutStatus.RUNNING and not rollout.over


def _pause_left(rollout: Rollout, wave: Wave, now: datetime) -> timedelta:
    assert rollout.next_wave_at is not None
    left = max(timedelta(), rollout.next_wave_at - now)
    if not rollout.spec.settles or wave.settled_at is not None:
        return left
    if rollout.settling is None:
        return left + rollout.spec.settle
    return max(timedelta(), rollout.settling.since + rollout.spec.settle - now)
