"""A fleet whose runner is killed leaves nothing behind."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fleet.claim import STATE_ROOT, cgroup_root, claim_place
from tests.fleet.processes import descendants, namespace_init_below

pytestmark = pytest.mark.fleet

ROOT = Path(__file__).parents[2]


@contextlib.contextmanager
def runner() -> Iterator[tuple["subprocess.Popen[str]", Path]]:
    """A process that runs two hosts, and the state folder of its fleet."""
    words = ["-m", "tests.fleet", "run", "--hosts", "2", "--"]
    command = [sys.executable, *words, "sh", "-c", 'echo "$TENDHOST_FLEET"; exec sleep 600']
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            described = json.loads(process.stdout.readline())
            yield process, Path(described["private_key"]).parent
        finally:
            process.kill()


def becomes_true(fact: Callable[[], bool], seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while not fact():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def identity(pid: int) -> str | None:
    """Pid and start time (a number that is used again is another process); None when it has ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] == "Z" else f"{pid} {fields[19]}"


def in_lab(pid: int) -> bool:
    ours = Path("/proc/self/ns/pid").readlink()
    try:
        return Path(f"/proc/{pid}/ns/pid").readlink() != ours
    except OSError:
        return False


@pytest.mark.parametrize("victim", ["the runner", "the namespace maker", "pid 1 of the lab"])
def test_killed_fleet_leaves_nothing(able: None, victim: str) -> None:
    with runner() as (process, state):
        uplink = Path("/sys/class/net", f"thfleet{state.name}")
        cgroup = cgroup_root() / f"tendhost-fleet-{state.name}"
        assert uplink.exists()
        assert cgroup.is_dir()
        below = descendants(process.pid)
        doomed = below if victim == "the runner" else [pid for pid in below if in_lab(pid)]
        alive = {pid: identity(pid) for pid in doomed if identity(pid)}
        assert len(alive) > 15
        first = namespace_init_below(process.pid, depth=1)
        assert first is not None
        maker = int(Path(f"/proc/{first}/stat").read_text(encoding="utf-8").split()[3])
        victims = {"the runner": process.pid, "the namespace maker": maker}
        os.kill(victims.get(victim, first), signal.SIGKILL)
        assert becomes_true(lambda: not any(identity(pid) == who for pid, who in alive.items()))
        assert becomes_true(lambda: not uplink.exists())
    claim = claim_place()  # whoever starts a fleet next sweeps up after the dead
    try:
        assert not cgroup.exists()
        assert claim.state == state or not state.exists()
    finally:
        claim.release()
    assert not (STATE_ROOT / state.name).exists()


def test_runner_that_is_asked_to_end_takes_its_fleet_along(able: None) -> None:
    with runner() as (process, state):
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 130
        assert not Path("/sys/class/net", f"thfleet{state.name}").exists()
        assert not state.exists()
