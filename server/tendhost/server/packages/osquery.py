"""Inventory and raw queries through osquery, on hosts that have it.

osqueryi reads statements from standard input line by line: each line of complete SQL gives one JSON
array on standard output, an empty one where it failed, and then "Error: near line N: WORDS" on
standard error; it goes on with the next line, and ends with 1 where any failed. Statements in one
argument would be merged into one array, and end with the first that fails. Every value is a string.
So says osquery/devtools/shell.cpp, alike from 3.3 to 5.23.

Tables whose data osquery may not read, or does not find, are empty and no error. So an empty answer
counts only where nothing is a plausible answer: for containers.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import msgspec

from tendhost.server.domain.inventory.hardware import (
    NATIVE,
    ContainerRow,
    Cpu,
    ImageRow,
    Interface,
    InventoryPart,
    Machine,
    Memory,
    Mount,
    Source,
)
from tendhost.server.domain.inventory.inventory import SystemFacts
from tendhost.server.domain.shell_words import quoted
from tendhost.server.packages import osquery_rows
from tendhost.server.packages.collector import Collected
from tendhost.server.packages.errors import PackageCommandFailed, ParseFailed
from tendhost.server.packages.facts import AS_ROOT, AS_ROOT_OR_USER
from tendhost.server.packages.osquery_rows import Packages, Row
from tendhost.server.packages.osquery_sql import checked_sql
from tendhost.server.packages.script import Part, framed_script, parse_parts

MAX_SECONDS: Final = 30
"""How long osqueryi may take, where the host has timeout(1)."""

# SIGKILL, because osqueryi ends in an orderly way on SIGTERM, which may hang as well. It is started
# as root where it can be: without, firmware and other users' data are missing. No extension is
# started or waited for.
_OSQUERY = rf"""
{AS_ROOT}
{AS_ROOT_OR_USER}
osquery() {{
  set -- "$(command -v osqueryi)" --json --disable_extensions "$@"
  ! timeout -s KILL 1 true >/dev/null 2>&1 || set -- timeout -s KILL {MAX_SECONDS} "$@"
  [ "$privileged" ] || {{ as_root true 2>/dev/null; privileged=$?; }}
  as_root_or_user "$@"
}}
""".strip()

# `*` where columns were added over the years and the table is small; an unknown column fails the
# whole statement. Never so for docker_containers: its environments hold secrets.
_STATEMENTS: Mapping[str, str] = {
    "osquery_info": "select version from osquery_info;",
    "os_version": "select * from os_version;",
    "kernel_info": "select version from kernel_info;",
    "uptime": "select total_seconds from uptime;",
    "deb_packages": "select name, version, arch, status from deb_packages;",
    "rpm_packages": "select name, epoch, version, release, arch from rpm_packages;",
    "system_info": "select * from system_info;",
    "cpu_info": "select model from cpu_info;",
    "memory_info": "select * from memory_info;",
    "mounts": "select path, device, type, blocks_size, blocks, blocks_available from mounts;",
    "interface_details": "select interface, mac, mtu from interface_details;",
    "interface_addresses": "select interface, address from interface_addresses;",
    "docker_containers": "select id, name, image, state, status from docker_containers;",
    "docker_images": "select id, tags, size_bytes from docker_images;",
}
_TABLES: Mapping[InventoryPart, tuple[str, ...]] = {
    InventoryPart.SYSTEM: ("os_version", "kernel_info", "uptime"),
    InventoryPart.PACKAGES: ("deb_packages", "rpm_packages"),
    InventoryPart.HARDWARE: ("system_info", "cpu_info", "memory_info"),
    InventoryPart.MOUNTS: ("mounts",),
    InventoryPart.NETWORK: ("interface_details", "interface_addresses"),
    InventoryPart.CONTAINERS: ("docker_containers", "docker_images"),
}


def _tables(parts: Collection[InventoryPart]) -> tuple[str, ...]:
    """The tables of these parts, in the order in which they are asked."""
    return (
        "osquery_info",
        *(name for part, names in _TABLES.items() if part in parts for name in names),
    )


def osquery_lines(parts: Collection[InventoryPart]) -> str:
    """Lines of sh that ask osqueryi for those of `parts` that it knows, where it is on the host.

    PENDING is not among them: osquery knows no archives.
    """
    statements = " ".join(quoted(_STATEMENTS[table]) for table in _tables(parts))
    return "\n".join(
        (
            _OSQUERY,
            f"tables() {{ printf '%s\\n' {statements} | osquery; }}",
            "! command -v osqueryi >/dev/null || part osquery tables",
        )
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class OsqueryAnswer:
    """What osquery said. None: not asked, or not answered, and another collector has to."""

    version: str = ""
    """Such as "5.12.1"; empty where it did not say."""
    system: SystemFacts | None = None
    """Kernel, architecture and uptime only: the names of the system are not os-release(5)'s own, and
    of every relative of Red Hat's it says "rhel"."""
    deb_packages: Packages | None = None
    """As Inventory.installed; None where there are none."""
    rpm_packages: Packages | None = None
    machine: Machine | None = None
    """Without UUID: osquery makes a new one up where it cannot read the firmware's."""
    cpu: Cpu | None = None
    memory: Memory | None = None
    mounts: tuple[Mount, ...] | None = None
    """osquery keeps 32 bits of each number of blocks: sizes from 16 TiB (at 4 KiB a block) are wrong."""
    interfaces: tuple[Interface, ...] | None = None
    containers: tuple[ContainerRow, ...] | None = None
    """Empty where there is no Docker, too, or it could not be reached."""
    images: tuple[ImageRow, ...] | None = None
    failed: Mapping[str, str] = field(default_factory=dict)
    """The tables that could not be read, and osquery's message ("no such table: mounts")."""

    @property
    def parts(self) -> frozenset[InventoryPart]:
        """The parts that were answered as a whole."""
        answered = {
            InventoryPart.SYSTEM: self.system is not None,
            InventoryPart.PACKAGES: self.deb_packages is not None or self.rpm_packages is not None,
            InventoryPart.HARDWARE: None not in (self.machine, self.cpu, self.memory),
            InventoryPart.MOUNTS: self.mounts is not None,
            InventoryPart.NETWORK: self.interfaces is not None,
            InventoryPart.CONTAINERS: None not in (self.containers, self.images),
        }
        return frozenset(part for part, whole in answered.items() if whole)


