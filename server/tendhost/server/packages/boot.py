"""The identity of a host's boot: what tells one boot from another, and whether it has come beyond its initramfs."""

import re
from dataclasses import dataclass, field

from tendhost.server.domain.shell_words import quoted
from tendhost.server.packages.bounding import parser
from tendhost.server.packages.errors import ParseFailed
from tendhost.server.packages.facts import AS_ROOT, PROCESS_1
from tendhost.server.packages.script import framed_script, parse_parts

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Boot:
    """What tells one boot from another.

    In a container the boot id is that of the machine around it (random(4)), so there the moment at
    which its first process began counts as well; see proc(5), /proc/pid/stat, starttime.
    """

    id: str
    init_started: str
    """Empty: could not be read, as where proc(5) is mounted with hidepid and the user cannot become root."""
    in_initramfs: bool = field(default=False, compare=False)
    """Whether what answers is the initramfs, as where dropbear asks there for the passphrase of a disk."""

    def __str__(self) -> str:
        return f"{self.id}/{self.init_started}"

    def is_after(self, before: str) -> bool:
        """Whether this is another boot than `before`, the text of a Boot. What either does not know tells
        nothing."""
        id, _, started = before.partition("/")
        both_known = bool(started and self.init_started)
        return self.id != id or (both_known and self.init_started != started)


# The name of the first process may hold blanks and parentheses: cut behind the last one.
_INIT_STARTED = f"""
{AS_ROOT}
{PROCESS_1}
init_started() {{ process_1 | sed 's/.*) //' | cut -d ' ' -f 20; }}
"""
_ROOT_TYPE = """
root_type() {
  while read -r _ where type _; do [ "$where" != / ] || found=$type; done </proc/mounts
  [ ! -e /etc/initrd-release ] || found=rootfs
  echo "$found"
}
"""
"""The type of the file system at /: "rootfs" until the initramfs has handed over (switch_root(8))."""


def boot_script() -> str:
    """The script that asks which boot the host runs."""
    return framed_script(
        _INIT_STARTED,
        _ROOT_TYPE,
        "part boot_id cat /proc/sys/kernel/random/boot_id",
        "part init_started init_started",
        "part root_type root_type",
    )


@parser
def parse_boot(output: bytes) -> Boot:
    """Understand the output of `boot_script`. Raises ParseFailed."""
    parts = parse_parts(output, expected=("boot_id", "init_started"))
    boot_id = parts["boot_id"].stdout.strip()
    if not _UUID.fullmatch(boot_id):
        raise ParseFailed(part="boot_id", line=boot_id)
    root = parts["root_type"].stdout.strip() if "root_type" in parts else ""
    return Boot(
        id=boot_id,
        init_started=parts["init_started"].stdout.strip(),
        in_initramfs=root == "rootfs",
    )


def same_boot(boot: str) -> str:
    """Lines of sh that define `same_boot`: whether the host still runs `boot`, by the rule of `Boot.is_after`."""
    id, _, started = boot.partition("/")
    return f"""{_INIT_STARTED}
same_boot() {{
  [ "$(cat /proc/sys/kernel/random/boot_id)" = {quoted(id)} ] || return 1
  was={quoted(started)} is=$(init_started)
  [ -z "$was" ] || [ -z "$is" ] || [ "$was" = "$is" ]
}}"""
