"""Group, fleet and effective policies, formatted for people."""

from collections.abc import Sequence

from tendhost.client import (
    EffectivePolicy,
    FreezePeriod,
    GroupPolicy,
    HealthChecks,
    Hooks,
    PolicySource,
    PolicySourceKind,
)
from tendhost.client.cli.console import draw, say, say_incomplete, show, table
from tendhost.client.cli.formatting import (
    ago,
    at_time,
    counted,
    in_zone,
    local_time,
    span,
    window_words,
)
from tendhost.client.cli.render.health import checks_words, hooks_words


def overview(found: Sequence[GroupPolicy]) -> None:
    """All policies, in one line each."""
    if not found:
        say("no fleet policy and no group policies are set")
        return
    columns = ("POLICY", "WINDOWS", "FREEZES", "HOOKS", "CHECKS", "CHANGED")
    rows = (
        (
            _whose(one),
            " or ".join(map(window_words, one.windows)),
            ", ".join(freeze.name for freeze in one.freezes),
            hooks_words(one.hooks) if one.hooks != Hooks() else "",
            counted(len(one.health_checks.checks), "check") if one.health_checks.checks else "",
            f"{ago(one.changed_at)} by {one.changed_by}",
        )
        for one in found
    )
    draw(table(columns, rows))
    say_incomplete(*((_whose(one), one.incomplete) for one in found))


def _whose(found: GroupPolicy) -> str:
    return f"group {found.group}" if found.group else "fleet"


def group_policy(found: GroupPolicy) -> None:
    """The policy of a group or of the fleet."""
    lines = {
        "policy": _whose(found),
        "windows": " or ".join(map(window_words, found.windows)) or "not set",
        "freezes": "; ".join(map(freeze_words, found.freezes)) or "none",
        "hooks": hooks_words(found.hooks) if found.hooks != Hooks() else "not set",
        "health checks": _checks(found.health_checks),
    }
    if found.changed_at is not None:
        lines["changed"] = f"{ago(found.changed_at)} by {found.changed_by}"
    show(lines)
    say_incomplete((_whose(found), found.incomplete))


def effective(found: EffectivePolicy) -> None:
    """The effective policy of a host, with the source of each part."""
    opens = at_time(found.opens_at) if found.opens_at is not None else "never"
    show({"host": found.host, "may be updated": "now" if found.update_allowed else opens})
    if found.detail:
        say("  ", found.detail)
    rows = [
        ("window", " or ".join(map(window_words, part.windows)), source(part.source))
        for part in found.windows
    ]
    rows += [("freeze", freeze_words(part.freeze), source(part.source)) for part in found.freezes]
    if (pre := found.pre_hook) is not None:
        rows.append(("hook", hooks_words(Hooks(pre=pre.hook)), source(pre.source)))
    if (post := found.post_hook) is not None:
        rows.append(("hook", hooks_words(Hooks(post=post.hook)), source(post.source)))
    for check in found.checks:
        words = checks_words(HealthChecks(checks=(check.check,)))
        rows.append(("health check", words, source(check.source)))
    if found.settle is not None:
        rows.append(("settling time", span(found.settle.settle), source(found.settle.source)))
    if rows:
        say("")
        draw(table(("PART", "VALUE", "FROM"), rows))
    say_incomplete((found.host, found.incomplete))


def source(found: PolicySource) -> str:
    """The source of a part."""
    return f"group {found.group}" if found.kind is PolicySourceKind.GROUP else str(found.kind)


def freeze_words(freeze: FreezePeriod) -> str:
    """A freeze with its times, in its time zone."""
    first = in_zone(freeze.starts_at, freeze.time_zone)
    reason = f": {freeze.reason}" if freeze.reason else ""
    last = local_time(freeze.ends_at, freeze.time_zone)
    return f"{first:%Y-%m-%d %H:%M} to {last} ({freeze.name}{reason})"


def _checks(checks: HealthChecks) -> str:
    return checks_words(checks) if checks != HealthChecks() else "not set"
