"""The package database of dpkg: installed and held packages, its health, and changes of it."""

import re
from dataclasses import dataclass

from tendhost.server.packages.errors import DatabaseBroken, ParseFailed

HEALTH = r"""
interrupted() { [ -d /var/lib/dpkg/updates ] && ls /var/lib/dpkg/updates; }
installed() {
  dpkg-query -W -f '${Architecture}\n' dpkg &&
    dpkg-query -W -f '${db:Status-Abbrev}\t${Package}\t${Architecture}\t${Version}\n'
}
unsound() {
  all=$(dpkg-query -W -f '${db:Status-Abbrev}\t${Package}\n') || return
  printf '%s\n' "$all" | sed '/^.[inc] /d'
}
""".strip()
"""Shell functions. The native architecture is that of dpkg itself. dpkg --audit is not asked: all
it adds is packages without checksums or lists, which hinder no upgrade, and it speaks in prose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseHealth:
    """Whether dpkg's database lets packages be changed."""

    interrupted: bool = False
    """dpkg was killed at work: apt refuses everything until `dpkg --configure -a` has run."""
    unconfigured: tuple[str, ...] = ()
    """Unpacked, half configured or waiting for triggers: `dpkg --configure -a` may mend them."""
    half_installed: tuple[str, ...] = ()
    """Half installed: `dpkg --configure -a` leaves them so. No hindrance by themselves, for apt
    installs them again with the next upgrade; where it cannot, it says so."""

    def problem(self) -> DatabaseBroken | None:
        """What has to be repaired before packages can be changed, or None."""
        if self.interrupted:
            text = "dpkg was interrupted"
        elif self.unconfigured:
            text = "packages are installed but not configured"
        else:
            return None
        names = (*self.unconfigured, *self.half_installed)
        return DatabaseBroken(text=text, packages=names, repairable=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class InstalledPackages:
    """dpkg's database, read."""

    packages: tuple[tuple[str, str], ...] = ()
    """Name and version, ordered by name; `name:arch` for a foreign architecture."""
    held: frozenset[str] = frozenset()
    unconfigured: tuple[str, ...] = ()
    half_installed: tuple[str, ...] = ()


def parse_installed(text: str) -> InstalledPackages:
    """Understand the part `installed`. Raises ParseFailed.

    The three letters of dpkg-query(1)'s db:Status-Abbrev are what is wanted ("h" is a hold), what
    is ("n" nothing and "c" only configuration files: not installed), and "R" for reinstallation.
    """
    native, _, table = text.partition("\n")
    packages: list[tuple[str, str]] = []
    held: set[str] = set()
    unconfigured: list[str] = []
    half_installed: list[str] = []
    for line in table.split("\n"):
        try:
            status, name, architecture, version = line.split("\t")
        except ValueError:
            if not line:
                continue
            raise ParseFailed(part="installed", line=line) from None
        if architecture != native and architecture != "all":
            name = f"{name}:{architecture}"
        if status != "ii ":
            if not _STATUS.match(status):
                raise ParseFailed(part="installed", line=line)
            if status[0] == "h":
                held.add(name)
            if status[1] in "nc":
                continue
            if status[1] == "H" or status[2] == "R":
                half_installed.append(name)
            elif status[1] != "i":
                unconfigured.append(name)
        packages.append((name, version))
    packages.sort()
    return InstalledPackages(
        packages=tuple(packages),
        held=frozenset(held),
        unconfigured=tuple(unconfigured),
        half_installed=tuple(half_installed),
    )


_STATUS = re.compile(r"[uihrp][ncHUFWti][ R]\Z")


def parse_interrupted(text: str) -> bool:
    """Whether dpkg left updates unmerged: apt's own rule is a name of digits only."""
    return any(name.isdigit() for name in text.split())


def parse_health(interrupted: str, unsound: str) -> DatabaseHealth:
    """Understand the parts `interrupted` and `unsound`. Raises ParseFailed."""
    unconfigured: list[str] = []
    half_installed: list[str] = []
    for line in filter(None, unsound.split("\n")):
        status, _, name = line.partition("\t")
        if not _STATUS.match(status) or not name:
            raise ParseFailed(part="unsound", line=line)
        half = status[1] == "H" or status[2] == "R"
        (half_installed if half else unconfigured).append(name)
    return DatabaseHealth(
        interrupted=parse_interrupted(interrupted),
        unconfigured=tuple(unconfigured),
        half_installed=tuple(half_installed),
    )
