"""Runs a hook as a job on a host: the command, its input, and the exit status in its output."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tendhost.server.domain.bounds import whole_number
from tendhost.server.domain.shell_words import quoted
from tendhost.server.packages.progress import TransactionProgress

MARK = "TENDHOST_JOB"
"""By this variable of the environment all that a hook has started is found, whatever became of its
parents, sessions and groups."""

# $0 is the job's `cmd`, beside which its input lies. Run without a shell's -e: each step is looked at.
_COMMAND = r"""
here=${0%/*}
fail() { echo "tendhost: the hook could not be begun: $*" >&2; exit 126; }
head -c "$size" "$here/input" >"$here/environment"
tail -c "+$((size + 1))" "$here/input" >"$here/hook"
# On a full disk not every head(1) says by its exit status what it has left out.
wrote=$(($(wc -c <"$here/environment") + $(wc -c <"$here/hook")))
[ "$wrote" -eq "$whole" ] || fail "no room for it"
rm -f "$here/input"
started() {
  for each in /proc/[0-9]*/environ; do
    pid=${each%/environ} pid=${pid#/proc/}
    # What this very search has started knows nothing of the mark.
    tr '\0' '\n' 2>/dev/null <"$each" | grep -qxF "$mark" && echo "$pid"
  done 2>/dev/null
  :
}
stop() {
  trap '' TERM
  pids=$(started)
  [ -z "$pids" ] || kill $pids 2>/dev/null
  tries=0
  while pids=$(started); [ -n "$pids" ]; do
    [ "$tries" -lt 5 ] || kill -KILL $pids 2>/dev/null
    [ "$tries" -lt 10 ] || break
    tries=$((tries + 1))
    sleep 1
  done
  rm -f "$here/hook" "$here/environment"
  exit 124
}
# By the program that it names: /var may be mounted without leave to execute what is on it.
line=
IFS= read -r line <"$here/hook"
set -f
case $line in
'#!'*)
  set -- ${line#'#!'}
  [ $# -gt 0 ] || set -- sh
  program=$1
  shift
  set -- "$program" ${1:+"$*"} "$here/hook"
  ;;
*) set -- sh "$here/hook" ;;
esac
set +f
trap stop TERM
(trap - TERM; . "$here/environment"; exec "$@") >&2 </dev/null &
hook=$!
# What this shell would say itself of how the hook has ended are not the hook's words.
exec 2>/dev/null
wait "$hook"
status=$?
trap '' TERM
rm -f "$here/hook" "$here/environment"
printf 'exit %s' "$status"
exit 0
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class HookJob:
    """What a job is given to run a hook."""

    command: str
    input: bytes


def hook_job(script: str, environment: Mapping[str, str], *, mark: str) -> HookJob:
    """The job that runs `script` with `environment`; `mark` is a word that no other job has."""
    marked = {**environment, MARK: mark}
    exports = "".join(f"export {name}={quoted(value)}\n" for name, value in marked.items()).encode()
    whole = exports + script.encode()
    sizes = f"size={len(exports)} whole={len(whole)}"
    known = f"{sizes} mark={quoted(f'{MARK}={mark}')}"
    return HookJob(command=f"{known}\n{_COMMAND.strip()}", input=whole)


_LONGEST_LINE = 64
"""Of "exit STATUS"."""


@dataclass(slots=True)
class HookOutput:
    """What the command of a hook's job tells; see ProgressSource. It has one line, without an end.

    So it counts as incomplete, and is read again by whoever goes on with the job.
    """

    progress_in_log = False
    held_bytes: bytearray = field(default_factory=bytearray)

    def progress_parser(self) -> "HookOutput":
        """Itself, forgetful."""
        self.held_bytes.clear()
        return self

    @property
    def held(self) -> int:
        """Bytes of the line so far."""
        return len(self.held_bytes)

    def feed(self, data: bytes) -> list[TransactionProgress]:
        """Take more of the line; a hook has no progress to tell."""
        self.held_bytes += data[: max(0, _LONGEST_LINE - len(self.held_bytes))]
        return []

    @property
    def exit_status(self) -> int | None:
        """With what the hook itself has ended; None: it was not seen to its end."""
        word, _, number = self.held_bytes.decode("ascii", "replace").partition(" ")
        return whole_number(number) if word == "exit" else None
