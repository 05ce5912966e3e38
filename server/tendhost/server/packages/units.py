"""State and restart of systemd units: scripts, and parsers of their output."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from tendhost.server.domain.operations.permission import ChangeKind, ChangingCommand
from tendhost.server.domain.shell_words import quoted
from tendhost.server.packages.bounding import parser
from tendhost.server.packages.errors import ParseFailed
from tendhost.server.packages.facts import FACTS
from tendhost.server.packages.script import framed_script, parse_parts

_STARTED = frozenset({"running", "degraded"})
_ONLY_BY_REBOOT = re.compile(
    r"""
      dbus(-broker)? | systemd-(logind|journald|udevd|networkd|resolved|machined)
    | (user|user-runtime-dir|getty|serial-getty|autovt|container-getty)@.*
    | gdm\d? | sddm | lightdm | lxdm | xdm | kdm | slim | nodm | wdm | display-manager
    | NetworkManager | networking | network | network-manager | wicked.* | ifup@.* | wpa_supplicant(@.*)?
    | ModemManager | iwd | connman | openvpn.* | wg-quick@.* | strongswan.* | ipsec | tinc.*
    | docker | containerd | podman | lxc.* | lxd | incus | libvirtd | virtqemud | systemd-nspawn@.*
    | pve-cluster | corosync | pacemaker | drbd | multipathd | iscsid | lvm2-.*
    | firewalld | nftables | netfilter-persistent
    """,
    re.VERBOSE,
)
"""Units whose restart breaks sessions, links, storage, or everything that runs under them. What
systemctl(1) would do to them by hand a reboot does with everybody's knowledge."""
_STATE = re.compile(r"initializing|starting|running|degraded|maintenance|stopping|offline|unknown")
"""The words of `systemctl is-system-running`, systemctl(1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitHealth:
    """What systemctl(1) says. A host that runs no systemd has no failed units and has always started."""

    state: str
    """The word of `systemctl is-system-running`; empty without systemd."""
    failed: tuple[str, ...]

    @property
    def started(self) -> bool:
        """Whether the boot has come to its end, with or without failed units."""
        return self.state in _STARTED or self.state == ""


def units_script() -> str:
    """The script that asks for the system's state and its failed units."""
    return framed_script(
        "if [ -d /run/systemd/system ]; then",
        "part state systemctl is-system-running",
        "part failed systemctl list-units --failed --plain --no-legend --no-pager",
        "fi",
    )


@parser
def parse_units(output: bytes) -> UnitHealth:
    """Understand the output of `units_script`. Raises ParseFailed."""
    parts = parse_parts(output, expected=())
    if "state" not in parts:  # as the host says: it runs no systemd
        return UnitHealth(state="", failed=())
    failed = parts["failed"].stdout
    names = (line.split()[0] for line in failed.split("\n") if line.strip())
    state = parts["state"].stdout.strip()
    if parts["failed"].status != 0 or not _STATE.fullmatch(state):
        # A systemctl that cannot ask has seen no failed unit, which is not to say that there is none.
        raise ParseFailed(part="state", line=state or parts["failed"].message)
    return UnitHealth(state=state, failed=tuple(names))


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
    return _ONLY_BY_REBOOT.fullmatch(unit.removesuffix(".service")) is not None


def restart_command(units: Iterable[str]) -> ChangingCommand:
    """The command that restarts these units, each by itself; what does not run is not started."""
    lines = [
        f"part unit{number} as_root systemctl try-restart -- {quoted(unit)}"
        for number, unit in enumerate(_restartable(units))
    ]
    script = framed_script(FACTS, *lines)
    return ChangingCommand(kind=ChangeKind.RESTART_SERVICES, change_script=script)


@parser
def parse_restart(output: bytes, units: Iterable[str]) -> Restarted:
    """Understand the output of `restart_command` for the same `units`. Raises ParseFailed."""
    units = tuple(units)
    asked = _restartable(units)
    parts = parse_parts(output, expected=tuple(f"unit{n}" for n in range(len(asked))))
    restarted, failed = [], []
    for number, unit in enumerate(asked):
        part = parts[f"unit{number}"]
        if part.status == 0:
            restarted.append(unit)
        else:
            failed.append(f"{unit}: {part.message or f'exit {part.status}'}")
    left = tuple(unit for unit in units if by_reboot_only(unit))
    return Restarted(restarted=tuple(restarted), failed=tuple(failed), left=left)


def _restartable(units: Iterable[str]) -> tuple[str, ...]:
    return tuple(unit for unit in units if not by_reboot_only(unit))
