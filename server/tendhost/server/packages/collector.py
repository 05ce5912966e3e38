"""Collects machine, processor, memory, mounts and network from /proc, /sys and df."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network, ip_address

from tendhost.server.domain.inventory.hardware import (
    Cpu,
    Interface,
    InventoryPart,
    Machine,
    Memory,
    Mount,
)
from tendhost.server.packages.errors import ParseFailed
from tendhost.server.packages.script import Part, require

# grep -H '' prints each readable file's lines after its name, and goes on past the others. Serial
# and UUID are only for root. A device tree has no DMI, and its strings end in a NUL.
_HARDWARE = r"""
machine() {
  set -- grep -sH '' /proc/sys/kernel/hostname /sys/class/dmi/id/sys_vendor \
    /sys/class/dmi/id/product_name /sys/class/dmi/id/product_serial /sys/class/dmi/id/product_uuid
  as_root_or_user "$@"
  [ ! -r /proc/device-tree/model ] ||
    printf 'device-tree:%s\n' "$(tr -d '\0' </proc/device-tree/model)"
}
cpu() {
  sed -n '/^model name[^:]*: /{s//model /p;q;}' /proc/cpuinfo
  sed -n 's/^processor.*/thread/p;s/^physical id[^:]*: /socket /p;s/^core id[^:]*: /core /p' \
    /proc/cpuinfo
}
part machine machine
part cpu cpu
part memory grep -E '^(MemTotal|MemAvailable):' /proc/meminfo
""".strip()
# A server that has gone lets df wait for ever; its own mount is then the only one that is lost
# with the others, and nothing but this part. The options of a mount, which may hold a password, stay there.
_MOUNTS = r"""
sizes() { if timeout 1 true >/dev/null 2>&1; then timeout 20 df -Pk; else df -Pk; fi; }
part mounted sed 's/ [^ ]* \([0-9]* [0-9]*\)$/ - \1/' /proc/mounts
part sizes sizes
""".strip()
# Without ip(8) the addresses are read from the routing tables. /sys/class/net may hold files, too.
_NETWORK = r"""
interfaces() {
  set --
  for i in $(ls /sys/class/net); do
    [ ! -e /sys/class/net/$i/mtu ] || set -- "$@" /sys/class/net/$i/address /sys/class/net/$i/mtu
  done
  [ $# = 0 ] || grep -sH '' "$@"
}
addresses() {
  if command -v ip >/dev/null; then echo ip; ip -o addr show; return; fi
  echo routes; cat /proc/net/route
  echo local; cat /proc/net/fib_trie
  [ ! -e /proc/net/if_inet6 ] || { echo inet6; cat /proc/net/if_inet6; }
}
part interfaces interfaces
part addresses addresses
""".strip()

_LINES: Mapping[InventoryPart, tuple[str, tuple[str, ...]]] = {
    InventoryPart.HARDWARE: (_HARDWARE, ("machine", "cpu", "memory")),
    InventoryPart.MOUNTS: (_MOUNTS, ("mounted", "sizes")),
    InventoryPart.NETWORK: (_NETWORK, ("interfaces", "addresses")),
}


def collector_lines(parts: Collection[InventoryPart]) -> str:
    """Lines of sh, after facts.FACTS, for those of `parts` that this module knows; the others have
    their own modules."""
    return "\n".join(lines for part, (lines, _) in _LINES.items() if part in parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """What a host's own files said; None: not asked, or not to be had there."""

    machine: Machine | None = None
    cpu: Cpu | None = None
    memory: Memory | None = None
    mounts: tuple[Mount, ...] | None = None
    interfaces: tuple[Interface, ...] | None = None


def parse_collected(parts: Mapping[str, Part], wanted: Collection[InventoryPart]) -> Collected:
    """Understand the parts of `collector_lines`. Raises ParseFailed."""
    found = Collected()
    for part, (_, names) in _LINES.items():
        if part in wanted:
            require(parts, *names)
    if InventoryPart.HARDWARE in wanted:
        found = replace(
            found,
            machine=_machine(parts["machine"].stdout),
            cpu=_cpu(parts["cpu"].stdout),
            memory=_memory(parts["memory"].stdout),
        )
    if InventoryPart.MOUNTS in wanted:
        found = replace(found, mounts=_mounts(parts["mounted"].stdout, parts["sizes"].stdout))
    if InventoryPart.NETWORK in wanted:
        found = replace(
            found, interfaces=_interfaces(parts["interfaces"].stdout, parts["addresses"].stdout)
        )
    return found


_MACHINE = {
    "/sys/class/dmi/id/sys_vendor": "vendor",
    "/sys/class/dmi/id/product_name": "model",
    "/sys/class/dmi/id/product_serial": "serial",
    "/sys/class/dmi/id/product_uuid": "uuid",
    "/proc/sys/kernel/hostname": "hostname",
    "device-tree": "model",
}


def _machine(text: str) -> Machine:
    found: dict[str, str] = {}
    for line in filter(None, text.split("\n")):
        path, colon, value = line.partition(":")
        if not colon or path not in _MACHINE:
            raise ParseFailed(part="machine", line=line)
        if value.strip():
            found.setdefault(_MACHINE[path], value.strip())
    found["uuid"] = found.get("uuid", "").lower()
    return Machine(**found)


def _cpu(text: str) -> Cpu:
    # One block a thread; a virtual machine or an ARM processor may leave sockets and cores out.
    model, socket, threads = "", "", 0
    sockets: set[str] = set()
    cores: set[tuple[str, str]] = set()
    for line in filter(None, text.split("\n")):
        word, _, value = line.partition(" ")
        if word == "model":
            model = value.strip()
        elif line == "thread":
            threads, socket = threads + 1, ""
        elif word == "socket" and _ID.match(value):
            socket = value
            sockets.add(value)
        elif word == "core" and _ID.match(value):
            cores.add((socket, value))
        else:
            raise ParseFailed(part="cpu", line=line)
    return Cpu(
        model=model,
        sockets=len(sockets) or None,
        cores=len(cores) or None,
        threads=threads or None,
    )


_ID = re.compile(r"-?[0-9]{1,9}\Z")


def _memory(text: str) -> Memory | None:
    # proc_meminfo(5): what it calls kB are 1024 bytes.
    found: dict[str, int] = {}
    for line in filter(None, text.split("\n")):
        match = _MEMINFO.match(line)
        if match is None:
            raise ParseFailed(part="memory", line=line)
        found[match[1]] = int(match[2]) * 1024
    total = found.get("MemTotal")
    if total is None:
        return None
    return Memory(total_bytes=total, available_bytes=found.get("MemAvailable"))


_MEMINFO = re.compile(r"(MemTotal|MemAvailable): +([0-9]{1,15}) kB\Z")


def _mounts(mounted: str, sizes: str) -> tuple[Mount, ...] | None:
    # POSIX df -P: file system, blocks, used, available, capacity, mount point. It leaves out what
    # has no size and what is mounted a second time.
    types: dict[str, str] = {}
    for line in filter(None, mounted.split("\n")):
        fields = line.split(" ")
        if len(fields) != 6:
            raise ParseFailed(part="mounted", line=line)
        types[_OCTAL.sub(lambda code: chr(int(code[1], 8)), fields[1])] = fields[2]
    found: dict[str, Mount] = {}  # of two on one path, the later one lies on top
    for line in filter(None, sizes.split("\n")[1:]):
        match = _DF.match(line) if len(line) < _LONGEST_ROW else None
        if match is None:
            raise ParseFailed(part="sizes", line=line)
        device, size, free, path = match.groups()
        if int(size):
            found[path] = Mount(
                path=path,
                device=device,
                type=types.get(path, ""),
                size_bytes=int(size) * 1024,
                free_bytes=max(0, int(free)) * 1024,
            )
    return tuple(found[path] for path in sorted(found)) or None


_OCTAL = re.compile(r"\\([0-7]{3})")
_LONGEST_ROW = 10_000  # two paths of PATH_MAX
_DF = re.compile(r"(\S.*?) +([0-9]{1,15}) +-?[0-9]+ +(-?[0-9]{1,15}) +(?:[0-9]+%|-) (/.*)\Z")


def _interfaces(interfaces: str, addresses: str) -> tuple[Interface, ...] | None:
    macs: dict[str, str] = {}
    mtus: dict[str, int] = {}
    for line in filter(None, interfaces.split("\n")):
        match = _SYS.match(line)
        if match is None:
            raise ParseFailed(part="interfaces", line=line)
        name, mac, mtu = match.groups()
        if mtu is not None:
            mtus[name] = int(mtu)
        else:
            macs[name] = mac
    found = _addresses(addresses)
    if not macs and not mtus:
        return None
    return tuple(
        Interface(
            name=name,
            mac=known_mac(macs.get(name, "")),
            addresses=ordered(found.get(name, ())),
            mtu=mtus.get(name),
        )
        for name in sorted(macs.keys() | mtus.keys())
    )


_SYS = re.compile(r"/sys/class/net/([^/]+)/(?:address:([0-9a-fA-F:]*)|mtu:([0-9]{1,9}))\Z")


def known_mac(mac: str) -> str:
    """A hardware address of six bytes in small letters; empty for others, and for all zeros."""
    lower = mac.lower()
    return lower if _MAC.match(lower) and lower != "00:00:00:00:00:00" else ""


_MAC = re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}\Z")


