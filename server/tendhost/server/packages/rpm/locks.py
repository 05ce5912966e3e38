"""Shell functions that wait for a lock of rpm, dnf or zypp."""

WAIT = r"""
wait_for_lock() {
  lock=$1 left=$2
  while holder=$("$lock"); [ -n "$holder" ] && [ "$left" -gt 0 ]; do
    sleep 1; left=$((left - 1))
  done
  printf %s "$holder"
}
retry_locked() {
  locked=$1 left=$2; shift 2
  while words=$("$@" 2>&1); rc=$?; [ $rc = "$locked" ] && [ "$left" -gt 0 ]; do
    sleep 1; left=$((left - 1))
  done
  printf '%s\n' "$words" >&2
  return $rc
}
""".strip()
"""Shell functions: `wait_for_lock FUNCTION SECONDS` waits while FUNCTION prints the holder of a lock, and
prints who holds it at the end; `retry_locked STATUS SECONDS COMMAND…` runs COMMAND again while it ends
with STATUS, and prints the output of the last run to standard error."""


def retry_while_locked(command: str, *, locked: int, seconds: int) -> str:
    """Lines of sh that run `command` again while it ends with the exit status `locked`.

    They give up after `seconds`, and leave the last exit status in `$rc`.
    """
    return (
        f"left={seconds}\n"
        f"while {command}; rc=$?; [ $rc = {locked} ] && [ $left -gt 0 ];"
        " do sleep 2; left=$((left - 2)); done"
    )
