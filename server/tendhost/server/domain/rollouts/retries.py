"""Which members of a rollout get another chance with a retry of its failed ones. Pure."""

from collections.abc import Iterable, Sequence

from tendhost.server.domain.rollouts.prerequisites import after_move, missing
from tendhost.server.domain.rollouts.rollout import Member, Rollout


def another_chance(
    rollout: Rollout, retried: Iterable[Member], skipped: Iterable[Member]
) -> Sequence[Member]:
    """Those of `skipped` that may start if `retried`, failed members of `rollout`, succeed this time.

    `skipped` are the members that were skipped because hosts that must succeed before them did not. Each needs all
    of these hosts: one that is neither retried nor gets another chance itself has not succeeded.
    """
    prerequisites = rollout.prerequisites
    for member in retried:
        prerequisites = after_move(prerequisites, member.dependence, ended=-1, succeeded=0)
    found: list[Member] = []
    # Prerequisites have an earlier rank than those that depend on them.
    for member in sorted(skipped, key=lambda member: member.dependence.rank):
        lacking = missing(prerequisites, member.dependence)
        if lacking is None or not lacking.unsuccessful:
            prerequisites = after_move(prerequisites, member.dependence, ended=-1, succeeded=0)
            found.append(member)
    return found