def parse_answer(
    parts: Mapping[str, Part], wanted: Collection[InventoryPart], *, architecture: str
) -> OsqueryAnswer | None:
    """Understand the part of `osquery_lines`; None: osqueryi is not on the host. Raises ParseFailed.

    What osquery did not answer, because a table is not there, it was killed or does not even start, is
    None, and not an error. `architecture` is SystemFacts.architecture; to packages of rpm's it is
    their own where rpm is not a package itself.
    """
    part = parts.get("osquery")
    if part is None:
        return None
    tables, failed = _read(part, _tables(wanted))
    info = tables.get("osquery_info", [])
    return OsqueryAnswer(
        version=osquery_rows.text_of(info[0], "version") if info else "",
        system=osquery_rows.system_of(tables),
        deb_packages=osquery_rows.deb_packages_of(tables.get("deb_packages", [])),
        rpm_packages=osquery_rows.rpm_packages_of(tables.get("rpm_packages", []), architecture),
        machine=osquery_rows.machine_of(tables.get("system_info", [])),
        cpu=osquery_rows.cpu_of(tables.get("system_info", []), tables.get("cpu_info", [])),
        memory=osquery_rows.memory_of(tables.get("memory_info", [])),
        mounts=osquery_rows.mounts_of(tables.get("mounts", [])),
        interfaces=osquery_rows.interfaces_of(tables),
        containers=osquery_rows.containers_of(tables.get("docker_containers")),
        images=osquery_rows.images_of(tables.get("docker_images")),
        failed=failed,
    )


