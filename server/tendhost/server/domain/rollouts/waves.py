"""The division of the hosts of a rollout into waves, and their order.

Pure: `wave_plan` takes the selected hosts and the division, and returns the waves with their hosts. Stages
(by tag) follow each other; within a stage, hosts that others depend on come first; the rest is sorted as
the user asked and cut into waves of the given sizes.
"""

import random
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from tendhost.server.domain.abbreviation import abbreviated
from tendhost.server.domain.request_errors import FieldViolation, InvalidArgument
from tendhost.server.domain.rollouts.prerequisites import Dependence
from tendhost.server.domain.rollouts.share import REST, HostCount

DEFAULT_WAVES = ("2",)
NAMED_EXCLUDED = 3
"""Excluded hosts that a refusal names."""


class HostOrder(StrEnum):
    """The order of the hosts of a stage."""

    NAME = "name"
    RANDOM = "random"
    """Shuffled with the rollout's seed: the same seed and hosts give the same order."""
    LAST_UPDATE = "last_update"
    """Never updated hosts first, then those with the oldest update."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """The hosts with one tag, updated before those of the stages that follow."""

    tag: str
    waves: tuple[str, ...] = ()
    """Sizes of the waves of this stage, as `Division.waves`; empty: those of the rollout."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependency:
    """Hosts with the tag `before` are updated before those with the tag `after`, within a stage.

    A host that has both comes with the later ones.
    """

    before: str
    after: str
    only_if_succeeded: bool = False
    """Whether the later hosts are updated only if all of the earlier ones have succeeded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A selected host with the facts that decide about its position."""

    name: str
    tags: tuple[str, ...] = ()
    last_updated: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedWave:
    """The hosts that are updated together, in order."""

    stage: str
    """The tag of its stage; empty: there are none, or its hosts are in none of them."""
    hosts: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Division:
    """How hosts are divided into waves."""

    waves: tuple[str, ...] = DEFAULT_WAVES
    """Each "5", "20%" or "rest"; the last one repeats. A percentage is of the hosts that are divided
    together (of the whole rollout, or of a stage, or, where there are dependencies, of those of a
    stage that have equally many before them), rounded down, and at least one host."""
    stages: tuple[Stage, ...] = ()
    """Hosts that are in none of them come last."""
    dependencies: tuple[Dependency, ...] = ()
    order: HostOrder = HostOrder.NAME
    seed: int = 0


def wave_plan(
    division: Division,
    hosts: Sequence[Candidate],
    *,
    excluded: Mapping[str, Sequence[str]] | None = None,
    require_tags: bool = True,
) -> tuple[PlannedWave, ...]:
    """The waves, in order. Each host is in exactly one of them, and none is empty.

    `excluded` has, by tag, the selected hosts that are not updated, each with the reason. Raises
    InvalidArgument, with every fault at once: a tag that none of `hosts` has (with `require_tags`), a cycle.
    """
    levels = _levels(division.dependencies)
    if require_tags:
        _require_tags(division, hosts, excluded or {})
    parts: dict[tuple[int, int], list[Candidate]] = {}
    for host in hosts:
        part = (_stage_of(host.tags, division.stages), _level_of(host.tags, levels))
        parts.setdefault(part, []).append(host)
    found: list[PlannedWave] = []
    for (stage, _), members in sorted(parts.items()):
        named = division.stages[stage] if stage < len(division.stages) else Stage(tag="")
        ordered = in_order(members, division.order, division.seed)
        sizes = named.waves or division.waves
        found.extend(PlannedWave(stage=named.tag, hosts=tuple(cut)) for cut in _cut(ordered, sizes))
    return tuple(found)


def in_order(hosts: Sequence[Candidate], order: HostOrder, seed: int) -> list[str]:
    """The names of `hosts` in the given order; equal ones by name."""
    by_name = sorted(hosts, key=lambda host: host.name)
    if order is HostOrder.LAST_UPDATE:
        never = datetime.min.replace(tzinfo=UTC)
        by_name.sort(key=lambda host: host.last_updated or never)
    names = [host.name for host in by_name]
    if order is HostOrder.RANDOM:
        random.Random(seed).shuffle(names)  # noqa: S311 (an order, not a secret)
    return names


def require_sound(division: Division) -> None:
    """Raise InvalidArgument, with every fault, unless the division is valid."""
    faults = _wave_faults("waves", division.waves)
    for number, stage in enumerate(division.stages):
        faults += _wave_faults(f"stages[{number}].waves", stage.waves, may_be_empty=True)
    if len({stage.tag for stage in division.stages}) < len(division.stages):
        faults.append(FieldViolation("stages", "two stages have the same tag"))
    if faults:
        raise InvalidArgument(*faults)
    _levels(division.dependencies)


