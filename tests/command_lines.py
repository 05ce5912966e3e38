"""Command lines as the server sends them, for hosts of the tests that do not run them with a shell."""

import re
import shlex

from tendhost.server.remote.shell import BEGIN, MARK, command_line

_HEAD = command_line("")[0].removesuffix("''")
_ESCAPE = re.compile(r"\\(n|0[0-7]{3})")


def script_of(line: str) -> str:
    """The script that `line` runs; another line than one of `command_line` without sudo is a script itself."""
    if not line.startswith(_HEAD):
        return line
    words = shlex.split(line.removeprefix(_HEAD))
    decoded = _ESCAPE.sub(
        lambda found: "\n" if found[1] == "n" else chr(int(found[1], 8)), "".join(words)
    )
    return decoded.encode("latin-1").decode()


def printed(stdout: bytes, status: int = 0) -> bytes:
    """What a host prints when a script has printed `stdout` and ended with `status`."""
    return BEGIN + stdout + MARK + b"end %d\n" % status