def ordered(addresses: Collection[str]) -> tuple[str, ...]:
    """IPv4 before IPv6, each in order, every one once. Raises ValueError for what is no address."""
    known = {ip_address(address) for address in addresses}
    return tuple(str(one) for one in sorted(known, key=lambda one: (one.version, int(one))))


def _addresses(text: str) -> dict[str, set[str]]:
    kind, _, table = text.partition("\n")
    if kind == "ip":
        return _ip_addresses(table)
    if kind == "routes":
        return _kernel_addresses(table)
    if kind:
        raise ParseFailed(part="addresses", line=kind)
    return {}


def _ip_addresses(table: str) -> dict[str, set[str]]:
    # ip(8) with -o: "2: eth0    inet 192.0.2.2/24 brd …"; busybox's shows lines of links, too.
    found: dict[str, set[str]] = {}
    for line in filter(None, table.split("\n")):
        match = _IP.match(line)
        if match is None:
            raise ParseFailed(part="addresses", line=line)
        name, address = match.groups()
        if address is not None:
            found.setdefault(name, set()).add(_address(address, line))
    return found


_IP = re.compile(
    r"[0-9]{1,9}: ([^\s:@]+)(?:@\S+)?(?:: <.*| +inet6? ([0-9a-f.:]+)(?:[ /].*)?| +link.*)\Z"
)


