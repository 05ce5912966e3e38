"""Runs a command that changes a host. Only engine/jobs/door.py, which checks permissions, may import this."""

from datetime import timedelta

from tendhost.server.domain.operations.permission import ChangingCommand
from tendhost.server.remote.protocol import Completed, Remote


async def run_change(
    remote: Remote, command: ChangingCommand, *, timeout: timedelta, input: bytes = b""
) -> Completed:
    """Run `command` on the host without a check of permissions. Raises what Remote.run raises."""
    return await remote.run(
        command.change_script, timeout=timeout, privileged=command.privileged, input=input
    )
