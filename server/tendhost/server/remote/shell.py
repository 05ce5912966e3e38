r"""The command line that runs a script with sh, whatever shell the user has, and what of its output is the script's.

sshd(8) hands a command to the login shell of the user, which may be tcsh, fish or rbash, and which may read
startup files first. So a command line is one command, `sh -c …`, in the words that all of these shells
understand alike: plain names, and text in single quotes that holds no quote, no `!` and no line break (csh
looks for events in single quotes), and no byte that a locale may spoil. printf(1) restores the rest from `\0ooo`
(its conversion %b).

What startup files print, and what the shell prints when it leaves, is not the script's. The script's own output
stands between two marks on stdout, and behind a mark on stderr. A host that prints no mark has not run the
script: what it printed instead says why. Nothing is written to standard input before the mark is there, because
a menu, or a shell that a startup file has begun, would take it for what its user types.
"""

import re
from collections.abc import Callable, Iterator

MARK = b"\x1etendhost-sh "
"""What all marks begin with: a byte that no program prints, and that stands in no command line."""
BEGIN = MARK + b"begin\n"
USER = MARK + b"user\n"
"""Printed by the user's own sh, before sudo makes root of it."""
_END_MARK = MARK + b"end "
_END = re.compile(re.escape(_END_MARK) + rb"(\d{1,3})\n")
LONGEST_LINE = 96 * 1024
"""Bytes of a command line: Linux takes 128 KiB for one argument (execve(2), MAX_ARG_STRLEN). A longer script
goes over standard input."""
LONGEST_WORD = 800
"""Bytes of one word of a command line: csh has a bound of 1024."""
MOST_NOISE = 256 * 1024
"""Bytes that startup files may print before a script begins, or after it. No banner has so many."""

# bash imports functions and options from the environment, also as sh: cat may be a function, `set -e` and
# noclobber may hold. With -p it does not (bash(1), INVOCATION). Other shells import nothing.
_CLEAN = 'case ${BASH_VERSION-} in "") eval "$1";; *) exec sh -p -c "$1" sh "$@";; esac'
# These change what programs print, or run what is no part of the script.
_UNSET = (
    "unset BASH_ENV ENV CDPATH TMOUT GREP_OPTIONS POSIXLY_CORRECT BLOCKSIZE BLOCK_SIZE DF_BLOCK_SIZE"
    " LS_BLOCK_SIZE SYSTEMD_COLORS"
)
PATH = (
    "PATH=${PATH:+$PATH:}/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin; export PATH"
)
"""Sets the PATH of everything that runs on a host: the folders of administrators may lack in that of a plain user,
and there may be none. An empty one in it would be the current folder."""
# A script on standard input is one line: of one that is cut off nothing is executed. It runs
# in a subshell, so that a script which exits, or execs, is followed by the mark all the same.
_RUN = (
    f'shift; {_UNSET}; {PATH}; printf "\\036tendhost-sh begin\\n" >&2;'
    ' printf "\\036tendhost-sh begin\\n"; case $# in 0) IFS= read -r tendhost_sh || exit 255; set -- "$tendhost_sh";;'
    ' esac; (tendhost_sh=$(printf %b "$@"); set --; eval "$tendhost_sh"); tendhost_sh=$?;'
    ' printf "\\036tendhost-sh end %d\\n" $tendhost_sh; exit $tendhost_sh'
)
_AS_ROOT = (
    f'shift; {PATH}; printf "\\036tendhost-sh user\\n" >&2; printf "\\036tendhost-sh user\\n";'
    ' tendhost_sh=$1; shift; case $(id -u) in 0) exec sh -c "$tendhost_sh" sh "$@";; esac;'
    ' exec sudo -n -- sh -c "$tendhost_sh" sh "$@"'
)
"""The user may be root under another name, who needs no sudo and may have none."""


def command_line(script: str, *, through_sudo: bool = False) -> tuple[str, bytes]:
    """The command line that runs `script`, and what it reads before the script's own input."""
    head = f"sh -c '{_CLEAN}' sh '{_AS_ROOT}' '{_CLEAN}' '{_RUN}'"
    if not through_sudo:
        head = f"sh -c '{_CLEAN}' sh '{_RUN}'"
    encoded = script.encode("utf-8", "surrogateescape").decode("latin-1").translate(_ENCODED)
    if len(encoded) <= LONGEST_LINE:
        line = " ".join((head, *(f"'{word}'" for word in _words(encoded))))
        if len(line) <= LONGEST_LINE:
            return line, b""
    return head, encoded.encode() + b"\n"


