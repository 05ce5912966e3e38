"""Hosts that must succeed before others of their rollout: who waits for whom, and how far they are. Pure.

A dependency with `only_if_succeeded` names the tag of the hosts that come first, the *forerunners*, and that of
the hosts that depend on them. Only hosts of an earlier rank are forerunners of a host: stages come before
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
        """Whether this host is a forerunner of `other`."""
        return self.rank < other.rank and any(tag in other.after for tag in self.before)


@dataclass(frozen=True, slots=True, kw_only=True)
class Forerunners:
    """How far the hosts of one tag and rank are."""

    tag: str
    rank: Rank
    total: int
    ended: int = 0
    succeeded: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ForerunnersMissing:
    """Tags whose hosts keep a host from starting."""

    unfinished: tuple[str, ...]
    """Tags with hosts that have not ended."""
    unsuccessful: tuple[str, ...]
    """Tags with hosts that have ended without success."""


def forerunners_of(
    hosts: Iterable[Dependence], ended: Iterable[Dependence]
) -> tuple[Forerunners, ...]:
    """The forerunners of a rollout with these `hosts`, and those that have `ended` without success before it."""
    hosts, ended = list(hosts), list(ended)
    wanted = {tag for host in (*hosts, *ended) for tag in host.after}

    def count(of: Iterable[Dependence]) -> Counter[tuple[str, Rank]]:
        return Counter((tag, host.rank) for host in of for tag in host.before if tag in wanted)

    total, over = count((*hosts, *ended)), count(ended)
    return tuple(
        Forerunners(tag=tag, rank=rank, total=total[tag, rank], ended=over[tag, rank])
        for tag, rank in sorted(total)
    )


def after_move(
    forerunners: Sequence[Forerunners], host: Dependence, *, ended: int, succeeded: int
) -> tuple[Forerunners, ...]:
    """The forerunners after one of their hosts has moved; `ended` and `succeeded` are what that changes."""
    return tuple(
        replace(each, ended=each.ended + ended, succeeded=each.succeeded + succeeded)
        if each.rank == host.rank and each.tag in host.before
        else each
        for each in forerunners
    )


def missing(forerunners: Iterable[Forerunners], host: Dependence) -> ForerunnersMissing | None:
    """What keeps `host` from starting; None: all of its forerunners have succeeded."""
    of_host = [each for each in forerunners if each.tag in host.after and each.rank < host.rank]
    unfinished = dict.fromkeys(each.tag for each in of_host if each.ended < each.total)
    unsuccessful = dict.fromkeys(each.tag for each in of_host if each.succeeded < each.ended)
    if not unfinished and not unsuccessful:
        return None
    return ForerunnersMissing(unfinished=tuple(unfinished), unsuccessful=tuple(unsuccessful))
