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


def _pids(pid: int) -> list[int]:
    """The numbers of a process in each pid namespace it is in, ours first; none when it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    if fields["State"].split()[0] in "ZX":
        return []
    return [int(number) for number in fields["NSpid"].split()]


def pid_in_parent(pid: int) -> int | None:
    """The number that the init of a pid namespace has one level up, where its namespace was made."""
    pids = _pids(pid)
    return pids[-2] if len(pids) > 1 else None


def namespace_init_below(pid: int, depth: int) -> int | None:
    """The pid 1 below ``pid`` of a pid namespace ``depth`` levels deeper than ours, seen from here."""
    levels = len(_pids(os.getpid())) + depth
    for candidate in descendants(pid):
        pids = _pids(candidate)
        if len(pids) == levels and pids[-1] == 1:
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