def combine(
    answer: OsqueryAnswer | None, native: Collected, wanted: Collection[InventoryPart]
) -> tuple[Collected, Source]:
    """Hardware, mounts and network from osquery where it answered, and from the host's own files
    where not; and which collector each of the wanted parts came from.

    PACKAGES and SYSTEM count as native where osquery did not answer: the package manager and
    native.parse_facts do. The UUID of the machine is always the kernel's own.
    """
    if answer is None:
        answer = OsqueryAnswer()
    source: dict[InventoryPart, str] = {}
    for part in wanted:
        if part in answer.parts:
            source[part] = f"osquery {answer.version}".strip()
        elif part is not InventoryPart.CONTAINERS and not _lacks(native, part):
            source[part] = NATIVE
    best = native
    if InventoryPart.HARDWARE in answer.parts and answer.machine is not None:
        uuid = native.machine.uuid if native.machine else ""
        machine = replace(answer.machine, uuid=uuid)
        best = replace(best, machine=machine, cpu=answer.cpu, memory=answer.memory)
    if answer.mounts is not None:
        best = replace(best, mounts=answer.mounts)
    if answer.interfaces is not None:
        best = replace(best, interfaces=answer.interfaces)
    return best, source


def _lacks(native: Collected, part: InventoryPart) -> bool:
    return {
        InventoryPart.HARDWARE: native.machine is None,
        InventoryPart.MOUNTS: native.mounts is None,
        InventoryPart.NETWORK: native.interfaces is None,
    }.get(part, False)


_rows = msgspec.json.Decoder(list[dict[str, str]])
_NEAR_LINE = re.compile(r"^Error: near line ([0-9]{1,4}): (.*)$", re.MULTILINE)


def _read(part: Part, asked: tuple[str, ...]) -> tuple[dict[str, list[Row]], dict[str, str]]:
    """The rows of each table that was read, and why the others were not."""
    arrays = _arrays(part)
    errors = {int(line): said for line, said in _NEAR_LINE.findall(part.stderr)}
    if len(arrays) > len(asked) or any(not 1 <= line <= len(asked) for line in errors):
        raise ParseFailed(part="osquery", line=f"{len(asked)} statements, {len(arrays)} answers")
    if part.status == 0 and len(arrays) < len(asked):
        raise ParseFailed(part="osquery", line=f"{len(asked)} statements, {len(arrays)} answers")
    read: dict[str, list[Row]] = {}
    failed: dict[str, str] = {}
    for number, table in enumerate(asked, start=1):
        if number in errors:
            failed[table] = errors[number]
        elif number > len(arrays) or (part.status and not errors and not arrays[number - 1]):
            failed[table] = part.message or f"osqueryi ended with {part.status}"
        else:
            read[table] = arrays[number - 1]
    return read, failed


def _arrays(part: Part) -> list[list[Row]]:
    # A line that begins with "]" ends an array: within a string a newline is escaped.
    *whole, rest = part.stdout.split("\n]")
    if rest.strip() and part.status == 0:
        raise ParseFailed(part="osquery", line=rest.strip())
    arrays: list[list[Row]] = []
    for text in whole:
        try:
            arrays.append([*_rows.decode(f"{text}]")])
        except (msgspec.MsgspecError, UnicodeError):
            raise ParseFailed(part="osquery", line=text.strip()) from None
    return arrays


def run_command(sql: str) -> str:
    """The script for sh that asks osqueryi one question, as root where it can be. Raises SqlRefused."""
    return framed_script(
        _OSQUERY,
        "rows() { command -v osqueryi >/dev/null || return 127",
        f"osquery {quoted(checked_sql(sql))}; }}",
        "part rows rows",
    )


def parse_rows(output: bytes) -> tuple[Row, ...]:
    """Understand the output of `run_command`.

    Raises PackageCommandFailed with osquery's message (no such table, or it is not on the host), and
    ParseFailed.
    """
    part = parse_parts(output, expected=("rows",))["rows"]
    if part.status:
        gone = part.status == 127 and not part.message
        text = "osqueryi is not on the host" if gone else part.message
        raise PackageCommandFailed(command="osqueryi", exit_status=part.status, text=text)
    arrays = _arrays(part)
    if len(arrays) != 1:
        raise ParseFailed(part="rows", line=part.stdout)
    return tuple(arrays[0])