def _words(encoded: str) -> Iterator[str]:
    """The script for `printf %b`, in words that hold whole characters of it."""
    at = 0
    while True:
        end = at + LONGEST_WORD
        if end < len(encoded):
            # The last of the escapes "\\n" and "\\0ooo" may begin before the end and go beyond it.
            begun = encoded.rfind("\\", end - _LONGEST_ESCAPE + 1, end)
            if begun == end - 1 or (begun >= 0 and encoded[begun + 1] == "0"):
                end = begun
        yield encoded[at:end]
        at = end
        if at >= len(encoded):
            return


_ENCODED = {0x0A: "\\n"} | {
    byte: f"\\0{byte:03o}"
    for byte in range(256)
    if byte != 0x0A and (byte < 0x20 or byte > 0x7E or chr(byte) in "\\'!")
}
_LONGEST_ESCAPE = len("\\0ooo")


class ScriptOutput:
    """The two streams of a command line, without what is not the script's."""

    def __init__(
        self, on_stdout: Callable[[bytes], None], on_stderr: Callable[[bytes], None]
    ) -> None:
        self._on_stdout, self._on_stderr = on_stdout, on_stderr
        self._before = {1: bytearray(), 2: bytearray()}
        self._begun = {1: False, 2: False}
        self._held = b""
        """What may be the mark behind the script, and what follows it."""

    @property
    def begun(self) -> bool:
        """Whether the script has begun."""
        return self._begun[1]

    @property
    def user_shell_ran(self) -> bool:
        """Whether the user's sh ran what makes root of it."""
        return USER in self._before[1]

    @property
    def status(self) -> int | None:
        """The exit status of the script; None: it did not come to its end."""
        match = _END.match(self._held)
        return int(match[1]) if match else None

    def stdout(self, data: bytes) -> None:
        """Take what came on stdout. Raises NoiseTooLong, and what the callback raises."""
        script_text = self._after_mark(1, data)
        if script_text:
            self._hold_end(script_text)

    def stderr(self, data: bytes) -> None:
        """Take what came on stderr. Raises NoiseTooLong, and what the callback raises."""
        script_text = self._after_mark(2, data)
        if script_text:
            self._on_stderr(script_text)

    def flush(self) -> None:
        """Hand on what was held, once nothing more comes."""
        if self.begun and not self._begun[2] and self._before[2]:
            self._on_stderr(bytes(self._before[2]))  # its mark was lost, not its text
        if self.status is None and self._held:
            self._on_stdout(self._held)

    def words(self) -> str:
        """What was printed instead of the script's output, as one line."""
        out, err = (bytes(self._before[stream]).rpartition(USER)[2] for stream in (1, 2))
        return " ".join((out + b" " + err).decode("utf-8", "replace").split())

    def _after_mark(self, stream: int, data: bytes) -> bytes:
        if self._begun[stream]:
            return data
        before = self._before[stream]
        searched = max(0, len(before) - len(BEGIN))
        before += data
        at = before.find(BEGIN, searched)
        if at < 0:
            if len(before) > MOST_NOISE:
                raise NoiseTooLong
            return b""
        self._begun[stream] = True
        rest = bytes(before[at + len(BEGIN) :])
        del before[at:]
        return rest

    def _hold_end(self, data: bytes) -> None:
        """Hand on what cannot be the mark behind the script: that is the last one of its kind."""
        held = self._held + data
        at = held.rfind(_END_MARK)
        if at < 0:
            at = held.rfind(MARK[:1], max(0, len(held) - len(_END_MARK) + 1))
            if at >= 0 and not _END_MARK.startswith(held[at:]):
                at = -1
        if at < 0 or len(held) - at > MOST_NOISE:
            at = len(held)
        self._held = held[at:]
        if at:
            self._on_stdout(held[:at])


class NoiseTooLong(Exception):
    """More than MOST_NOISE came, and no script began."""
