"""Detects the package manager of a host among those that tendhost supports."""

from collections.abc import Mapping
from dataclasses import dataclass

from tendhost.server.packages.apt.apt import Apt
from tendhost.server.packages.dnf.dnf import Dnf, Dnf5, Yum
from tendhost.server.packages.facts import HostFacts
from tendhost.server.packages.package_manager import PackageManager
from tendhost.server.packages.script import Part
from tendhost.server.packages.zypper.zypper import Zypper

PACKAGE_MANAGERS: tuple[PackageManager, ...] = (Apt(), Dnf5(), Dnf(), Yum(), Zypper())
"""In the order of preference: where two of one family are there, the first is chosen."""


def package_manager(name: str) -> PackageManager | None:
    """The package manager of this name, as in SystemFacts.package_manager."""
    return next((manager for manager in PACKAGE_MANAGERS if manager.name == name), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """The package manager that a host uses."""

    manager: PackageManager | None
    found: tuple[str, ...]
    """The commands of all those that are there, the chosen one first."""
    why: str
    """One sentence."""


def detection_lines() -> str:
    """Lines of sh that choose the package manager: `$manager` is then its command, or empty.

    That of the system that os-release(5) names, then those of the systems that it is like, then any
    that is there: a foreign one may be installed beside a host's own.
    """
    own: dict[str, list[str]] = {}
    for known in PACKAGE_MANAGERS:
        for system in known.systems:
            own.setdefault(system, []).append(known.command)
    cases = "\n".join(f"      {system}) set -- {' '.join(m)} ;;" for system, m in own.items())
    every = " ".join(known.command for known in PACKAGE_MANAGERS)
    return f"""
os_ids() {{ printf '%s\\n' "$release" | sed -n "s/^$1=//p" | tr -d "\\"'"; }}
managers() {{
  chosen=
  for id in $(os_ids ID) $(os_ids ID_LIKE) any; do
    case $id in
{cases}
      any) set -- {every} ;;
      *) set -- ;;
    esac
    for m in "$@"; do [ "$chosen" ] || ! command -v $m >/dev/null || chosen=$m; done
  done
  [ -z "$chosen" ] || echo $chosen
  for m in {every}; do [ $m = "$chosen" ] || ! command -v $m >/dev/null || echo $m; done
}}
part manager managers; manager=${{out%%[!a-z0-9-]*}}
""".strip()


def parse_detection(parts: Mapping[str, Part], facts: HostFacts) -> Detection:
    """Understand the part of `detection_lines`."""
    found = tuple(parts["manager"].stdout.split())
    chosen = next((m for m in PACKAGE_MANAGERS if found and m.command == found[0]), None)
    if chosen is None:
        return Detection(
            manager=None, found=found, why="no package manager that tendhost knows is there"
        )
    system = next((name for name in facts.ids if name in chosen.systems), None)
    if system is not None:
        why = f"os-release names {system}, and {chosen.command} is there"
    else:
        named = facts.ids[0] if facts.ids and facts.ids[0] else "no system"
        why = f"os-release names {named}, and {chosen.command} is there"
    return Detection(manager=chosen, found=found, why=f"package manager {chosen.name}: {why}")
