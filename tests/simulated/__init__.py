"""Simulated hosts: SSH servers of one process that answer like small Debian hosts. Nothing of them is real."""

from tests.simulated.fleet import RecordedFleet, SimulatedFleet
from tests.simulated.recorded import RecordedHost
from tests.simulated.shell import SimulatedHost

__all__ = ["RecordedFleet", "RecordedHost", "SimulatedFleet", "SimulatedHost"]
