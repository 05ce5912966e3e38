"""What can go wrong with the fleet itself, as opposed to what a test makes go wrong on a host."""

from pathlib import Path


class FleetError(Exception):
    """The fleet was asked for something it cannot do."""


class HostIsDown(FleetError):
    """A command was to run on a host that has no running init."""

    def __init__(self, host: str) -> None:
        super().__init__(f"host {host} is down")
        self.host = host


class FleetStartError(FleetError):
    """The fleet did not come up; its logs were kept."""

    def __init__(self, reason: str, logs: Path, tail: str) -> None:
        super().__init__(f"{reason}\nlogs are kept in {logs}" + (f"\n{tail}" if tail else ""))
        self.logs = logs


class BuildError(FleetError):
    """A layer of the base could not be built."""

    def __init__(self, what: str, log: Path, tail: str) -> None:
        super().__init__(f"building {what} failed, see {log}\n{tail}")
        self.log = log
