"""Hooks: scripts of users that run on a host before and after it is changed."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum

HOOK_TIMEOUT = timedelta(minutes=5)
LONGEST_SCRIPT = 64 * 1024
"""Bytes of a script, as UTF-8."""
LONGEST_NAMES = 96 * 1024
"""Bytes of TENDHOST_PACKAGES: Linux takes no string of 128 KiB in an environment (execve(2))."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook:
    """A script that runs on the host as root, with sh or with the program after "#!"."""

    script: str
    """The text of the script: 1 to LONGEST_SCRIPT bytes, without NUL. Empty in a change: the script that the secret
    hook has."""
    timeout: timedelta = HOOK_TIMEOUT
    """Time limit in whole seconds, after which the script and every process that it started are killed."""
    allowed_exit_codes: tuple[int, ...] = (0,)
    """Exit codes that count as success, 0 to 255."""
    secret: bool = False
    """Whether no client is shown the script."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """The hooks of a host, a group or a fleet. None: inherited."""

    pre: Hook | None = None
    """Runs before anything is downloaded or changed. If it fails, nothing is."""
    post: Hook | None = None
    """Runs after the host was verified, or its change has failed."""

    def completed(self, former: "Hooks") -> "Hooks":
        """These hooks, with the scripts of `former` in secret ones without a script."""
        return Hooks(pre=_completed(self.pre, former.pre), post=_completed(self.post, former.post))

    def unsound(self) -> Iterator[tuple[str, str]]:
        """A field and a problem for each hook without a script."""
        for name, hook in (("pre", self.pre), ("post", self.post)):
            if hook is not None and not hook.script:
                yield f"{name}.script", "must not be empty: there is no secret script to keep"

    def over(self, wider: "Hooks") -> "Hooks":
        """These hooks, with those of `wider` where one is not set here."""
        return Hooks(pre=self.pre or wider.pre, post=self.post or wider.post)


def _completed(hook: Hook | None, former: Hook | None) -> Hook | None:
    # Only from secret to secret: a script that was secret is not shown because of a change of another field.
    if hook is None or hook.script or former is None or not (hook.secret and former.secret):
        return hook
    return replace(hook, script=former.script)


class HookOutcome(StrEnum):
    """The outcome of the change, for the hook after it."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"


def hook_environment(
    *,
    host: str,
    operation: str,
    rollout: str,
    packages: Iterable[str],
    outcome: HookOutcome | None = None,
) -> Mapping[str, str]:
    """The environment of a hook.

    `packages` beyond LONGEST_NAMES bytes are omitted; only the hook after the change has an `outcome`.
    """
    names = " ".join(packages)
    if len(names) > LONGEST_NAMES:
        names = names[: LONGEST_NAMES + 1].rpartition(" ")[0]
    environment = {
        "TENDHOST_HOST": host,
        "TENDHOST_OPERATION": operation,
        "TENDHOST_ROLLOUT": rollout,
        "TENDHOST_PACKAGES": names,
    }
    if outcome is not None:
        environment["TENDHOST_OUTCOME"] = str(outcome)
    return environment
