"""Crashing where the environment asks, and nowhere else."""

import signal
import subprocess
import sys

import pytest

from tendhost.server.failpoints import POINTS, UnknownFailpoint, arm

SCRIPT = """
import os
from tendhost.server.failpoints import arm, reached
arm(os.environ)
for i in range(3):
    print(i, flush=True)
    reached("job.polled")
"""


def run(value: str) -> subprocess.CompletedProcess[str]:
    environment = {"TENDHOST_FAILPOINTS": value}
    return subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=False
    )


def test_without_the_variable_nothing_happens():
    done = run("")
    assert (done.returncode, done.stdout) == (0, "0\n1\n2\n")


def test_the_process_is_killed_the_asked_time_that_it_reaches_the_point():
    done = run("job.polled@2")
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "0\n1\n")


def test_another_point_does_not_kill():
    assert run("job.ended,connect.made@9").returncode == 0


@pytest.mark.parametrize("value", ["job.poled", "job.polled@0", "job.polled@x", "job.polled@-1"])
def test_what_is_no_point_is_refused_by_name(value):
    with pytest.raises(UnknownFailpoint, match=value):
        arm({"TENDHOST_FAILPOINTS": value})


def test_every_point_stands_in_the_code(request):
    root = request.config.rootpath / "server" / "tendhost" / "server"
    code = "".join(p.read_text() for p in root.rglob("*.py") if p.name != "failpoints.py")
    missing = [point for point in POINTS if f'reached("{point}")' not in code]
    assert missing == []
