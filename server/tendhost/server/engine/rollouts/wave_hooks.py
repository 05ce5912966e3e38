"""Wave hooks: commands of the server's machine and webhooks, run between the waves of rollouts."""

import logging
import shutil
from collections.abc import Mapping, Sequence

from tendhost.server.domain.request_errors import ConfigurationError
from tendhost.server.domain.rollouts.rollout import Rollout
from tendhost.server.domain.rollouts.wave_hooks import (
    WaveHook,
    WaveHookResult,
    WaveMoment,
    due,
    environment_of,
    facts_of,
    key_of,
)
from tendhost.server.outbound.command import run_command
from tendhost.server.outbound.webhook import WebhookFailed, Webhooks

logger = logging.getLogger(__name__)

TOLD = 500
"""Characters of the end of what a failed command said that are told."""


class WaveHooks:
    """Every wave hook of the server.

    Raises ConfigurationError for a command whose program is not there.
    """

    def __init__(self, hooks: Sequence[WaveHook], *, environment: Mapping[str, str]) -> None:
        self._hooks = hooks
        self._environment = environment
        self._webhooks = Webhooks()
        for hook in hooks:
            if hook.command and not shutil.which(hook.command[0], path=environment.get("PATH")):
                raise ConfigurationError(
                    field=f"wave_hook {hook.name!r}: command",
                    value=hook.command[0],
                    expected="a program that can be run",
                )

    async def run(self, when: WaveMoment, rollout: Rollout) -> WaveHookResult:
        """Run the hooks of this moment for the rollout's current wave, one after the other.

        The first failure ends the run. When hooks run again, after a crash or a failure, each gets the same
        key; a command that a killed server had started may still run then. Cancelling this kills the
        running command. It never raises for the result of a hook.
        """
        for hook in due(self._hooks, when):
            fields = {"hook": hook.name, "key": key_of(when, rollout)}
            problem = await self._problem(hook, rollout)
            if problem:
                logger.warning("a wave hook failed", extra={**fields, "cause": problem})
                words = f"wave hook {hook.name!r} ({when}) failed: {problem}"
                return WaveHookResult(succeeded=False, hook=hook.name, message=words)
            logger.info("a wave hook was run", extra=fields)
        return WaveHookResult()

    async def _problem(self, hook: WaveHook, rollout: Rollout) -> str:
        """Run one hook and return its problem; empty: it succeeded."""
        return await (self._run(hook, rollout) if hook.command else self._post(hook, rollout))

    async def _run(self, hook: WaveHook, rollout: Rollout) -> str:
        environment = environment_of(hook, rollout, self._environment)
        try:
            end = await run_command(hook.command, environment=environment, timeout=hook.timeout)
        except OSError as error:
            return f"cannot run it: {error.strerror}"
        if end.status == 0:
            return ""
        said = f": {end.output[-TOLD:]}" if end.output else ""
        if end.status is None:
            return f"killed after {hook.timeout.total_seconds():g} s{said}"
        if end.status < 0:
            return f"killed by signal {-end.status}{said}"
        return f"exit status {end.status}{said}"

    async def _post(self, hook: WaveHook, rollout: Rollout) -> str:
        key = key_of(hook.when, rollout)
        try:
            await self._webhooks.post(
                hook.url, facts_of(hook, rollout), key=key, timeout=hook.timeout
            )
        except WebhookFailed as error:
            return str(error)
        return ""
