"""Which option of the command sets a field of a request, so that errors name what the user typed."""

import re

_MESSAGES = ("config.", "spec.", "policy.", "rollout.", "selection.")
"""Fields of requests that hold the message whose fields are options."""

OPTIONS = {
    "add_freezes": "--freeze",
    "add_groups": "--add-group",
    "add_tags": "--add-tag",
    "add_windows": "--add-window",
    "address": "--address",
    "approval_timeout": "--approval-timeout",
    "approvers": "--approver",
    "compose_health_timeout": "--compose-health-timeout",
    "compose_paths": "--compose-path",
    "cron": "--cron",
    "delay_between_waves": "--delay",
    "dependencies": "--dependency",
    "expected_host_key": "--host-key",
    "known_hosts": "--known-hosts",
    "add_host_keys": "--add-host-key",
    "remove_host_keys": "--remove-host-key",
    "expires_after": "--expires",
    "expires_at": "--expires",
    "filter.all_tags": "--tag",
    "filter.any_tags": "--any-tag",
    "filter.exclude_hosts": "--exclude",
    "filter.groups": "--group",
    "filter.selection": "--selection",
    "filter.states": "--state",
    "freezes": "--freeze",
    "grace": "--grace",
    "group": "--group",
    "groups": "--group",
    "health_checks.checks": "--check",
    "health_checks.settle": "--settle",
    "hooks.post": "--post-hook",
    "hooks.post.allowed_exit_codes": "--hook-exit-code",
    "hooks.post.timeout": "--hook-timeout",
    "hooks.pre": "--pre-hook",
    "hooks.pre.allowed_exit_codes": "--hook-exit-code",
    "hooks.pre.timeout": "--hook-timeout",
    "jump": "--jump",
    "max_failures": "--max-failures",
    "max_unavailable": "--max-unavailable",
    "port": "--port",
    "remove_freezes": "--unfreeze",
    "remove_windows": "--remove-window",
    "roles": "--role",
    "rrule": "--rrule",
    "scope.all_tags": "--tag",
    "scope.any_tags": "--any-tag",
    "scope.exclude": "--exclude-package",
    "scope.groups": "--group",
    "scope.include": "--package",
    "seed": "--seed",
    "settle": "--settle",
    "ssh_key": "--ssh-key",
    "stages": "--stage",
    "starts_at": "--starts-at",
    "tags": "--tag",
    "time_zone": "--time-zone",
    "user": "--user",
    "waves": "--waves",
    "window_override_reason": "--outside-windows",
    "windows": "--window",
}
"""By the path of a field, without its message and without positions in lists."""


def option_of(field: str) -> str:
    """The option that sets `field`, with the part of its value that is meant; else the field."""
    path = field
    while path.startswith(_MESSAGES):
        path = path.partition(".")[2]
    parts = re.sub(r"\[\d+\]", "", path).split(".")
    for length in range(len(parts), 0, -1):
        option = OPTIONS.get(".".join(parts[:length]))
        if option is not None:
            rest = ".".join(parts[length:])
            return f"{option} ({rest})" if rest else option
    return path