def _wave_faults(
    field: str, waves: Sequence[str], *, may_be_empty: bool = False
) -> list[FieldViolation]:
    faults = []
    if not waves and not may_be_empty:
        faults.append(FieldViolation(field, "needs at least one wave"))
    for number, text in enumerate(waves):
        where = f"{field}[{number}]"
        if text == REST:
            if number + 1 < len(waves):
                faults.append(FieldViolation(where, "'rest' must be the last wave"))
            continue
        try:
            share = HostCount.parse(text)
        except ValueError as fault:
            faults.append(FieldViolation(where, f"{fault}, nor 'rest'"))
            continue
        if (share.count if share.percent is None else share.percent) == 0:
            faults.append(
                FieldViolation(where, f"invalid size {text!r}, expected at least one host")
            )
    return faults


def _cut(names: Sequence[str], waves: Sequence[str]) -> Iterator[Sequence[str]]:
    begin = number = 0
    while begin < len(names):
        text = waves[min(number, len(waves) - 1)]
        left = len(names) - begin
        size = left if text == REST else HostCount.parse(text).of(len(names), at_least=1)
        yield names[begin : begin + size]
        begin += size
        number += 1


def _require_tags(
    division: Division, hosts: Sequence[Candidate], excluded: Mapping[str, Sequence[str]]
) -> None:
    known = {tag for host in hosts for tag in host.tags}
    asked = [(f"stages[{n}].tag", stage.tag) for n, stage in enumerate(division.stages)]
    for n, dependency in enumerate(division.dependencies):
        asked.append((f"dependencies[{n}].before", dependency.before))
        asked.append((f"dependencies[{n}].after", dependency.after))
    faults = [
        FieldViolation(field, _without_tag(tag, excluded.get(tag, ())))
        for field, tag in asked
        if tag not in known
    ]
    if faults:
        raise InvalidArgument(*faults)


def _without_tag(tag: str, excluded: Sequence[str]) -> str:
    if not excluded:
        return f"no selected host has the tag {tag!r}"
    hosts = abbreviated(excluded, most=NAMED_EXCLUDED, separator="; ")
    return f"none of the selected hosts with the tag {tag!r} can be updated: {hosts}"


def dependence_by_tags(division: Division) -> Callable[[Collection[str]], Dependence]:
    """Makes of the tags of a host its part in the dependencies that ask for success."""
    levels = _levels(division.dependencies)
    strict = [pair for pair in division.dependencies if pair.only_if_succeeded]

    def made(tags: Collection[str]) -> Dependence:
        before = dict.fromkeys(pair.before for pair in strict if pair.before in tags)
        after = dict.fromkeys(pair.before for pair in strict if pair.after in tags)
        if not before and not after:
            return Dependence()
        rank = (_stage_of(tags, division.stages), _level_of(tags, levels))
        return Dependence(rank=rank, before=tuple(before), after=tuple(after))

    return made


def _stage_of(tags: Collection[str], stages: Sequence[Stage]) -> int:
    return next((n for n, stage in enumerate(stages) if stage.tag in tags), len(stages))


def _level_of(tags: Collection[str], levels: Mapping[str, int]) -> int:
    return max((levels.get(tag, 0) for tag in tags), default=0)


def _levels(dependencies: Sequence[Dependency]) -> Mapping[str, int]:
    """How many tags have to come before each tag, one after the other. Raises InvalidArgument."""
    before: dict[str, set[str]] = {}
    for dependency in dependencies:
        before.setdefault(dependency.after, set()).add(dependency.before)
        before.setdefault(dependency.before, set())
    levels: dict[str, int] = {}
    while len(levels) < len(before):
        ready = [tag for tag in before if tag not in levels and before[tag] <= levels.keys()]
        if not ready:
            cycle = _cycle({tag: before[tag] - levels.keys() for tag in before.keys() - levels})
            words = " before ".join(cycle)
            raise InvalidArgument(FieldViolation("dependencies", f"they form a cycle: {words}"))
        for tag in ready:
            levels[tag] = max((levels[needed] + 1 for needed in before[tag]), default=0)
    return levels


def _cycle(before: Mapping[str, set[str]]) -> list[str]:
    """One cycle among tags that each have another one before them, in the order of the updates."""
    seen = [min(before)]
    while (needed := min(before[seen[-1]])) not in seen:
        seen.append(needed)
    return [needed, *reversed(seen[seen.index(needed) :])]
