r"""Scripts for POSIX sh: the output of each part in a frame, and the parser of the frames.

A frame is a line that begins with the record separator (0x1e), a byte that no package manager
prints. For each part the script writes

    \x1etendhost NAME stderr      then what the part wrote to stderr, as it came
    \x1etendhost NAME STATUS      then what it wrote to stdout, without its final newlines
    \x1etendhost -                so that what others print between two parts belongs to none

then `\x1etendhost NAME skipped` for each part that it may ask and did not, and `\x1etendhost end`
after the last one, so that a cut-off output is told from a whole one. The scripts keep to what dash, bash
and busybox ash have in common, and no input is read.

**What a host did not say is unknown, never "none", "no" or "healthy".** A parser may conclude something from
the absence of a part only if the host itself said that it skipped the part: Parts raises PartMissing for each
other part that a parser looks for, by whatever way it looks.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta

from tendhost.server.packages.errors import PartMissing
from tendhost.server.packages.terminal import plain_text

# The output is captured and the errors are not, because a later part may look at `$out`. `set -f`:
# no name is ever a pattern.
_PRELUDE = r"""LC_ALL=C; export LC_ALL; set -f
asked=' '
part() {
  name=$1; shift; asked="$asked$name "
  printf '\n\036tendhost %s stderr\n' "$name"
  { out=$("$@" 2>&3 3>&- </dev/null); rc=$?; } 3>&1
  printf '\n\036tendhost %s %s\n%s\n\036tendhost -\n' "$name" "$rc" "$out"
}
"""
_END = r"""for name in {names}; do
  case $asked in *" $name "*) ;; *) printf '\n\036tendhost %s skipped\n' $name ;; esac
done
printf '\n\036tendhost end\n'"""
_PART = re.compile(r"\bpart ([a-z][a-z0-9_]*) ")
LOOKED_FOR = (
    "advised",
    "advisories",
    "advisory_info",
    "check",
    "compose",
    "compose_paths",
    "docker",
    "engines",
    "fixes",
    "immutable",
    "kernel_owners",
    "kernel_size",
    "locks",
    "machine_id",
    "modules",
    "needrestart",
    "needs_rebooting",
    "needs_restarting",
    "obsoletes",
    "osquery",
    "outdated",
    "policy",
    "refresh",
    "root_type",
    "sources",
    "unneeded",
    "updates",
    "upgrades",
    "virtualization",
)
"""Parts that parsers look for in the output of scripts that do not ask them: each script says so."""
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


class Parts(Mapping[str, Part]):
    """The parts that a host answered, by name.

    A part that the host says it skipped is absent (`in`, `get`); any other one that is not there raises
    PartMissing.
    """

    def __init__(self, parts: Mapping[str, Part], skipped: frozenset[str]) -> None:
        self._parts = parts
        self._skipped = skipped - parts.keys()

    def __getitem__(self, name: str) -> Part:
        if name not in self._parts:
            raise PartMissing(part=name)
        return self._parts[name]

    def __contains__(self, name: object) -> bool:
        if name not in self._parts and name not in self._skipped:
            raise PartMissing(part=str(name))
        return name in self._parts

    def get(self, name: str, default: Part | None = None) -> Part | None:  # type: ignore[override]
        """The part; `default` if the host says that it skipped it. Raises PartMissing."""
        return self._parts[name] if name in self else default

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)


def framed_script(*lines: str) -> str:
    """A script of these lines, which call `part NAME COMMAND [ARGUMENT]...`."""
    script = "\n".join((_PRELUDE.rstrip(), *lines))
    names = dict.fromkeys((*_PART.findall(script), *LOOKED_FOR))
    return f"{script}\n{_END.format(names=' '.join(names))}"


def parse_parts(output: bytes, *, expected: tuple[str, ...]) -> Parts:
    """The parts by name; what was printed before the first of them (a banner) is left out.

    Raises PartMissing for the first of `expected` that is not there as a whole, or for "end" where
    the output was cut off later.
    """
    frames = ("\n" + plain_text(output)).split(_FRAME)[1:]
    errors: dict[str, str] = {}
    parts: dict[str, Part] = {}
    skipped = set()
    last = ""
    for frame in frames:
        head, _, body = frame.partition("\n")
        name, _, what = head.partition(" ")
        last = name
        if what == "stderr":
            errors[name] = body
        elif what == "skipped":
            skipped.add(name)
        elif what.isascii() and what.isdigit():
            parts[name] = Part(int(what[:3]), body, errors.get(name, ""))
    if last != "end":
        parts.pop(last, None)  # its tail may be lost
    # Without its end nothing is known of what the script skipped.
    require(parts, *expected, *(() if last == "end" else ("end",)))
    return Parts(parts, frozenset(skipped))


def require(parts: Mapping[str, Part], *names: str) -> None:
    """Raises PartMissing for the first of these parts that is not there."""
    for name in names:
        if parts.get(name) is None:
            raise PartMissing(part=name)


def whole_seconds(duration: timedelta) -> int:
    """The duration for a script: whole seconds, rounded up, at least 0."""
    return max(0, math.ceil(duration.total_seconds()))
