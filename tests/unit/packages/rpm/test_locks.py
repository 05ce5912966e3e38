"""Waiting for locks, in every shell that a host may have as sh."""

import subprocess
from pathlib import Path

import pytest

from tendhost.server.packages.rpm.locks import WAIT, retry_while_locked
from tests.tools import SHELLS

LOCKED = 200
# `held` and `busy` note each call; the lock is free from the third one on.
_FAKES = f"""
sleep() {{ :; }}
held() {{ echo call >>calls; [ "$(wc -l <calls)" -ge 3 ] || echo "/lock 7 rpm"; }}
busy() {{ echo call >>calls; echo "out $*"; echo err >&2; [ "$(wc -l <calls)" -ge 3 ] || return {LOCKED}; }}
refused() {{ echo call >>calls; return 1; }}
"""


@pytest.fixture(params=SHELLS)
def run(request: pytest.FixtureRequest, tmp_path: Path):
    """Run lines after the functions; the output, the errors, the status and the number of calls."""

    def run(lines: str) -> tuple[str, str, int, int]:
        done = subprocess.run(
            [*request.param, "-c", f"{_FAKES}\n{WAIT}\n{lines}"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        calls = (tmp_path / "calls").read_text().count("\n")
        return done.stdout, done.stderr, done.returncode, calls

    return run


def test_wait_for_lock__ends_when_the_lock_is_free(run):
    assert run("wait_for_lock held 5") == ("", "", 0, 3)


def test_wait_for_lock__names_who_holds_the_lock_at_the_end(run):
    assert run("wait_for_lock held 1") == ("/lock 7 rpm", "", 0, 2)


def test_retry_locked__runs_the_command_until_the_lock_is_free(run):
    """The last run's output goes to standard error, as a part's words are read from there."""
    assert run(f"retry_locked {LOCKED} 5 busy 'a  b'") == ("", "out a  b\nerr\n", 0, 3)


def test_retry_locked__gives_up_after_its_time(run):
    assert run(f"retry_locked {LOCKED} 1 busy") == ("", "out \nerr\n", LOCKED, 2)


def test_retry_locked__takes_any_other_status_for_the_end(run):
    assert run(f"retry_locked {LOCKED} 5 refused") == ("", "\n", 1, 1)


@pytest.mark.parametrize(
    ("seconds", "status", "calls"), [(10, 0, 3), (2, LOCKED, 2), (0, LOCKED, 1)]
)
def test_retry_while_locked__waits_two_seconds_at_a_time(run, seconds, status, calls):
    lines = retry_while_locked("busy >/dev/null 2>&1", locked=LOCKED, seconds=seconds)
    assert run(f"{lines}\nexit $rc") == ("", "", status, calls)


def test_retry_while_locked__takes_any_other_status_for_the_end(run):
    lines = retry_while_locked("refused", locked=LOCKED, seconds=10)
    assert run(f"{lines}\nexit $rc") == ("", "", 1, 1)
