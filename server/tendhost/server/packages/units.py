"""The state of systemd's units, as a script for sh and the meaning of its answer."""

from dataclasses import dataclass

from tendhost.server.packages.script import framed_script, parse_parts

_STARTING = frozenset({"initializing", "starting"})


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
