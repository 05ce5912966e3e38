"""The state of systemd's units, and their restart, as scripts for sh and the meaning of the answers."""

import shlex
from collections.abc import Iterable
from dataclasses import dataclass

from tendhost.server.packages.native import FACTS
from tendhost.server.packages.script import framed_script, parse_parts

_STARTING = frozenset({"initializing", "starting"})
_ONLY_BY_REBOOT = ("dbus", "dbus-broker", "systemd-logind", "systemd-journald", "systemd-udevd")
"""Units whose restart breaks the sessions of others, or the system; needrestart(1) skips them, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitHealth:
    """What systemctl(1) says. A host without systemd has no failed units and has always started."""

    state: str
    """The word of `systemctl is-system-running`; empty without systemd."""
    failed: tuple[str, ...]

    @property
    def started(self) -> bool:
        """Whether the boot has come to its end, with or without failed units."""
        return self.state not in _STARTING


def units_script() -> str:
    """The script that asks for the system's state and its failed units."""
    return framed_script(
        "if [ -d /run/systemd/system ]; then",
        "part state systemctl is-system-running",
        "part failed systemctl list-units --failed --plain --no-legend --no-pager",
        "fi",
    )


def parse_units(output: bytes) -> UnitHealth:
    """Understand the output of `units_script`. Raises ParseFailed."""
    parts = parse_parts(output, expected=())
    if "state" not in parts:
        return UnitHealth(state="", failed=())
    failed = parse_parts(output, expected=("failed",))["failed"].stdout
    names = (line.split()[0] for line in failed.split("\n") if line.strip())
    return UnitHealth(state=parts["state"].stdout.strip(), failed=tuple(names))


@dataclass(frozen=True, slots=True, kw_only=True)
class Restarted:
    """What came of a restart of services."""

    restarted: tuple[str, ...]
    failed: tuple[str, ...]
    """The unit and what systemctl said."""
    left: tuple[str, ...]
    """Units that only a reboot renews."""


def by_reboot_only(unit: str) -> bool:
    """Whether a unit is left alone until the host is rebooted."""
    name = unit.removesuffix(".service")
    return name in _ONLY_BY_REBOOT or name.startswith(("user@", "getty@", "serial-getty@"))


def restart_script(units: Iterable[str]) -> str:
    """The script that restarts these units, each by itself; what does not run is not started."""
    lines = [
        f"part unit{number} as_root systemctl try-restart -- {shlex.quote(unit)}"
        for number, unit in enumerate(_restartable(units))
    ]
    return framed_script(FACTS, *lines)


def parse_restart(output: bytes, units: Iterable[str]) -> Restarted:
    """Understand the output of `restart_script` for the same `units`. Raises ParseFailed."""
    units = tuple(units)
    asked = _restartable(units)
    parts = parse_parts(output, expected=tuple(f"unit{n}" for n in range(len(asked))))
    restarted, failed = [], []
    for number, unit in enumerate(asked):
        part = parts[f"unit{number}"]
        if part.status == 0:
            restarted.append(unit)
        else:
            failed.append(f"{unit}: {part.words or f'exit {part.status}'}")
    left = tuple(unit for unit in units if by_reboot_only(unit))
    return Restarted(restarted=tuple(restarted), failed=tuple(failed), left=left)


def _restartable(units: Iterable[str]) -> tuple[str, ...]:
    return tuple(unit for unit in units if not by_reboot_only(unit))
