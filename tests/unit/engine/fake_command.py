"""What the server asks of a fake host, and places at which a test can have it wait."""

import asyncio
from dataclasses import dataclass, field
from enum import StrEnum


class Command(StrEnum):
    """What a command that the server runs is for."""

    QUERY = "query"
    PREFLIGHT = "preflight"
    DRY_RUN = "dry_run"
    BOOT = "boot"
    UNITS = "units"
    GOING_DOWN = "going_down"
    LOGIN = "login"
    UPGRADE = "upgrade"
    REPAIR = "repair"
    HOOK = "hook"
    REBOOT = "reboot"
    RESTART = "restart"
    JOB = "job"
    """A question about a job, or the order to begin one; what it begins is counted as itself."""


@dataclass
class Hold:
    """A place at which something stops until it is let go."""

    reached: asyncio.Event = field(default_factory=asyncio.Event)
    released: asyncio.Event = field(default_factory=asyncio.Event)

    async def wait(self) -> None:
        """Say that it is reached, and return once it is let go."""
        self.reached.set()
        await self.released.wait()
