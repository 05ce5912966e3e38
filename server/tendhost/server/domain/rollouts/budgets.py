"""The budgets of rollouts: how many hosts may fail, and how many may be down at the same time.

**The failure budget** counts over the whole rollout, all its waves together. A host counts when
its operation has ended without success: FAILED (a host that cannot be reached is one of these) or
ROLLED_BACK. Skipped hosts do not count, and a host that was retried counts by its last attempt. The
rollout halts as soon as *more* hosts have failed than `max_failures`; a percentage is of all hosts of
the rollout, skipped ones included, rounded down, so 10% of 19 hosts is one.

**A disruption budget** limits how many hosts are down at the same time. A host is down if an update or a
reboot runs on it, whoever started that (one that only reads or downloads does not count), or if it is in
FAILED, unless the rollout ignores the hosts that had failed before it was started. `per_tag="zone"` counts
the hosts of each tag zone=VALUE separately, and the hosts without a zone together, as if they had one of
their own: a limit that a host escapes for want of a tag is none. Without `per_tag` it counts the whole fleet.
A percentage is of the registered hosts that count together, rounded down, but at least one. The budgets of
all unfinished rollouts apply to the hosts of each of them. An operation that a person starts without a
rollout counts, but is not held up.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

from tendhost.server.domain.abbreviation import abbreviated
from tendhost.server.domain.request_errors import FieldViolation, InvalidArgument
from tendhost.server.domain.rollouts.rollout import DisruptionBudget, RolloutProgress, RolloutSpec
from tendhost.server.domain.rollouts.share import HostCount

NAMED = 5
"""Failed hosts that a message names of those that spend a budget."""
FLEET = ""
"""The scope of a budget that counts the whole fleet."""


def require_sound_failures(max_failures: str) -> None:
    """Raise InvalidArgument unless `max_failures` is empty, a number or a percentage."""
    if max_failures:
        _parsed("max_failures", max_failures)


def require_sound_budgets(budgets: Iterable[DisruptionBudget], tags: Iterable[str]) -> None:
    """Raise InvalidArgument, with every fault, unless each budget can be met and counts a host.

    `tags` are those of the selected hosts.
    """
    known = {tag.partition("=")[0] for tag in tags if tag.partition("=")[2]}
    faults: list[FieldViolation] = []
    for number, budget in enumerate(budgets):
        field = f"max_unavailable[{number}]"
        try:
            share = _parsed(f"{field}.limit", budget.limit)
        except InvalidArgument as error:
            faults.extend(error.violations)
        else:
            if 0 in (share.count, share.percent):
                words = f"{budget.limit!r} can never be met: an update takes its host down"
                faults.append(FieldViolation(f"{field}.limit", words))
        if budget.per_tag and budget.per_tag not in known:
            words = f"no selected host has a tag {budget.per_tag}=…"
            faults.append(FieldViolation(f"{field}.per_tag", words))
    if faults:
        raise InvalidArgument(*faults)


def _parsed(field: str, text: str) -> HostCount:
    try:
        return HostCount.parse(text)
    except ValueError as fault:
        raise InvalidArgument(FieldViolation(field, str(fault))) from None


def tolerated(max_failures: str, progress: RolloutProgress) -> int | None:
    """Number of hosts of a rollout that may fail before it halts; None: all of them."""
    if not max_failures:
        return None
    return HostCount.parse(max_failures).of(progress.total_hosts, at_least=0)


def overspent(max_failures: str, progress: RolloutProgress) -> bool:
    """Whether more hosts have failed than `max_failures` allows."""
    limit = tolerated(max_failures, progress)
    return limit is not None and progress.failures > limit


def scopes(budget: DisruptionBudget, tags: Iterable[str]) -> tuple[str, ...]:
    """The scopes in which a host with these tags counts under `budget`, at least one: FLEET, tags KEY=VALUE,
    or, without such a tag, `untagged(KEY)`."""
    if not budget.per_tag:
        return (FLEET,)
    none = untagged(budget.per_tag)
    return tuple(tag for tag in tags if tag.startswith(none) and tag != none) or (none,)


def untagged(key: str) -> str:
    """The scope of the hosts without a tag KEY=VALUE. A tag `KEY=` has no value, and is none."""
    return f"{key}="


def is_untagged(scope: str) -> bool:
    """Whether `scope` is that of the hosts without a tag of some key."""
    key, equals, value = scope.partition("=")
    return bool(key and equals) and not value


def in_scope(scope: str, tags: Collection[str]) -> bool:
    """Whether a host with these tags counts in `scope`."""
    if is_untagged(scope):
        return not any(tag.startswith(scope) and tag != scope for tag in tags)
    return scope == FLEET or scope in tags


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """The use of one scope of a budget."""

    down: int
    """Number of hosts that are down."""
    hosts: int
    """Number of hosts in the scope."""
    failed: tuple[str, ...] = ()
    """The first failed hosts among those that are down, at most NAMED, by name."""
    failed_count: int = 0
    """Number of failed hosts among those that are down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundBudget:
    """A budget of an unfinished rollout."""

    budget: DisruptionBudget
    failed_since: datetime | None = None
    """Hosts that failed before this time do not count; None: all failed hosts count."""


def bound(spec: RolloutSpec, started_at: datetime) -> tuple[BoundBudget, ...]:
    """The budgets of a rollout that started at `started_at`."""
    since = started_at if spec.ignore_earlier_failures else None
    return tuple(BoundBudget(budget=budget, failed_since=since) for budget in spec.budgets)


def room(budget: DisruptionBudget, usage: Usage) -> int:
    """Number of further hosts of a scope that may go down now; negative where too many are down."""
    return HostCount.parse(budget.limit).of(usage.hosts, at_least=1) - usage.down


def spent_message(scope: str, usage: Usage, budget: DisruptionBudget) -> str:
    """Why `budget`, found by `spent`, is spent, with the failed hosts that a person can retry."""
    of = f"{usage.hosts} hosts with {scope}" if scope else f"all {usage.hosts} hosts"
    if is_untagged(scope):
        of = f"{usage.hosts} hosts without a tag {scope}…"
    words = f"{usage.down} of {of} are down, and at most {budget.limit} may be"
    if not usage.failed_count:
        return words
    named = abbreviated(usage.failed, most=len(usage.failed), total=usage.failed_count)
    one = usage.failed_count == 1
    until = "counts until somebody retries it" if one else "count until somebody retries them"
    return f"{words}: {named} {'has' if one else 'have'} failed, and {until}"


def spent(budgets: Iterable[DisruptionBudget], scope: str, usage: Usage) -> DisruptionBudget | None:
    """The first budget under which no further host of `scope` may go down; None: there is none."""
    key = scope.partition("=")[0]
    return next((b for b in budgets if b.per_tag == key and room(b, usage) < 1), None)
