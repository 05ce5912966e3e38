"""Notes of a plan: what its definition means for these hosts, where a reader might expect something else. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from tendhost.server.domain.abbreviation import abbreviated
from tendhost.server.domain.rollouts.budgets import is_untagged, scopes
from tendhost.server.domain.rollouts.rollout import RolloutSpec
from tendhost.server.domain.rollouts.waves import Division

NAMED = 5
"""Hosts that a note names; it counts all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotedHost:
    """A host of a plan, as its notes need it."""

    name: str
    tags: tuple[str, ...]
    wave: int
    """From 0."""
    opens_at: datetime | None
    """When its window opens; None: it may be changed now."""


def plan_notes(
    spec: RolloutSpec, hosts: Sequence[NotedHost], now: datetime, expected: timedelta
) -> tuple[str, ...]:
    """The notes of a plan for `hosts`, in their order, that starts `now` and is expected to take `expected`."""
    return (
        *_empty_stages(spec.division, hosts),
        *_untagged_hosts(spec, hosts),
        *_expiry(spec, hosts, now, expected),
    )


def opens_too_late(spec: RolloutSpec, opens_at: datetime | None, now: datetime) -> bool:
    """Whether the window of a host opens only when a rollout that starts `now` has expired."""
    limit = spec.expires_after
    return limit is not None and opens_at is not None and opens_at >= now + limit


def _empty_stages(division: Division, hosts: Sequence[NotedHost]) -> Iterator[str]:
    """Stages without a host, since each of their hosts has the tag of an earlier stage, too."""
    earlier: list[str] = []
    for stage in division.stages:
        of_stage = [host for host in hosts if stage.tag in host.tags]
        taken = [tag for tag in earlier if any(tag in host.tags for host in of_stage)]
        if of_stage and all(any(tag in host.tags for tag in taken) for host in of_stage):
            count = "its only host is" if len(of_stage) == 1 else f"its {len(of_stage)} hosts are"
            stages = "the earlier stage" if len(taken) == 1 else "the earlier stages"
            yield (
                f"stage {stage.tag} has no wave: {count} in {stages} {', '.join(taken)}:"
                f" {_names(of_stage)}"
            )
        earlier.append(stage.tag)


def _untagged_hosts(spec: RolloutSpec, hosts: Sequence[NotedHost]) -> Iterator[str]:
    """Hosts that a budget counts together for want of its tag."""
    for budget in dict.fromkeys(spec.budgets):
        without = [host for host in hosts if any(map(is_untagged, scopes(budget, host.tags)))]
        if without:
            have = "has" if len(without) == 1 else "have"
            yield (
                f"{_count(without)} {have} no tag {budget.per_tag}=…: for '{budget.limit} per {budget.per_tag}',"
                f" hosts without it count together, as one more {budget.per_tag}: {_names(without)}"
            )


def _expiry(
    spec: RolloutSpec, hosts: Sequence[NotedHost], now: datetime, expected: timedelta
) -> Iterator[str]:
    """Hosts that will be skipped, since the rollout expires before it comes to them."""
    limit = spec.expires_after
    if limit is None:
        return
    ends = f"the rollout would expire {_moment(now + limit)}"
    late = [host for host in hosts if opens_too_late(spec, host.opens_at, now)]
    if late:
        when = _moment(min(host.opens_at for host in late if host.opens_at is not None))
        subject, earliest = f"the windows of {_count(late)} open", " at the earliest"
        if len(late) == 1:
            subject, earliest = "the window of 1 host opens", ""
        yield (
            f"{ends}, and {subject} only then or later ({when}{earliest}), so that they would be skipped:"
            f" {_names(late)}"
        )
        blocked = min(host.wave for host in late)
        behind = [host for host in hosts if host.wave > blocked]
        if behind:
            yield (
                f"{_count(behind)} of later waves would be skipped, too, for wave {blocked + 1} would not end"
                f" before that: {_names(behind)}"
            )
    elif expected > limit:
        yield f"{ends}, before its expected end"


def _count(hosts: Sequence[NotedHost]) -> str:
    return "1 host" if len(hosts) == 1 else f"{len(hosts)} hosts"


def _names(hosts: Sequence[NotedHost]) -> str:
    return abbreviated([host.name for host in hosts], most=NAMED)


def _moment(moment: datetime) -> str:
    return f"{moment:%a %Y-%m-%d %H:%M} UTC"
