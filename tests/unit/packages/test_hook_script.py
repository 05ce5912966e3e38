"""The command of a hook's job, in every shell: what the script finds, how its end is told and forced."""

import hashlib
import os
import subprocess
import time
from pathlib import Path

import pytest

from tendhost.server.packages.hook_script import HookOutput, hook_job
from tests.tools import SHELLS


class Run:
    """Hooks by one shell, each in a folder of its own as the job's wrapper makes it."""

    def __init__(self, shell: tuple[str, ...], folder: Path) -> None:
        self._shell, self.folder = shell, folder
        self.mark = f"{folder.name}-{os.getpid()}"

    def __call__(
        self, script: str, *, bound: tuple[str, ...] = (), **environment: str
    ) -> subprocess.CompletedProcess[str]:
        job = hook_job(script, environment, mark=self.mark)
        (self.folder / "cmd").write_text(job.command)
        (self.folder / "input").write_bytes(job.input)
        return subprocess.run(
            [*bound, *self._shell, str(self.folder / "cmd")],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=110,
            check=False,
        )


@pytest.fixture(params=SHELLS)
def run(request, tmp_path):
    return Run(request.param, tmp_path)


def marked(mark: str) -> list[int]:
    """The processes that a hook has started and that still run."""
    found = []
    for each in Path("/proc").glob("[0-9]*"):
        try:
            if f"TENDHOST_JOB={mark}".encode() in (each / "environ").read_bytes().split(b"\0"):
                found.append(int(each.name))
        except OSError:
            continue
    return found


def told(output: str) -> int | None:
    reading = HookOutput().progress_parser()
    reading.feed(output.encode())
    assert reading.held == len(output)
    return reading.exit_status


def test_what_a_hook_says_and_how_it_ended_are_kept_apart(run):
    done = run("echo out; echo err >&2; exit 7")
    assert (done.returncode, done.stderr) == (0, "out\nerr\n")
    assert told(done.stdout) == 7


def test_the_shell_that_runs_a_hook_says_nothing_of_its_death(run):
    done = run("echo begun; kill $$")
    assert (done.returncode, done.stderr) == (0, "begun\n")
    assert told(done.stdout) == 143


def test_a_hook_finds_its_environment_as_it_was_meant(run):
    value = "two words, 'quotes', \"more\", $HOME `id` \\ and é"
    done = run('printf "%s" "$TENDHOST_PACKAGES"', TENDHOST_PACKAGES=value)
    assert done.stderr == value


@pytest.mark.parametrize(
    "first",
    ["#!/usr/bin/sha256sum", "#! /usr/bin/sha256sum", "#!/usr/bin/env sha256sum"],
)
def test_a_script_is_given_whole_to_the_program_that_it_names(run, first):
    script = f"{first}\n" + "'\"$x`é\\\n" * 5000 + "no end"
    done = run(script)
    assert done.stderr.split()[0] == hashlib.sha256(script.encode()).hexdigest()
    assert told(done.stdout) == 0


def test_a_script_that_names_no_program_is_for_sh(run):
    assert told(run("# a comment\n[ 1 = 1 ] && exit 5").stdout) == 5
    assert told(run("#!\nexit 6").stdout) == 6


def test_a_program_that_is_not_there_is_told(run):
    done = run("#!/nowhere/python9\n")
    assert told(done.stdout) == 127
    assert "/nowhere/python9" in done.stderr


def test_nothing_of_a_hook_is_left_beside_its_log(run):
    run("echo secret")
    assert [path.name for path in run.folder.iterdir()] == ["cmd"]


def test_a_hook_that_ends_with_124_is_not_taken_for_one_that_was_ended(run):
    assert told(run("exit 124", bound=("timeout", "60")).stdout) == 124


def test_a_hook_that_is_ended_takes_all_that_it_has_started_with_it(run):
    script = """
        setsid sh -c 'trap "" TERM; sleep 3701 & sleep 3702; sleep 3703' &
        (setsid sleep 3704 &)
        trap 'echo told; exit 1' TERM
        sleep 3705
    """
    began = time.monotonic()
    done = run(script, bound=("timeout", "-k", "100", "1"))
    assert done.returncode == 124
    assert told(done.stdout) is None
    assert "told" in done.stderr
    assert marked(run.mark) == []
    assert time.monotonic() - began < 90  # ended by itself, and not by timeout(1)
    assert [path.name for path in run.folder.iterdir()] == ["cmd"]


def test_what_a_hook_leaves_running_on_purpose_is_let_be(run):
    done = run("setsid sleep 30 >/dev/null 2>&1 &")
    assert told(done.stdout) == 0
    left = marked(run.mark)
    assert len(left) == 1
    os.kill(left[0], 9)


def test_a_full_disk_is_told_and_runs_nothing(run):
    # Where nothing that is written stays.
    (run.folder / "hook").symlink_to("/dev/null")
    done = run("echo ran")
    assert done.returncode == 126
    assert done.stderr == "tendhost: the hook could not be begun: no room for it\n"
    assert told(done.stdout) is None
