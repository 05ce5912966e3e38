"""The identity of a host's boot, and the command to reboot it."""

import re
import shlex
from dataclasses import dataclass

from tendhost.server.domain.operations.permission import ChangeKind, ChangingCommand
from tendhost.server.packages.bounding import parser
from tendhost.server.packages.errors import ParseFailed
from tendhost.server.packages.script import framed_script, parse_parts

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Boot:
    """What tells one boot from another: it is another one when either part differs.

    In a container the boot id is that of the machine around it (random(4)), so there the moment at
    which its first process began counts as well; see proc(5), /proc/pid/stat, starttime.
    """

    id: str
    init_started: str

    def __str__(self) -> str:
        return f"{self.id}/{self.init_started}"


# The name of the first process may hold blanks and parentheses: cut behind the last one.
_INIT_STARTED = "init_started() { sed 's/.*) //' /proc/1/stat | cut -d ' ' -f 20; }"


def boot_script() -> str:
    """The script that asks which boot the host runs."""
    return framed_script(
        _INIT_STARTED,
        "part boot_id cat /proc/sys/kernel/random/boot_id",
        "part init_started init_started",
    )


@parser
def parse_boot(output: bytes) -> Boot:
    """Understand the output of `boot_script`. Raises ParseFailed."""
    parts = parse_parts(output, expected=("boot_id", "init_started"))
    boot_id = parts["boot_id"].stdout.strip()
    if not _UUID.fullmatch(boot_id):
        raise ParseFailed(part="boot_id", line=boot_id)
    return Boot(id=boot_id, init_started=parts["init_started"].stdout.strip())


def reboot_command(boot: str) -> ChangingCommand:
    """The order to reboot a host that still runs `boot`; one that runs another does nothing.

    So it can be given any number of times, and the host reboots once. It returns before the host goes
    down, or the link drops under it.
    """
    lines = (
        _INIT_STARTED,
        f'[ "$(cat /proc/sys/kernel/random/boot_id)/$(init_started)" = {shlex.quote(boot)} ]'
        " || exit 0",
        "systemctl reboot || shutdown -r now || reboot",
    )
    return ChangingCommand(kind=ChangeKind.REBOOT, change_script="\n".join(lines), privileged=True)
