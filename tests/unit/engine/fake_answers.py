"""What a fake host prints when one of the server's scripts runs on it."""

from collections.abc import Iterable

from tests.skipped_parts import with_skips
from tests.unit.engine.fake_host import INTERRUPTED, FakeHost, Pending

KERNEL = "6.1.0-17-amd64"
SOURCES = """\
Package files:
 500 http://deb.debian.org/debian-security bookworm-security/main amd64 Packages
     release v=12,o=Debian,a=oldstable-security,n=bookworm-security,l=Debian-Security,c=main,b=amd64
 500 http://deb.debian.org/debian bookworm/main amd64 Packages
     release v=12.15,o=Debian,a=oldstable,n=bookworm,l=Debian,c=main,b=amd64
"""
DF = "Filesystem 1024-blocks Used Available Capacity Mounted on"


def framed(parts: Iterable[tuple[str, int, str, str]]) -> bytes:
    """Name, exit status, stdout and stderr of each part, as the scripts frame them."""
    out = ""
    for name, status, stdout, stderr in parts:
        out += f"\n\x1etendhost {name} stderr\n{stderr}"
        out += f"\n\x1etendhost {name} {status}\n{stdout}"
    return with_skips(f"{out}\n\x1etendhost end\n".encode())


def query(host: FakeHost, *, refresh: bool) -> bytes:
    """The answer to `query_script`."""
    parts = facts(host)
    if refresh and host.privileged:
        parts.append(_refresh(host))
    parts.append(_interrupted(host))
    parts.append(("simulation", 0, _simulation(host), ""))
    if host.pending:
        policies = "\n".join(_policy(host, name, p) for name, p in host.pending.items())
        parts.append(("policy", 0, policies, ""))
    if host.unreadable:
        parts.append(("installed", 2, "", "dpkg-query: error: parsing file '/var/lib/dpkg/status'"))
    else:
        parts.append(("installed", 0, _installed(host), ""))
    parts.append(("sources", 0, SOURCES, ""))
    parts += _collected()
    if host.reboot_unreadable:
        parts.append(("reboot_required", 1, "", "cannot open"))
    else:
        answer = "yes\nlinux-image-amd64" if host.reboot_required else "no"
        parts.append(("reboot_required", 0, answer, ""))
    parts.append(("kernel_owners", 0, "", ""))
    parts.append(("outdated", 0, "\n".join(host.outdated), ""))
    parts.append(("engines", 0, "", ""))
    return framed(parts)


def restart(host: FakeHost, command: str) -> bytes:
    """The answer to `restart_command`, with those services renewed."""
    asked = [unit for unit in host.outdated if f"try-restart -- {unit}" in command]
    host.outdated = [unit for unit in host.outdated if unit not in asked]
    return framed((f"unit{number}", 0, "", "") for number in range(len(asked)))


def preflight(host: FakeHost) -> bytes:
    """The answer to `preflight_script`."""
    parts = [*facts(host), _interrupted(host), ("unsound", 0, "", "")]
    if host.privileged and host.interrupted:
        parts.append(("check", 100, "", f"{INTERRUPTED}\n"))
    elif host.privileged:
        parts.append(("check", 0, "", ""))
    return framed(parts)


def dry_run(host: FakeHost) -> bytes:
    """The answer to `plan_script`."""
    sizes = (
        "Need to get 20.0 MB of archives.\nAfter this operation, 40.0 MB of additional disk space"
    )
    policies = "\n".join(_policy(host, name, p) for name, p in host.pending.items())
    return framed(
        [
            ("simulation", 0, _simulation(host), ""),
            ("policy", 0, policies, ""),
            ("sources", 0, SOURCES, ""),
            ("sizes", 1, f"{sizes} will be used.\nDo you want to continue? [Y/n] N", "Abort."),
        ]
    )


def boot(host: FakeHost) -> bytes:
    """The answer to `boot_script`."""
    root = "rootfs" if host.in_initramfs else "ext4"
    return framed(
        [
            ("boot_id", 0, host.boot_id, ""),
            ("init_started", 0, "42", ""),
            ("root_type", 0, root, ""),
        ]
    )


def going_down(host: FakeHost) -> bytes:
    """The answer to `going_down_script`."""
    return framed([("going_down", 0, "unknown" if host.mute else _going_down(host), "")])


def order(host: FakeHost) -> bytes:
    """The answer to `reboot_command`, with the host on its way down or not."""
    before = _going_down(host)
    parts = [("before", 0, before, "")]
    if not before and "block" not in host.inhibitors:
        status, words = host.reboot()
        parts.append(("order", status, "", words))
        if status:
            parts.append(("after", 0, _going_down(host), ""))
    return framed(parts)


