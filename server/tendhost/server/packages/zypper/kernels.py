"""The kernels among SUSE's packages, with the release that uname(1) prints for each."""

import re
from collections.abc import Collection

_FLAVOURS = (
    "default|azure|rt|longterm|preempt|vanilla|64kb|pae|kvmsmall|debug|lpae|zfcpdump|xen|ec2|trace"
)
_KERNEL = re.compile(rf"kernel-(?P<flavour>{_FLAVOURS})(?:-base)?\Z")


def installed_kernels(
    packages: Collection[tuple[str, str]], modules: Collection[str]
) -> tuple[tuple[str, str], ...]:
    """Release as `uname -r` prints it, and version, of every kernel among the installed packages.

    `modules` are the names in /lib/modules. kernel-default 6.4.0-150600.23.7.3 is the release
    6.4.0-150600.23.7-default: the last number counts rebuilds, and the kernel does not know it.
    """
    found = set()
    for name, version in packages:
        if match := _KERNEL.match(name):
            found.add((_release(match["flavour"], version, modules), version))
    return tuple(sorted(found))


def _release(flavour: str, version: str, modules: Collection[str]) -> str:
    version = version.rpartition(":")[2]
    suffix = f"-{flavour}"
    heads = [name.removesuffix(suffix) for name in modules if name.endswith(suffix)]
    fitting = [head for head in heads if version == head or version.startswith(f"{head}.")]
    if fitting:
        return max(fitting, key=len) + suffix
    upstream, dash, release = version.rpartition("-")
    return f"{upstream}{dash}{release.rpartition('.')[0] or release}{suffix}"
