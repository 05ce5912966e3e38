"""Conversion of the rows of osquery's tables to values.

https://osquery.io/schema has the tables. None is returned where the rows do not answer; all raise
ParseFailed for rows that cannot be understood.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import timedelta

from tendhost.server.domain.bounds import (
    LARGEST_SIZE,
    LONGEST_SPAN,
    size_in_bytes,
    whole_number,
)
from tendhost.server.domain.inventory.hardware import (
    ContainerRow,
    Cpu,
    ImageRow,
    Interface,
    Machine,
    Memory,
    Mount,
)
from tendhost.server.domain.inventory.inventory import SystemFacts
from tendhost.server.packages.collector import known_mac, ordered
from tendhost.server.packages.errors import ParseFailed
from tendhost.server.packages.rpm.versions import package_order

Row = Mapping[str, str]
Packages = tuple[tuple[str, str], ...]


def text_of(row: Row, column: str) -> str:
    return row.get(column, "").strip()


def _number(row: Row, column: str) -> int | None:
    """A number that is not negative; None for no value, which some tables word "-1", and for one that
    no table can mean."""
    value = row.get(column, "")
    if value in ("", "-1"):
        return None
    if not _DIGITS.match(value):
        raise ParseFailed(part="osquery", line=f"{column}: {value}")
    return whole_number(value, most=LARGEST_SIZE)


_DIGITS = re.compile(r"[0-9]{1,19}\Z")


_LONGEST_UPTIME = LONGEST_SPAN.total_seconds()


def _needed(row: Row, *columns: str) -> tuple[str, ...]:
    try:
        return tuple([row[column] for column in columns])
    except KeyError:
        raise ParseFailed(part="osquery", line=str(row)) from None


def system_of(tables: Mapping[str, list[Row]]) -> SystemFacts | None:
    rows = [tables.get(table, []) for table in ("os_version", "kernel_info", "uptime")]
    if not all(rows):
        return None
    release, kernel, uptime = (found[0] for found in rows)
    seconds = _number(uptime, "total_seconds")
    return SystemFacts(
        kernel=text_of(kernel, "version"),
        architecture=text_of(release, "arch"),
        uptime=None if seconds is None or seconds > _LONGEST_UPTIME else timedelta(seconds=seconds),
    )


def deb_packages_of(rows: Iterable[Row]) -> Packages | None:
    # dpkg-query(1): what is wanted, the error flag, what is. As in dpkg's own list, the native
    # architecture is that of dpkg itself.
    found: list[tuple[str, str, str]] = []
    native = ""
    for row in rows:
        name, version, arch, status = _needed(row, "name", "version", "arch", "status")
        if name == "dpkg":
            native = arch
        match = _DPKG_STATUS.match(status)
        if match is None or not name:
            raise ParseFailed(part="osquery", line=f"{name}: {status}")
        if match[1] not in ("not-installed", "config-files"):
            found.append((name, version, arch))
    if not native:
        return None
    return _packages(found, own=(native, "all"), mark=":")


_DPKG_STATUS = re.compile(
    r"(?:unknown|install|hold|deinstall|purge) (?:ok|reinstreq) (not-installed|config-files|"
    r"half-installed|unpacked|half-configured|triggers-awaited|triggers-pending|installed)\Z"
)


def rpm_packages_of(rows: Iterable[Row], architecture: str) -> Packages | None:
    # rpm(8): an epoch that is not there is 0, and a key has no architecture.
    found: list[tuple[str, str, str]] = []
    native = architecture
    for row in rows:
        name, epoch, version, release, arch = _needed(
            row, "name", "epoch", "version", "release", "arch"
        )
        if not name or not version or (epoch and not _DIGITS.match(epoch)):
            raise ParseFailed(part="osquery", line=f"{name} {epoch}:{version}-{release}")
        if name == "rpm":
            native = arch
        prefix = f"{epoch}:" if epoch.strip("0") else ""
        found.append((name, f"{prefix}{version}-{release}", arch))
    if not native:
        return None
    named = _packages(found, own=(native, "noarch", "", "(none)"), mark=".")
    return tuple(sorted(named, key=package_order)) if named else None


def _packages(
    found: Iterable[tuple[str, str, str]], *, own: tuple[str, ...], mark: str
) -> Packages | None:
    named = [
        (name if arch in own else f"{name}{mark}{arch}", version) for name, version, arch in found
    ]
    return tuple(sorted(named)) or None


def machine_of(rows: list[Row]) -> Machine | None:
    if not rows:
        return None
    row = rows[0]
    return Machine(
        vendor=text_of(row, "hardware_vendor"),
        model=text_of(row, "hardware_model"),
        serial=text_of(row, "hardware_serial"),
        hostname=text_of(row, "computer_name") or text_of(row, "hostname"),
    )


def cpu_of(rows: list[Row], processors: list[Row]) -> Cpu | None:
    # Where the processor does not name itself, the firmware may: if it knows one name for all.
    if not rows:
        return None
    row, models = rows[0], {text_of(processor, "model") for processor in processors}
    return Cpu(
        model=text_of(row, "cpu_brand") or (models.pop() if len(models) == 1 else ""),
        sockets=_number(row, "cpu_sockets") or None,
        cores=_number(row, "cpu_physical_cores") or None,
        threads=_number(row, "cpu_logical_cores") or None,
    )


def memory_of(rows: list[Row]) -> Memory | None:
    total = _number(rows[0], "memory_total") if rows else None
    if total is None:
        return None
    return Memory(total_bytes=total, available_bytes=_number(rows[0], "memory_available"))


def mounts_of(rows: Iterable[Row]) -> tuple[Mount, ...] | None:
    found: dict[str, Mount] = {}  # of two on one path, the later one lies on top
    for row in rows:
        path, device, kind = _needed(row, "path", "device", "type")
        size, blocks = _number(row, "blocks_size"), _number(row, "blocks")
        whole = size_in_bytes(size * blocks) if size and blocks else None
        if size and whole is not None:
            free = min(whole, size * (_number(row, "blocks_available") or 0))
            found[path] = Mount(
                path=path, device=device, type=kind, size_bytes=whole, free_bytes=free
            )
    return tuple(found[path] for path in sorted(found)) or None


def interfaces_of(tables: Mapping[str, list[Row]]) -> tuple[Interface, ...] | None:
    # An IPv6 address has its scope behind it ("fe80::1%eth0").
    if not tables.get("interface_details") or "interface_addresses" not in tables:
        return None
    found: dict[str, set[str]] = {}
    for row in tables["interface_addresses"]:
        name, address = _needed(row, "interface", "address")
        found.setdefault(name, set()).add(address.partition("%")[0])
    interfaces = {}
    for row in tables["interface_details"]:
        name, mac = _needed(row, "interface", "mac")
        try:
            addresses = ordered(found.get(name, set()) - {""})
        except ValueError:
            raise ParseFailed(part="osquery", line=f"{name}: {found[name]}") from None
        interfaces[name] = Interface(
            name=name, mac=known_mac(mac), addresses=addresses, mtu=_number(row, "mtu")
        )
    return tuple(interfaces[name] for name in sorted(interfaces))


def containers_of(rows: list[Row] | None) -> tuple[ContainerRow, ...] | None:
    if rows is None:
        return None
    found = [_needed(row, "id", "name", "image", "state", "status") for row in rows]
    return tuple(
        ContainerRow(id=id_, name=name.removeprefix("/"), image=image, state=state, status=status)
        for id_, name, image, state, status in sorted(found, key=lambda one: one[1])
    )


def images_of(rows: list[Row] | None) -> tuple[ImageRow, ...] | None:
    # Docker calls the tag of an image that has none "<none>:<none>".
    if rows is None:
        return None
    found = []
    for row in rows:
        id_, tags = _needed(row, "id", "tags")
        size = _number(row, "size_bytes")
        if size is None:
            raise ParseFailed(part="osquery", line=str(row))
        named = tuple(tag for tag in tags.split(",") if tag and tag != "<none>:<none>")
        found.append(ImageRow(id=id_.removeprefix("sha256:"), tags=named, size_bytes=size))
    return tuple(sorted(found, key=lambda image: (image.tags, image.id)))