def _going_down(host: FakeHost) -> str:
    lines = ["stopping"] if host.stopping else []
    if host.others_reboot is not None:
        lines.append("announced")
    return "\n".join([*lines, *filter(None, [host.inhibitors])])


def login(host: FakeHost) -> bytes:
    """The answer to `login_script`."""
    return framed(part for part in facts(host) if part[0] == "privilege")


def units(host: FakeHost) -> bytes:
    """The answer to `units_script`."""
    state = "degraded" if host.failed_units else "running"
    state = "stopping" if host.stopping else state
    failed = "\n".join(f"{unit} loaded failed failed A unit" for unit in host.failed_units)
    return framed([("state", int(bool(host.failed_units)), state, ""), ("failed", 0, failed, "")])


def facts(host: FakeHost) -> list[tuple[str, int, str, str]]:
    """The parts that queries and preflights begin with."""
    release = 'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"'
    process_1 = " ".join(["S", "0", "1", "1", *["0"] * 15, "42", "0"])
    privilege = "0\nroot" if host.privileged else "1000\nalex"
    words = "" if host.privileged else "sudo: a password is required"
    disks = "/ /boot /usr /var /var/cache/apt/archives"
    row = f"/dev/vda1 20000000 5000000 {host.free_kib} 50% /"
    return [
        ("os_release", 0, release, ""),
        ("uname", 0, f"{KERNEL} #1 SMP Debian 6.1.69-1 (2023-12-30) x86_64", ""),
        ("boot", 0, f"{host.boot_id}\n100.00 50.00\n1 (systemd) {process_1}", ""),
        ("machine_id", 0, host.machine_id, ""),
        ("privilege", 0 if host.privileged else 1, privilege, words),
        ("container", 0, "none", ""),
        ("immutable", 0, "", ""),
        ("virtualization", 0, "kvm", ""),
        ("manager", 0, "apt-get", ""),
        ("disk", 0, "\n".join([disks, DF, *[row] * 5]), ""),
    ]


def _collected() -> list[tuple[str, int, str, str]]:
    """The parts that tell of machine, mounts and network."""
    return [
        ("machine", 0, "/proc/sys/kernel/hostname:web1", ""),
        ("cpu", 0, "model Fake CPU\nthread", ""),
        ("memory", 0, "MemTotal:  2048 kB\nMemAvailable:  1024 kB", ""),
        ("mounted", 0, "/dev/vda1 / ext4 rw 0 0", ""),
        ("sizes", 0, f"{DF}\n/dev/vda1 20000000 5000000 10000000 50% /", ""),
        ("interfaces", 0, "/sys/class/net/eth0/mtu:1500", ""),
        ("addresses", 0, "ip\n2: eth0    inet 192.0.2.2/24 brd 192.0.2.255 scope global eth0", ""),
    ]


def _refresh(host: FakeHost) -> tuple[str, int, str, str]:
    if not host.refresh_fails:
        return ("refresh", 0, "", "")
    return ("refresh", 100, "", host.refresh_says)


def _interrupted(host: FakeHost) -> tuple[str, int, str, str]:
    return ("interrupted", 0, "0001" if host.interrupted else "", "")


def _simulation(host: FakeHost) -> str:
    lines = ["Reading package lists...", "Building dependency tree..."]
    held = [name for name, p in host.pending.items() if p.held]
    if held:
        lines += ["The following packages have been kept back:", f"  {' '.join(held)}"]
    for name, p in host.pending.items():
        if not p.held:
            archive = "Debian-Security:12/stable-security" if p.security else "Debian:12/stable"
            lines.append(f"Inst {name} [{host.installed[name]}] ({p.to} {archive} [amd64])")
    return "\n".join(lines)


def _policy(host: FakeHost, name: str, waiting: Pending) -> str:
    archive = "http://deb.example.org/debian bookworm/main amd64 Packages"
    if waiting.security:
        archive = "http://deb.example.org/debian-security bookworm-security/main amd64 Packages"
    return "\n".join(
        [
            f"{name}:",
            f"  Installed: {host.installed[name]}",
            f"  Candidate: {waiting.to}",
            "  Version table:",
            f"     {waiting.to} 500",
            f"        500 {archive}",
            f" *** {host.installed[name]} 100",
            "        100 /var/lib/dpkg/status",
        ]
    )


def _installed(host: FakeHost) -> str:
    held = {name for name, p in host.pending.items() if p.held}
    rows = [
        f"{'hi ' if name in held else 'ii '}\t{name}\tamd64\t{version}"
        for name, version in sorted(host.installed.items())
    ]
    return "\n".join(["amd64", *rows])
