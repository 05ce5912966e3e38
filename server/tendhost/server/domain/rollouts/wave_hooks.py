"""Wave hooks, which the server runs between the waves of a rollout, and the facts that they get."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from tendhost.server.domain.rollouts.rollout import Rollout
from tendhost.server.domain.secret_texts import environment_for_programs


class WaveMoment(StrEnum):
    """When a wave hook is run."""

    BEFORE_WAVE = "before_wave"
    AFTER_WAVE = "after_wave"


@dataclass(frozen=True, slots=True, kw_only=True)
class WaveHook:
    """A command of the server's machine, or a webhook: exactly one of the two."""

    name: str
    when: WaveMoment
    command: tuple[str, ...] = ()
    """A program and its arguments; no shell is involved."""
    url: str = field(default="", repr=False)
    """URL to which a JSON document is posted. It may hold secrets, so no message names it."""
    timeout: timedelta = timedelta(minutes=1)
    """Time limit for the command, or for the whole response."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WaveHookResult:
    """The result of the hooks of one moment."""

    succeeded: bool = True
    hook: str = ""
    """Name of the hook that failed; later hooks were not run."""
    message: str = ""
    """The problem of the hook that failed."""


def due(hooks: Sequence[WaveHook], when: WaveMoment) -> Sequence[WaveHook]:
    """The hooks to run at this moment, in the order in which they are configured."""
    return [hook for hook in hooks if hook.when is when]


def key_of(when: WaveMoment, rollout: Rollout) -> str:
    """A key that stays the same when the hooks of this moment are run again: ROLLOUT/WAVE/WHEN."""
    return f"{rollout.id}/{rollout.wave + 1}/{when}"


def facts_of(hook: WaveHook, rollout: Rollout) -> Mapping[str, str | int]:
    """The facts that a hook gets: in the environment, in upper case after TENDHOST_, or as JSON."""
    progress = rollout.progress
    return {
        "key": key_of(hook.when, rollout),
        "hook": hook.name,
        "when": str(hook.when),
        "rollout": rollout.id,
        "status": str(rollout.status),
        "created_by": rollout.created_by,
        "dry_run": int(rollout.spec.dry_run),
        "wave": rollout.wave + 1,
        "waves": rollout.waves,
        "total": progress.total_hosts,
        "pending": progress.pending,
        "waiting": progress.waiting,
        "in_progress": progress.in_progress,
        "completed": progress.completed,
        "failed": progress.failed,
        "rolled_back": progress.rolled_back,
        "skipped": progress.skipped,
    }


def environment_of(
    hook: WaveHook, rollout: Rollout, inherited: Mapping[str, str]
) -> dict[str, str]:
    """The environment of a command: that of the server, without the settings and secrets of tendhost."""
    facts = {
        f"TENDHOST_{name.upper()}": str(value) for name, value in facts_of(hook, rollout).items()
    }
    return environment_for_programs(inherited) | facts
