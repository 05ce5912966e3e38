"""Reads from /proc which process is whose child, to find the init of a host from outside of its namespaces."""

import contextlib
import os
import signal
from pathlib import Path


def _parents() -> dict[int, int]:
    parents = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            stat = (entry / "stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue  # it ended while we were looking
        parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    return parents


def descendants(pid: int) -> list[int]:
    """All processes below this one, parents before children."""
    children: dict[int, list[int]] = {}
    for child, parent in _parents().items():
        children.setdefault(parent, []).append(child)
    found: list[int] = []
    queue = [pid]
    while queue:
        below = children.get(queue.pop(0), [])
        found += below
        queue += below
    return found


def is_namespace_init(pid: int, depth: int) -> bool:
    """Whether a process is pid 1 of a pid namespace ``depth`` levels below ours."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    for line in status.splitlines():
        if line.startswith("State:") and line.split()[1] in "ZX":
            return False
        if line.startswith("NSpid:"):
            pids = line.split()[1:]
            return pids[-1] == "1" and len(pids) == _own_depth() + depth
    return False


def _own_depth() -> int:
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("NSpid:"):
            return len(line.split()) - 1
    return 1


def namespace_init_below(pid: int, depth: int) -> int | None:
    """The pid 1 of the pid namespace that a descendant of ``pid`` has made, seen from here."""
    for candidate in descendants(pid):
        if is_namespace_init(candidate, depth):
            return candidate
    return None


def kill_tree(pid: int) -> None:
    """SIGKILL a process and all below it, each stopped before its children are listed: none slips away."""
    found: list[int] = []
    queue = [pid]
    while queue:
        for one in queue:
            _send(one, signal.SIGSTOP)
        found += queue
        parents = _parents()
        queue = [child for child, parent in parents.items() if parent in queue]
    for one in found:
        _send(one, signal.SIGKILL)


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
