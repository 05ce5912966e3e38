"""Simulated hosts: SSH servers in this process that answer like small Debian hosts. Nothing of them is real."""

from tests.simulated.fleet import SimulatedFleet, SimulatedHost

__all__ = ["SimulatedFleet", "SimulatedHost"]
