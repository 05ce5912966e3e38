r"""Scripts for POSIX sh: the output of each part in a frame, and the parser of the frames.

A frame is a line that begins with the record separator (0x1e), a byte that no package manager
prints. For each part the script writes

    \x1etendhost NAME stderr      then what the part wrote to stderr, as it came
    \x1etendhost NAME STATUS      then what it wrote to stdout, without its final newlines

and `\x1etendhost end` after the last one, so that a cut-off output is told from a whole one.
The scripts keep to what dash, bash and busybox ash have in common, and no input is read.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from tendhost.server.packages.errors import PartMissing

# The output is captured and the errors are not, because a later part may look at `$out`. `set -f`:
# no name is ever a pattern. The administrators' folders may lack in the PATH of a plain user.
_PRELUDE = r"""LC_ALL=C; export LC_ALL; PATH=$PATH:/usr/sbin:/sbin; export PATH; set -f
part() {
  name=$1; shift
  printf '\n\036tendhost %s stderr\n' "$name"
  { out=$("$@" 2>&3 3>&- </dev/null); rc=$?; } 3>&1
  printf '\n\036tendhost %s %s\n%s' "$name" "$rc" "$out"
}
"""
_END = r"printf '\n\036tendhost end\n'"
_FRAME = "\n\x1etendhost "


@dataclass(frozen=True, slots=True)
class Part:
    """The exit status and output of one part of a script."""

    status: int
    stdout: str
    stderr: str

    @property
    def message(self) -> str:
        """The standard error as one line."""
        return " ".join(self.stderr.split())


def framed_script(*lines: str) -> str:
    """A script of these lines, which call `part NAME COMMAND [ARGUMENT]...`."""
    return "\n".join((_PRELUDE.rstrip(), *lines, _END))


def parse_parts(output: bytes, *, expected: tuple[str, ...]) -> Mapping[str, Part]:
    """The parts by name; what was printed before the first of them (a banner) is left out.

    Raises PartMissing for the first of `expected` that is not there as a whole, or for "end" where
    the output was cut off later.
    """
    frames = ("\n" + output.decode("utf-8", "replace")).split(_FRAME)[1:]
    errors: dict[str, str] = {}
    parts: dict[str, Part] = {}
    last = ""
    for frame in frames:
        head, _, body = frame.partition("\n")
        name, _, what = head.partition(" ")
        last = name
        if what == "stderr":
            errors[name] = body
        elif what.isascii() and what.isdigit():
            parts[name] = Part(int(what[:3]), body, errors.get(name, ""))
    if last != "end":
        parts.pop(last, None)  # its tail may be lost
    require(parts, *expected, *(() if last == "end" else ("end",)))
    return parts


def require(parts: Mapping[str, Part], *names: str) -> None:
    """Raises PartMissing for the first of these parts that is not there."""
    for name in names:
        if name not in parts:
            raise PartMissing(part=name)


def whole_seconds(duration: timedelta) -> int:
    """The duration for a script: whole seconds, rounded up, at least 0."""
    return max(0, math.ceil(duration.total_seconds()))
