"""Hosts that must succeed before others of their rollout: who waits for whom, and how far they are. Pure.

A dependency with `only_if_succeeded` names the tag of the hosts that come first, the *prerequisites*, and that of
the hosts that depend on them. Only hosts of an earlier rank are prerequisites of a host: stages come before
dependencies, and a host that has both tags comes with the later ones.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

Rank = tuple[int, int]
"""Number of the stage, and how many tags come one after the other before the host within it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependence:
    """The part of one host in the dependencies of its rollout."""

    rank: Rank = (0, 0)
    before: tuple[str, ...] = ()
    """Its tags whose hosts must succeed before others."""
    after: tuple[str, ...] = ()
    """Tags whose hosts must succeed before it."""

    def counts_for(self, other: "Dependence") -> bool:
        """Whether this host is a prerequisite of `other`."""
        return self.rank < other.rank and any(tag in other.after for tag in self.before)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prerequisites:
    """How far the hosts of one tag and rank are."""

    tag: str
    rank: Rank
    total: int
    ended: int = 0
    succeeded: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingPrerequisites:
    """Tags whose hosts keep a host from starting."""

    unfinished: tuple[str, ...]
    """Tags with hosts that have not ended."""
    unsuccessful: tuple[str, ...]
    """Tags with hosts that have ended without success."""


def prerequisites_of(
    hosts: Iterable[Dependence], ended: Iterable[Dependence]
) -> tuple[Prerequisites, ...]:
    """The prerequisites of a rollout with these `hosts`, and those that have `ended` without success before it."""
    hosts, ended = list(hosts), list(ended)
    wanted = {tag for host in (*hosts, *ended) for tag in host.after}

    def count(of: Iterable[Dependence]) -> Counter[tuple[str, Rank]]:
        return Counter((tag, host.rank) for host in of for tag in host.before if tag in wanted)

    total, over = count((*hosts, *ended)), count(ended)
    return tuple(
        Prerequisites(tag=tag, rank=rank, total=total[tag, rank], ended=over[tag, rank])
        for tag, rank in sorted(total)
    )


def after_move(
    prerequisites: Sequence[Prerequisites], host: Dependence, *, ended: int, succeeded: int
) -> tuple[Prerequisites, ...]:
    """The prerequisites after one of their hosts has moved; `ended` and `succeeded` are what that changes."""
    return tuple(
        replace(each, ended=each.ended + ended, succeeded=each.succeeded + succeeded)
        if each.rank == host.rank and each.tag in host.before
        else each
        for each in prerequisites
    )


def missing(
    prerequisites: Iterable[Prerequisites], host: Dependence
) -> MissingPrerequisites | None:
    """What keeps `host` from starting; None: all of its prerequisites have succeeded."""
    of_host = [each for each in prerequisites if each.tag in host.after and each.rank < host.rank]
    unfinished = dict.fromkeys(each.tag for each in of_host if each.ended < each.total)
    unsuccessful = dict.fromkeys(each.tag for each in of_host if each.succeeded < each.ended)
    if not unfinished and not unsuccessful:
        return None
    return MissingPrerequisites(unfinished=tuple(unfinished), unsuccessful=tuple(unsuccessful))
