"""Hooks: scripts of a user's that run on a host before and after it is changed."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

HOOK_TIMEOUT = timedelta(minutes=5)
LONGEST_SCRIPT = 64 * 1024
"""Bytes of a script, as UTF-8."""
LONGEST_NAMES = 96 * 1024
"""Bytes of TENDHOST_PACKAGES: Linux takes no string of 128 KiB in an environment (execve(2))."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook:
    """A script that runs on the host, as root; one that begins with "#!" by the program it names."""

    script: str
    """Kept by value: 1 to LONGEST_SCRIPT bytes, without NUL."""
    timeout: timedelta = HOOK_TIMEOUT
    """For the script to end, in whole seconds; then it is killed with all that it has started."""
    allowed_exit_codes: tuple[int, ...] = (0,)
    """0 to 255; every other one is a failure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """The hooks of a host, a group or a fleet. None: nothing is said of it here."""

    pre: Hook | None = None
    """Before anything is fetched or changed. Where it fails, nothing is."""
    post: Hook | None = None
    """Once the host was verified, or its change has failed."""

    def over(self, wider: "Hooks") -> "Hooks":
        """These hooks, with those of `wider` where nothing is said here."""
        return Hooks(pre=self.pre or wider.pre, post=self.post or wider.post)


class HookOutcome(StrEnum):
    """What the hook after the change is told of it."""

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
    """What a hook finds in its environment.

    `packages` that would make it longer than LONGEST_NAMES are left out; `outcome` is there for the
    hook after the change only.
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
