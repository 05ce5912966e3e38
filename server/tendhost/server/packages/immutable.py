"""Recognizes systems whose packages are not updated one by one: images, snapshots, and read-only or volatile roots.

Sources: ostree(1), rpm-ostree(1), bootc(8), transactional-update(8), os-release(5), overlayroot(8), the kernel's and
systemd's command lines (bootparam(7), kernel-command-line(7)), proc(5), and the manuals of the systems named below.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tendhost.server.packages.script import Part

IMMUTABLE = r"""
immutable() {
  [ ! -e /run/ostree-booted ] || echo ostree
  [ ! -e /run/ostree/staged-deployment ] || echo staged
  for tool in rpm-ostree bootc transactional-update; do
    ! command -v $tool >/dev/null || echo "tool $tool"
  done
  sed -n 's,^[^ ]* \(/\|/usr\) \([^ ]*\) \(r[ow]\)[, ].*,mount \1 \3 \2,p' /proc/self/mounts
  ! grep -rqs remount /etc/apt/apt.conf /etc/apt/apt.conf.d || echo remounts
  for option in $(cat /proc/cmdline); do
    case $option in
      overlayroot= | 'overlayroot=""'* | overlayroot=disabled*) ;;
      overlayroot=tmpfs*) echo 'option overlayroot=tmpfs' ;;
      overlayroot=*) echo 'option overlayroot' ;;
      boot=overlay | boot=live | boot=casper | rd.live.image | rd.live.image=1 | systemd.volatile | \
        systemd.volatile=1 | systemd.volatile=on | systemd.volatile=y | systemd.volatile=yes | systemd.volatile=t | \
        systemd.volatile=true | systemd.volatile=state | systemd.volatile=overlay) echo "option $option" ;;
    esac
  done
  :
}
""".strip()
"""The shell function `immutable` prints what tells such a system, one fact a line; see `parse_immutable`.

Of the kernel's command line only options of this list leave the host, and no value but theirs: others hold passwords
("overlayroot=crypt:dev=/dev/vdb,pass=…", "rd.iscsi.password=…"). The function needs `set -f` (script.py). The
options are those of overlayroot(8), raspi-config's overlay, live systems, and systemd.volatile=.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Immutability:
    """Why the packages of a system cannot be updated one by one."""

    why: str
    instead: str
    """How the system is updated."""
    image: bool
    """Whether the system is replaced as a whole: the lists of a package manager do not tell what is pending then."""
    staged: bool = False
    """Whether a new system waits for the next boot."""

    def __str__(self) -> str:
        return f"{self.why}; instead: {self.instead}"


_TRANSACTIONAL = "transactional-update, then reboot"
_MICROOS = "the system is read-only, and is updated in snapshots (transactional-update)"
# By ID of os-release(5) alone: what is only like one of them (ID_LIKE) has its own way.
_IMAGES: Mapping[str, tuple[str, str]] = {
    "nixos": ("NixOS", "nixos-rebuild switch --upgrade"),
    "guix": ("Guix System", "guix pull, then guix system reconfigure"),
    "ubuntu-core": ("Ubuntu Core", "snap refresh, which snapd does automatically"),
    "flatcar": ("Flatcar", "update_engine_client -update, which update_engine does automatically"),
    "coreos": ("Container Linux", "update_engine_client -update, or a move to Flatcar"),
    "talos": ("Talos", "talosctl upgrade"),
    "bottlerocket": ("Bottlerocket", "apiclient update"),
    "cos": ("Container-Optimized OS", "a new image of the machine"),
    "chromeos": ("ChromeOS", "update_engine_client --update"),
    "clear-linux-os": ("Clear Linux", "swupd update"),
    "vanilla": ("Vanilla OS", "abroot upgrade"),
    "steamos": ("SteamOS", "steamos-update"),
    "endless": ("Endless OS", "eos-updater, which runs automatically"),
    "haos": ("Home Assistant OS", "ha os update"),
    "hassos": ("Home Assistant OS", "ha os update"),
    "balena-os": ("balenaOS", "an update by balenaCloud"),
    "rancheros": ("RancherOS", "ros os upgrade"),
    "k3os": ("k3OS", "its system-upgrade-controller"),
}
IS_IMAGE = rf"""
image=
case $(printf '%s\n' "$out" | grep -x ostree) in ostree) image=1 ;; esac
case $(printf '%s\n' "$release" | sed -n 's/^ID=//p' | tr -d "\"'") in
  {" | ".join(_IMAGES)}) image=1 ;;
esac
""".strip()
"""Lines of sh right after the part `immutable`: `image` is then not empty where Immutability.image is true. Package
lists of such a system are fetched for nothing. `release` holds os-release(5)."""
_SNAPSHOTS = frozenset(
    {
        *("opensuse-microos", "suse-microos", "opensuse-leap-micro", "leap-micro"),
        *("sle-micro", "sle-micro-rancher", "sl-micro"),
        *("opensuse-aeon", "aeon", "opensuse-kalpa", "kalpa"),
    }
)


