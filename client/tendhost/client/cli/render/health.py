"""Health checks and hooks, formatted for people."""

from tendhost.client import HealthCheck, HealthChecks, Hook, Hooks
from tendhost.client.cli.formatting import counted, span


def hooks_words(hooks: Hooks) -> str:
    """Which hooks there are, in words."""
    words = [
        f"{when} ({_length(hook)}, at most {span(hook.timeout)})"
        for when, hook in (("before", hooks.pre), ("after", hooks.post))
        if hook is not None
    ]
    return ", ".join(words) or "none"


def _length(hook: Hook) -> str:
    return "secret" if hook.secret else counted(len(hook.script.splitlines()), "line")


def checks_words(checks: HealthChecks) -> str:
    """What a host has to pass, in words."""
    words = [_words(check) for check in checks.checks]
    held = f" for {span(checks.settle)}" if checks.settle else ""
    return f"{'; '.join(words) or 'systemd units only'}{held}"


def _words(check: HealthCheck) -> str:
    if check.tcp is not None:
        return f"tcp:{check.tcp.port}"
    if check.http is not None:
        return check.http.url
    if check.units:
        return f"unit:{','.join(check.units)}"
    return f"command:{check.command}"
