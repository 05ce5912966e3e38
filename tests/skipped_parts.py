"""What the scripts of today say at their end, for outputs that were recorded or made up without it."""

import re
from collections.abc import Iterable

from tendhost.server.packages.boot import boot_script
from tendhost.server.packages.detection import PACKAGE_MANAGERS
from tendhost.server.packages.package_manager import Transaction
from tendhost.server.packages.query import EVERYTHING, QueryOptions, preflight_script, query_script
from tendhost.server.packages.reboot_order import reboot_command
from tendhost.server.packages.script import LOOKED_FOR
from tendhost.server.packages.units import units_script

_END = b"\n\x1etendhost end\n"
SCRIPTS = (
    query_script(QueryOptions(parts=EVERYTHING, refresh=True, osquery=True)),
    preflight_script(lock_timeout=QueryOptions().lock_timeout),
    units_script(),
    boot_script(),
    reboot_command("boot").change_script,
    *(known.plan_script(Transaction(autoremove=True)) for known in PACKAGE_MANAGERS),
)
NAMES = tuple(
    dict.fromkeys(
        (*LOOKED_FOR, *(n for script in SCRIPTS for n in re.findall(r"\bpart ([a-z_]+) ", script)))
    )
)
"""Every part that some script may ask."""


def with_skips(output: bytes, names: Iterable[str] = NAMES) -> bytes:
    """The output, in which the host says that it skipped all parts that are not there."""
    head, end, tail = output.rpartition(_END)
    if not end:
        return output
    skipped = (
        f"\n\x1etendhost {name} skipped\n".encode()
        for name in names
        if f"\n\x1etendhost {name} ".encode() not in b"\n" + head
    )
    return head + b"".join(skipped) + end + tail
