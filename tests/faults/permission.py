"""The scenario in which an order to reboot is lost with its link, and may not be given again: its window has closed."""

import asyncio
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from tendhost.v1 import host_pb2, host_service_pb2, policy_pb2, policy_service_pb2
from tests.faults.batch import (
    BOUND_SECONDS,
    Account,
    Outcome,
    Run,
    Updates,
    carry_out,
    judged,
)
from tests.faults.ground import Ground
from tests.faults.judging import FAILED, SUCCEEDED, WAITING_REBOOT
from tests.faults.server import retried
from tests.fleet import Host

# The first order to reboot arrives, and nothing comes of it; as long as it takes, its link can be cut.
SWALLOW = """
cat >/usr/local/bin/systemctl <<'.'
#!/bin/sh
[ "$1" = reboot ] && [ -e /root/swallow ] || exec /usr/bin/systemctl "$@"
rm /root/swallow && touch /run/swallowed && exec sleep 600
.
chmod 755 /usr/local/bin/systemctl && rm -f /run/swallowed && touch /root/swallow
"""
SWALLOWED = "until [ -e /run/swallowed ]; do sleep 0.02; done"
HANG_UP = "pkill -f 'ssh[d]: (root|ops)'"
END = "pkill -fx 'sleep 600'; rm -f /usr/local/bin/systemctl /root/swallow /run/swallowed"


async def window_end(
    ground: Ground, number: int, rng: random.Random, account: Account
) -> list[Outcome]:
    """The link is lost under the order to reboot, and by then the window has closed; some servers die, too.

    In the next window every host is rebooted, once, and nothing is upgraded again.
    """
    runs = [
        Run(
            host=host,
            rebooting=True,
            slow_seconds=rng.randint(0, 1),
            status=FAILED,
            reason="WINDOW_CLOSED",
            state=WAITING_REBOOT,
        )
        for host in ground.hosts
    ]
    boots = [run.host.boot_count for run in runs]
    lengths = [rng.uniform(1, 8) for _ in runs]
    killed = rng.random() < 0.5
    account.did.append(
        "the window closes under the order to reboot" + (", the server is killed" if killed else "")
    )
    account.did.extend(
        f"{run.host.name}: no link for {length:.2f} s"
        for run, length in zip(runs, lengths, strict=True)
    )

    async def trouble(updates: Updates) -> None:
        await asyncio.gather(*(asyncio.to_thread(_said, host, SWALLOWED) for host in ground.hosts))
        account.strike(updates)
        await _windows(ground, opened=False)
        if killed:
            await ground.server.kill()
        await asyncio.gather(*map(_cut_off, ground.hosts, lengths))
        if killed:
            await ground.server.start()

    await asyncio.gather(*(asyncio.to_thread(_said, host, SWALLOW) for host in ground.hosts))
    try:
        outcomes = await carry_out(ground, runs, trouble, rng)
    finally:
        await _windows(ground, opened=True)
        await asyncio.gather(*(asyncio.to_thread(host.run, END) for host in ground.hosts))
    again = await asyncio.gather(
        *(
            _in_the_next_window(ground, outcome, before)
            for outcome, before in zip(outcomes, boots, strict=True)
            if not outcome.findings
        )
    )
    return [*outcomes, *again]


def _said(host: Host, script: str) -> None:
    host.run(script, timeout=90, check=True)


async def _cut_off(host: Host, length: float) -> None:
    await asyncio.to_thread(host.set_link, "reset")
    await asyncio.to_thread(host.run, HANG_UP)
    await asyncio.sleep(length)
    await asyncio.to_thread(host.set_link, "up")


async def _windows(ground: Ground, *, opened: bool) -> None:
    """Have the window of the fleet be closed for hours, or say nothing of any."""
    hours = [datetime.now(UTC) + timedelta(hours=ahead) for ahead in (10, 11)]
    start, end = (f"{hour:%H:%M}" for hour in hours)
    windows = [] if opened else [host_pb2.MaintenanceWindow(start=start, end=end)]
    request = policy_service_pb2.SetPolicyRequest(policy=policy_pb2.GroupPolicy(windows=windows))
    await retried(lambda: ground.server.policies.SetPolicy(request))


async def _in_the_next_window(ground: Ground, former: Outcome, boots_before: int) -> Outcome:
    run = former.run
    again = replace(run, status=SUCCEEDED, reason="", state=None, former=former.operation)
    request = host_service_pb2.StartUpdateRequest(name=run.host.name)
    async with asyncio.timeout(BOUND_SECONDS):
        begun = (await retried(lambda: ground.daemon.hosts.StartUpdate(request))).operation
        operation = await retried(lambda: ground.daemon.ended(begun.id))
    findings = await judged(ground, again, operation, boots_before)
    return Outcome(run=again, operation=operation, findings=findings)