def parse_immutable(
    part: Part | None, release: Mapping[str, str], *, container: bool
) -> Immutability | None:
    """Understand the part `immutable` of a system with this os-release(5); None: its packages can be changed.

    In a `container` the kernel's options are those of the machine around it.
    """
    facts = part.stdout.split("\n") if part is not None else []
    tools = {fact.removeprefix("tool ") for fact in facts if fact.startswith("tool ")}
    if "ostree" in facts:
        return Immutability(
            why="the system is an image (ostree)",
            instead=_by_ostree(tools, release),
            image=True,
            staged="staged" in facts,
        )
    id_ = release.get("ID", "").lower()
    if known := _IMAGES.get(id_):
        return Immutability(why=f"{known[0]} is updated as a whole", instead=known[1], image=True)
    mounts = _mounts(facts)
    if id_ in _SNAPSHOTS or (
        "transactional-update" in tools and mounts.get("/", ("", ""))[0] == "ro"
    ):
        return Immutability(why=_MICROOS, instead=_TRANSACTIONAL, image=False)
    return _by_root(facts, mounts, container=container)


def _by_ostree(tools: Iterable[str], release: Mapping[str, str]) -> str:
    ways = [f"{tool} upgrade" for tool in ("rpm-ostree", "bootc") if tool in tools]
    way = f"{' or '.join(ways) or 'ostree admin upgrade'}, then reboot"
    by_itself = release.get("VARIANT_ID", "") == "coreos"
    return f"{way} (zincati does both automatically on Fedora CoreOS)" if by_itself else way


def _by_root(
    facts: Iterable[str], mounts: Mapping[str, tuple[str, str]], *, container: bool
) -> Immutability | None:
    """What the file system of the system tells of it."""
    option = next((fact for fact in facts if fact.startswith("option ")), "").removeprefix(
        "option "
    )
    kind = mounts.get("/", ("", ""))[1]
    volatile = option or (f"/ is a {kind}" if kind in _IN_MEMORY else "")
    if volatile and not container:
        return Immutability(
            why=f"what is written to the system is lost at the next boot ({volatile})",
            instead="overlayroot-chroot to update the root below the overlay, or an update of the boot image",
            image=False,
        )
    read_only = next((path for path in ("/", "/usr") if mounts.get(path, ("",))[0] == "ro"), None)
    if read_only is None or "remounts" in facts:
        return None  # apt's hooks make it writable for as long as they need it
    return Immutability(
        why=f"{read_only} is mounted read-only (Read-only file system)",
        instead=f"the tool that replaces the system, or mount -o remount,rw {read_only} if it is a fault",
        image=False,
    )


_IN_MEMORY = ("tmpfs", "ramfs", "rootfs")


def _mounts(facts: Iterable[str]) -> Mapping[str, tuple[str, str]]:
    """How / and /usr are mounted ("ro" or "rw"), and their types: of the last ones, which cover the others."""
    found = {}
    for fact in facts:
        words = fact.split(" ")
        if words[0] == "mount" and len(words) == 4:
            found[words[1]] = (words[2], words[3])
    return found
