"""The kernels of a host, by the packages that own their files: whatever distributions and vendors call them.

Names of kernel packages are many (linux-image-…, proxmox-kernel-…-signed, kernel-core, kernel6.12, kernel-ml,
raspberrypi-kernel), and none says for certain what `uname -r` will print. Their files do: the image in /boot or in
the folder of modules, and that folder, are named after the release.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from tendhost.server.packages.script import Part

KERNEL_OWNERS = r"""
kernel_owners() {
  running=$(uname -r)
  [ ! -d "/lib/modules/$running" ] || echo "modules of $running"
  if [ "$manager" = apt-get ]; then
    # dpkg-query(1) ends with 1 where any of the patterns matches nothing.
    dpkg-query -S '/boot/vmlinu?-*' '/boot/*mage-*' '/boot/kernel-*' \
      '/lib/modules/*/vmlinu*' '/lib/modules/*/modules.order' '/lib/modules/*/modules.builtin' \
      '/usr/lib/modules/*/vmlinu*' '/usr/lib/modules/*/modules.order' '/usr/lib/modules/*/modules.builtin' \
      2>/dev/null
    [ $? -le 1 ]
    return
  fi
  for kernel in $(ls /lib/modules); do
    for file in "/lib/modules/$kernel/vmlinuz" "/lib/modules/$kernel/vmlinux" "/lib/modules/$kernel/Image" \
      "/boot/vmlinuz-$kernel" "/boot/vmlinux-$kernel" "/boot/Image-$kernel" "/boot/image-$kernel" \
      "/lib/modules/$kernel/modules.order" "/lib/modules/$kernel/modules.builtin"; do
      [ ! -e "$file" ] || ! owner=$(rpm -qf --qf '%{NAME}\n' "$file") ||
        printf '%s\n' "$owner" | sed "s,\$,: $file,"
    done
  done
  :
}
[ -z "$manager" ] || [ "${contained:-none}" != none ] || part kernel_owners kernel_owners
""".strip()
"""The part `kernel_owners`, of a host that is no container: lines "PACKAGE: FILE", and whether the running kernel's
modules are there."""


_KERNEL = re.compile(
    r"""
      kernel(?:\d[\d.]*)?(?:[-.].+)?
    | linux-(?:image|modules)-.+ | (?:proxmox|pve|raspberrypi)-kernel(?:-.+)?
    | linux(?:-(?:lts|zen|hardened|rt|rt-lts|virt|stable|edge|rpi\d?))?
    """,
    re.VERBOSE,
)
"""The names of Debian's and its descendants', rpm's, Arch's and Alpine's families."""
_COMPANION = re.compile(
    r"-(?:headers|tools|doc|docs|firmware|macros|abi|livepatch|selftests|install|helper|dbg|dbgsym|obs)(?=-|\Z)"
)
"""In the name of what is installed once, whatever kernels there are."""


def belongs_to_kernel(name: str) -> bool:
    """Whether a package of this name is a kernel, or a part of one, and may be there for several kernels at once.

    Only for what does no harm where the guess is wrong: which kernels there are, `parse_kernel_owners` tells.
    """
    return _KERNEL.fullmatch(name) is not None and _COMPANION.search(name) is None


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnedKernel:
    """A kernel whose files an installed package owns."""

    release: str
    """As `uname -r` prints it."""
    package: str

    @property
    def kind(self) -> str:
        """What its successors have in common with it.

        A package whose name holds the release has a new name for each; there the flavour tells ("amd64" of
        linux-image-6.1.0-17-amd64). Otherwise the name of the package does, too: it has one kernel after the other.
        """
        kind = _counted(flavour(self.release))
        return kind if self.release in self.package else f"{_HALF.sub('', self.package)} {kind}"


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelOwners:
    """Which packages own which kernels."""

    kernels: tuple[OwnedKernel, ...]
    """Those with an image; where no image has an owner, those with modules."""
    running_has_modules: bool
    """Whether the folder of the running kernel's modules is there, whoever owns it."""

    def owner(self, release: str) -> OwnedKernel | None:
        """The kernel of this release."""
        return next((kernel for kernel in self.kernels if kernel.release == release), None)

    @property
    def in_order_of_rpm(self) -> bool:
        """Whether releases are compared as rpm does: those of packages that have one name for all of them."""
        return any(kernel.release not in kernel.package for kernel in self.kernels)

    def kin(self, running: str) -> tuple[str, ...]:
        """The releases that are of the running kernel's kind, itself among them where it is owned."""
        own = self.owner(running)
        if own is not None:
            return tuple(k.release for k in self.kernels if k.kind == own.kind)
        # Its package is gone, or was upgraded in place: only the release can tell.
        kind = _counted(flavour(running))
        return tuple(k.release for k in self.kernels if _counted(flavour(k.release)) == kind)


def parse_kernel_owners(part: Part | None) -> KernelOwners | None:
    """Understand the part `kernel_owners`; None where it was not asked, or failed."""
    if part is None or part.status != 0:
        return None
    images: dict[str, str] = {}
    modules: dict[str, str] = {}
    running = False
    for line in part.stdout.split("\n"):
        running |= line.startswith("modules of ")
        owner = _OWNER.match(line)
        if owner is None:
            continue  # "diversion by …"
        # Several packages may own a folder, and none but one a file of it.
        package = owner["packages"].partition(",")[0].partition(":")[0]
        if image := _IMAGE.match(owner["path"]):
            images.setdefault(image[1] or image[2], package)
        elif folder := _MODULES.match(owner["path"]):
            modules.setdefault(folder[1], package)
    found: Mapping[str, str] = images or modules
    kernels = (OwnedKernel(release=r, package=p) for r, p in sorted(found.items()))
    return KernelOwners(kernels=tuple(kernels), running_has_modules=running)


_OWNER = re.compile(r"(?P<packages>[a-zA-Z0-9][^/ ]*(?:, [^/ ]+)*): (?P<path>/\S+)\Z")
_IMAGE = re.compile(
    r"(?:/boot/(?:vmlinu[xz]|[a-zA-Z]?[Ii]mage|kernel)-(\d[^/]*?)"
    r"|(?:/usr)?/lib/modules/(\d[^/]*)/(?:vmlinu[xz]|Image))\Z"
)
_MODULES = re.compile(r"(?:/usr)?/lib/modules/(\d[^/]*)/modules\.(?:order|builtin)\Z")
_HALF = re.compile(r"-(?:core|base|modules(?:-core)?|image)\Z")
"""A kernel may be in a package of this name, or of one without: kernel-core was part of kernel once."""

_RELEASE = re.compile(r"\d\S*?-([a-z]\S*)\Z")
_RPM_FLAVOUR = re.compile(r"uek|[.+]rt(?![a-z])|[+][a-z0-9]+")
"""What tells Oracle's, the real-time and the debugging kernels from the others: "5.15.0-1.el8uek.x86_64",
"5.14.0-1.rt21.el9.x86_64", "6.12.0-1.el10.x86_64+rt"."""


def flavour(release: str) -> str:
    """ "cloud-amd64" of "6.1.0-17-cloud-amd64": another flavour is another machine's kernel."""
    match = _RELEASE.match(release)
    return match[1] if match else "".join(_RPM_FLAVOUR.findall(release))


def _counted(flavour: str) -> str:
    # Builds of one flavour may be counted in it: "x64v3-xanmod1" and "x64v3-xanmod2" are one.
    return _COUNTER.sub("", flavour)


_COUNTER = re.compile(r"(?<=[a-z]{4})\d+(?=-|\Z)")
