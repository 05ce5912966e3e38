"""The step that checks whether a host is healthy: its systemd units, and the health checks of its policy."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from tendhost.server.domain.host_errors import Timeout, Unhealthy
from tendhost.server.domain.hosts.host import LOCAL, Problem
from tendhost.server.domain.operations.operation import (
    CheckResult,
    HealthResult,
    OperationKind,
    Outcome,
)
from tendhost.server.domain.policy.health_checks import CHECK_INTERVAL, HealthCheck
from tendhost.server.domain.policy.health_evaluation import CheckFinding, CheckRun, Settling
from tendhost.server.engine.steps import queries
from tendhost.server.engine.steps.context import StepContext
from tendhost.server.packages.unit_checks import (
    KILLED_AFTER,
    command_found,
    command_script,
    no_end_within,
)
from tendhost.server.packages.units import UnitHealth
from tendhost.server.remote.protocol import Remote

VERIFY_PAUSE = timedelta(seconds=1)
SYSTEMD = "systemd"
"""The name of the check that every host has: it has started, and no further unit has failed."""
LONGEST_OUTPUT = 1024 * 1024
"""Bytes that the command of a check may print."""
COMMANDS_AT_ONCE = 4
"""On one connection: sshd's MaxSessions is 10, and other sessions need some of them."""


async def verify(context: StepContext) -> Outcome:
    """Check the host's health over a new connection."""
    operation, host = context.operation, context.host.name
    remote = await context.session.reconnected(context.host)
    health = await _settled(context, remote)
    if operation.kind is OperationKind.CHECK:
        return Outcome(detail=health.message, health=health)
    if not health.healthy:
        error = Unhealthy(host=host, problem=health.message)
        return Outcome(problem=Problem.of(error), needs_person=True, health=health)
    outcome = Outcome(detail=health.message, health=health)
    if operation.facts.reboot_ordered_at is None:
        return outcome
    result = await context.query(remote, refresh=False)
    return replace(
        outcome, observed=await context.observed(result), facts=context.facts_after(result)
    )


async def _settled(context: StepContext, remote: Remote) -> HealthResult:
    """Repeat the checks until they show whether the host is healthy."""
    policy = context.policy.health_checks
    reads_only = context.operation.kind is OperationKind.CHECK
    checker = _Probes(context=context, remote=remote, places=asyncio.Semaphore(COMMANDS_AT_ONCE))
    probes = (checker.systemd, *(checker.probe(check) for check in policy.checks))
    settle = policy.settle or timedelta()
    systemd = CheckRun(
        name=SYSTEMD,
        interval=CHECK_INTERVAL if settle or policy.checks else VERIFY_PAUSE,
        attempts=1 if reads_only else None,
        patience=context.settings.verify_timeout,
    )
    tried = (
        CheckRun(name=check.name, interval=check.interval, attempts=check.attempts)
        for check in policy.checks
    )
    settling = Settling(checks=(systemd, *tried), settle=settle, began=context.clock.elapsed())
    while settling.verdict is None:
        if reads_only:
            context.reporter.require_permission()
        wait = settling.next_due - context.clock.elapsed()
        if wait > timedelta():
            await context.clock.sleep(wait)
        found = await _tried({n: probes[n] for n in settling.due(context.clock.elapsed())})
        settling = settling.after(found, context.clock.elapsed())
    return _result(settling)


async def _tried(
    probes: Mapping[int, Callable[[], Coroutine[None, None, CheckFinding]]],
) -> Mapping[int, CheckFinding]:
    """Run these tries concurrently. Raises HostError if the host cannot be reached."""
    try:
        async with asyncio.TaskGroup() as tries:
            tasks = {number: tries.create_task(probe()) for number, probe in probes.items()}
    except ExceptionGroup as group:
        raise group.exceptions[0] from None
    return {number: task.result() for number, task in tasks.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Probes:
    """Runs the tries of checks on one host."""

    context: StepContext
    remote: Remote
    places: asyncio.Semaphore

    async def systemd(self) -> CheckFinding:
        units = await queries.units(self.remote, self.context.host.name)
        return _judged(units, known=self.context.operation.facts.failed_units)

    def probe(self, check: HealthCheck) -> Callable[[], Coroutine[None, None, CheckFinding]]:
        async def tried() -> CheckFinding:
            config, prober = self.context.host.config, self.context.prober
            address = "127.0.0.1" if config.address == LOCAL else config.network_address
            # Behind a jump another machine may have the address in the server's own network.
            tunnel = self.context.session.tunnel_to(self.context.host)
            if check.tcp is not None:
                port = check.tcp.port
                return await prober.tcp(address, port, timeout=check.timeout, tunnel=tunnel)
            if check.http is not None:
                return await prober.http(address, check.http, timeout=check.timeout, tunnel=tunnel)
            async with self.places:
                if check.units:
                    return await self._units(check)
                return await self._command(check)

        return tried

    async def _units(self, check: HealthCheck) -> CheckFinding:
        try:
            return await queries.active(
                self.remote, self.context.host.name, check.units, timeout=check.timeout
            )
        except Timeout:
            return no_end_within(check.timeout)

    async def _command(self, check: HealthCheck) -> CheckFinding:
        made = command_script(check.command, check.timeout)
        began = self.context.clock.elapsed()
        try:
            done = await self.remote.run(
                made.script,
                timeout=check.timeout + 2 * KILLED_AFTER,
                privileged=True,
                limit=LONGEST_OUTPUT,
                input=made.input,
            )
        except Timeout:
            return no_end_within(check.timeout)
        took = self.context.clock.elapsed() - began
        return command_found(done.exit_status, done.stdout + done.stderr, check.timeout, took=took)


def _judged(units: UnitHealth, *, known: tuple[str, ...]) -> CheckFinding:
    """A host is healthy if it has started and no unit has failed but those that had failed before."""
    if not units.state:
        return CheckFinding(holds=True, words="no systemd runs there, and so no unit was checked")
    if not units.started:
        return CheckFinding(holds=False, words=f"still {units.state}")
    newly = tuple(unit for unit in units.failed if unit not in known)
    if newly:
        return CheckFinding(holds=False, words=f"failed units: {', '.join(newly)}")
    if units.failed:
        return CheckFinding(
            holds=True, words=f"healthy; failed before already: {', '.join(units.failed)}"
        )
    return CheckFinding(holds=True, words="healthy")


def _result(settling: Settling) -> HealthResult:
    results = tuple(_check_result(check) for check in settling.checks)
    return HealthResult(
        healthy=settling.verdict is True,
        message=_message(results, settling.settle),
        checks=results,
    )


def _check_result(check: CheckRun) -> CheckResult:
    assert check.last is not None, "there is a verdict"
    return CheckResult(
        name=check.name,
        healthy=check.last.holds,
        message=check.last.words,
        tries=check.tries,
        failures=check.failures,
    )


def _message(results: Sequence[CheckResult], settle: timedelta) -> str:
    wrong = [
        result.message if result.name == SYSTEMD else f"{result.name}: {result.message}"
        for result in results
        if not result.healthy
    ]
    if wrong:
        return "; ".join(wrong)
    words = [results[0].message]
    if len(results) > 1:
        count = len(results) - 1
        words.append("1 check holds" if count == 1 else f"{count} checks hold")
    if settle:
        words.append(f"for {settle.total_seconds():g} s")
    return ", ".join(words)
