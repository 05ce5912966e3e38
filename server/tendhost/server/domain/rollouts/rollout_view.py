"""Rollouts as callers that are bound to hosts see them: nothing names a host that has left their scope."""

from collections.abc import Collection
from dataclasses import replace

from tendhost.server.domain.access.scope import Scope
from tendhost.server.domain.rollouts.plan import PlanOutline
from tendhost.server.domain.rollouts.rollout import Member, Rollout, RolloutSpec

WITHHELD = "it names hosts that are no longer among those of the caller's token"
"""In place of a text."""


def reaches(scope: Scope | None, spec: RolloutSpec) -> bool:
    """Whether a caller may see and change a rollout of `spec`: it reaches no further than the caller.

    A scope of None is that of a caller that is bound to no hosts.
    """
    return scope is None or (spec.bound_to is not None and spec.bound_to.within(scope))


def rollout_seen(rollout: Rollout, hidden: Collection[str]) -> Rollout:
    """The rollout without the names `hidden`, which some of its hosts have."""
    if not hidden:
        return rollout
    halt = rollout.halt
    if halt is not None:
        left = tuple(host for host in halt.hosts if host not in hidden)
        halt = replace(halt, hosts=left, message=text_seen(halt.message, hidden))
    return replace(
        rollout,
        spec=_spec_seen(rollout.spec, hidden),
        halt=halt,
        held_up=text_seen(rollout.held_up, hidden),
        notes=_texts_seen(rollout.notes, hidden),
    )


def member_seen(member: Member, hidden: Collection[str]) -> Member:
    """A member that is not hidden itself."""
    return replace(member, detail=text_seen(member.detail, hidden)) if hidden else member


def plan_seen(plan: PlanOutline, hidden: Collection[str]) -> PlanOutline:
    """The plan without the names `hidden`."""
    return replace(
        plan,
        spec=_spec_seen(plan.spec, hidden),
        warnings=_texts_seen(plan.warnings, hidden),
        notes=_texts_seen(plan.notes, hidden),
    )


def text_seen(text: str, hidden: Collection[str]) -> str:
    """The text, or WITHHELD. A name may be a part of a word by chance: rather too little is told."""
    return WITHHELD if text and any(name in text for name in hidden) else text


def _texts_seen(texts: tuple[str, ...], hidden: Collection[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text_seen(text, hidden) for text in texts))


def _spec_seen(spec: RolloutSpec, hidden: Collection[str]) -> RolloutSpec:
    # A retry names the hosts that it retries.
    asked = spec.filter
    names = tuple(name for name in asked.names if name not in hidden)
    return spec if names == asked.names else replace(spec, filter=replace(asked, names=names))