def _address(text: str, line: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        raise ParseFailed(part="addresses", line=line) from None


def _kernel_addresses(text: str) -> dict[str, set[str]]:
    """Where there is no ip(8): an IPv4 address belongs to the one interface that has a route to its
    network without a gateway. One with several such, or none, is left out."""
    routes: list[tuple[IPv4Network, str]] = []
    found: dict[str, set[str]] = {"lo": set()}
    section, last = "routes", IPv4Address(0)
    for line in filter(str.strip, text.split("\n")):
        words = line.split()
        if line in ("local", "inet6"):
            section = line
        elif section == "routes":
            if words[0] != "Iface":
                routes += _route(words, line)
        elif section == "local":
            if words[0] == "|--" and len(words) == 2:
                last = _ipv4(words[1], line)
            elif words[:3] == ["/32", "host", "LOCAL"]:
                for name in _attached(last, routes):
                    found.setdefault(name, set()).add(str(last))
        elif match := _INET6.match(line):
            found.setdefault(match[2], set()).add(str(ip_address(bytes.fromhex(match[1]))))
        else:
            raise ParseFailed(part="addresses", line=line)
    return found


def _ipv4(text: str, line: str) -> IPv4Address:
    try:
        return IPv4Address(text)
    except ValueError:
        raise ParseFailed(part="addresses", line=line) from None


_INET6 = re.compile(r"([0-9a-f]{32})(?: [0-9a-f]{1,8}){4} +(\S+)\Z")


def _route(words: list[str], line: str) -> list[tuple[IPv4Network, str]]:
    # /proc/net/route has numbers as the processor keeps them: here in little endian.
    try:
        target, gateway, mask = (bytes.fromhex(words[at])[::-1] for at in (1, 2, 7))
        network = IPv4Network((target, IPv4Address(mask).__str__()))
    except (ValueError, IndexError):
        raise ParseFailed(part="addresses", line=line) from None
    return [] if any(gateway) or not any(mask) else [(network, words[0])]


def _attached(address: IPv4Address, routes: list[tuple[IPv4Network, str]]) -> tuple[str, ...]:
    if address.is_loopback:
        return ("lo",)
    fitting = [(net.prefixlen, name) for net, name in routes if address in net]
    longest = max(fitting, default=(0, ""))[0]
    names = {name for length, name in fitting if length == longest}
    return tuple(names) if len(names) == 1 else ()
