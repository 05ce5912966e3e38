"""Gives a changing command to a host. Only the door of the engine may import this."""

from datetime import timedelta

from tendhost.server.domain.operations.permission import ChangingCommand
from tendhost.server.remote.protocol import Completed, Remote


async def given(
    remote: Remote, command: ChangingCommand, *, timeout: timedelta, input: bytes = b""
) -> Completed:
    """Run `command` on the host, asking nobody. Raises what Remote.run raises."""
    return await remote.run(
        command.change_script, timeout=timeout, privileged=command.privileged, input=input
    )
