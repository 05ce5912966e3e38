"""The detached job, in every shell, on this machine: it runs once, and nothing of it is lost."""

import asyncio
import contextlib
import fcntl
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tendhost.server.domain.host_errors import JobRefused, LinkLost, Superseded
from tendhost.server.domain.operations.permission import ChangeKind
from tendhost.server.remote.changes import run_change
from tendhost.server.remote.job import (
    OVERDUE,
    REQUEST_TIMEOUT,
    STATUS_TAIL,
    Job,
    JobReport,
    JobState,
    LogWindow,
    Position,
    attach,
    clean,
    poll,
    start_command,
    started,
    withdraw,
)
from tendhost.server.remote.protocol import Completed
from tests.tools import SHELLS


class ShellRemote:
    """A way to this machine that puts hosts' folders below `root`, and has no systemd."""

    def __init__(self, shell: tuple[str, ...], root: Path) -> None:
        self._shell, self._root = shell, root
        self.path = os.environ["PATH"]

    async def close(self) -> None:
        pass

    async def run(
        self,
        command: str,
        *,
        timeout: timedelta,
        privileged: bool = False,
        limit: int = 0,
        input: bytes = b"",
    ) -> Completed:
        for path in (
            "/var/lib/tendhost",
            "/run/systemd",
            "/proc/sys/kernel/random/boot_id",
            "/proc/uptime",
        ):
            command = command.replace(path, f"{self._root}{path}")
        process = await asyncio.create_subprocess_exec(
            *self._shell,
            "-c",
            command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={"PATH": self.path},
            start_new_session=True,
        )
        async with asyncio.timeout(timeout.total_seconds()):
            stdout, stderr = await process.communicate(input)
        assert process.returncode is not None
        return Completed(exit_status=process.returncode, stdout=stdout, stderr=stderr)


@pytest.fixture(params=SHELLS)
def remote(request, tmp_path):
    boot = tmp_path / "proc/sys/kernel/random/boot_id"
    boot.parent.mkdir(parents=True)
    boot.write_text("first\n")
    (tmp_path / "proc/uptime").symlink_to("/proc/uptime")
    (tmp_path / "var/lib").mkdir(parents=True)
    return ShellRemote(request.param, tmp_path)


def up_for(root: Path, *, days: int) -> None:
    """Say that the host was booted so long ago (proc_uptime(5))."""
    (root / "proc/uptime").unlink()
    (root / "proc/uptime").write_text(f"{days * 86_400}.25 77.10\n")


def job(command: str, *, number: int = 1, epoch: int = 1, seconds: float = 60) -> Job:
    return Job(
        host="web1",
        operation="0190",
        kind=ChangeKind.APPLY,
        number=number,
        epoch=epoch,
        command=command,
        limit=timedelta(seconds=seconds),
    )


async def start(remote, wanted: Job, position: Position) -> JobReport:
    """The order to start, permitted."""
    command = start_command(wanted, position)
    done = await run_change(remote, command, timeout=REQUEST_TIMEOUT, input=wanted.input)
    return started(wanted, done)


async def begun(remote, wanted: Job) -> JobReport:
    await attach(remote, wanted, Position())
    return await start(remote, wanted, Position())


async def until(remote, wanted: Job, state: JobState) -> JobReport:
    return await until_it(remote, wanted, lambda report: report.state is state)


async def until_it(remote, wanted: Job, condition: Callable[[JobReport], bool]) -> JobReport:
    async with asyncio.timeout(20):
        while True:
            report = await poll(remote, wanted, Position())
            if condition(report):
                return report
            await asyncio.sleep(0.02)


async def run_to_end(remote, wanted: Job) -> JobReport:
    await begun(remote, wanted)
    return await until(remote, wanted, JobState.ENDED)


def ops(root: Path) -> Path:
    return root / "var/lib/tendhost/ops"


async def test_a_job_keeps_its_output_and_its_exit_status(remote):
    report = await run_to_end(remote, job("echo words >&2; echo 5%; exit 7"))
    assert report == JobReport(
        state=JobState.ENDED, exit_status=7, log=b"words\n", status=b"5%\n", same_boot=True
    )


async def test_before_it_is_started_a_job_is_absent(remote):
    assert (await attach(remote, job("true"), Position())).state is JobState.ABSENT
    assert (await poll(remote, job("true"), Position())).state is JobState.ABSENT


async def test_however_often_it_is_started_a_job_runs_once(remote, tmp_path):
    wanted = job(f"echo ran >>{tmp_path}/runs; while [ ! -e {tmp_path}/go ]; do sleep 0.02; done")
    await attach(remote, wanted, Position())
    async with asyncio.TaskGroup() as tasks:
        for _ in range(8):
            tasks.create_task(start(remote, wanted, Position()))
    await until(remote, wanted, JobState.RUNNING)
    await begun(remote, wanted)
    (tmp_path / "go").touch()
    await until(remote, wanted, JobState.ENDED)
    await begun(remote, wanted)
    assert (tmp_path / "runs").read_text() == "ran\n"


async def test_a_job_prepared_by_a_request_that_broke_off_is_begun_by_the_next(remote, tmp_path):
    wanted = job(f"echo ran >>{tmp_path}/runs")
    await run_to_end(remote, wanted)
    folder = ops(tmp_path) / "0190/apply-1"
    shutil.rmtree(folder / "claim")
    (folder / "rc").rename(folder / "rc.new")
    assert (await attach(remote, wanted, Position())).state is JobState.PREPARED
    await start(remote, wanted, Position())
    await until(remote, wanted, JobState.ENDED)
    assert (tmp_path / "runs").read_text() == "ran\nran\n"


async def test_output_is_read_from_a_position_on(remote):
    wanted = job("printf 0123456789 >&2; printf abcdef")
    await run_to_end(remote, wanted)
    report = await poll(remote, wanted, Position(log=4, status=6))
    assert (report.log, report.status, report.more) == (b"456789", b"", False)
    beyond = await poll(remote, wanted, Position(log=99, status=99))
    assert (beyond.log, beyond.status) == (b"", b"")


async def test_much_output_comes_in_parts_and_every_byte_of_it(remote):
    wanted = job("head -c 700000 /dev/zero | tr '\\0' '\\377' >&2")
    await begun(remote, wanted)
    await until(remote, wanted, JobState.ENDED)
    taken, parts = 0, 0
    while True:
        report = await poll(remote, wanted, Position(log=taken))
        assert set(report.log) == {0xFF}
        taken, parts = taken + len(report.log), parts + 1
        if not report.more:
            break
    assert (taken, parts) == (700_000, 3)


async def test_output__between_the_wanted_beginning_and_end_is_passed_over(remote):
    numbers = "seq 1000000 1200000"
    wanted = replace(job(f"{numbers} >&2; {numbers}"), log_window=LogWindow(head=1_000, tail=5_000))
    await begun(remote, wanted)
    first = await until(remote, wanted, JobState.ENDED)
    size = 8 * 200_001
    assert (first.log_at, first.log[:8], first.more) == (0, b"1000000\n", True)
    assert first.status_at == size - STATUS_TAIL
    rest = await poll(remote, wanted, Position(log=len(first.log), status=size))
    assert (rest.log_at, len(rest.log), rest.more) == (size - 5_000, 5_000, False)
    assert rest.log.endswith(b"1199999\n1200000\n")
    assert (rest.status_at, rest.status) == (size, b"")
    # Whatever another server wants: what lies between may be gone.
    other = replace(wanted, log_window=LogWindow(head=500_000, tail=500_000))
    again = await poll(remote, other, Position(log=len(first.log), status=size))
    assert (again.log_at, again.log) == (rest.log_at, rest.log)


@pytest.mark.parametrize("running", [False, True], ids=["ended", "running"])
async def test_output__that_is_passed_over_is_taken_off_the_disk(remote, tmp_path, running):
    _require_holes(tmp_path)
    size = (32 << 20) + 4
    much = f"head -c {size - 4} /dev/zero | tr '\\0' x"
    last = f"until [ -f {tmp_path}/stop ]; do sleep 0.1; done" if running else "true"
    command = f"{much} >&2; {much}; echo end >&2; echo end; {last}"
    wanted = replace(job(command), log_window=LogWindow(head=1_000, tail=65_536))
    await begun(remote, wanted)
    files = [ops(tmp_path) / "0190/apply-1" / name for name in ("log", "status")]
    state = JobState.RUNNING if running else JobState.ENDED

    def is_punched(report: JobReport) -> bool:
        stats = [file.stat() for file in files]
        on_disk = sum(stat.st_blocks * 512 for stat in stats)
        written = all(stat.st_size == size for stat in stats)
        return report.state is state and written and on_disk < 4 << 20

    report = await until_it(remote, wanted, is_punched)
    assert report.log[:1_000] == b"x" * 1_000
    tail = await poll(remote, wanted, Position(log=1_000))
    assert tail.log == b"x" * 65_532 + b"end\n"
    assert tail.status == b"x" * (STATUS_TAIL - 4) + b"end\n"
    (tmp_path / "stop").touch()
    await until(remote, wanted, JobState.ENDED)


def _require_holes(folder: Path) -> None:
    """Skip where files cannot have holes made in them."""
    tried = folder / "tried"
    tried.write_bytes(bytes(65_536))
    made = shutil.which("fallocate") and not os.spawnlp(
        os.P_WAIT, "fallocate", "fallocate", "-p", "-o", "0", "-l", "65536", str(tried)
    )
    if not made:
        pytest.skip("no fallocate, or a file system that cannot have holes made in its files")


async def test_a_job_whose_processes_were_killed_is_dead(remote, tmp_path):
    wanted = job(f"echo $$ >{tmp_path}/pid; echo began >&2; exec sleep 60")
    await begun(remote, wanted)
    await until_it(remote, wanted, lambda report: bool(report.log))
    pid = int((tmp_path / "pid").read_text())
    os.killpg(os.getsid(pid), signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):  # where it is in its wrapper's group
        os.kill(pid, signal.SIGKILL)
    report = await until(remote, wanted, JobState.DEAD)
    assert (report.log, report.same_boot) == (b"began\n", True)
    assert (await begun(remote, wanted)).state is JobState.DEAD  # never by accident a second time


async def test_a_job_lives_as_long_as_anything_that_it_started(remote, tmp_path):
    wanted = job(f"echo $$ >{tmp_path}/pid; echo began >&2; exec sleep 60")
    await begun(remote, wanted)
    await until_it(remote, wanted, lambda report: bool(report.log))
    pid = int((tmp_path / "pid").read_text())
    os.kill(os.getsid(pid), signal.SIGKILL)  # the wrapper alone
    assert (await poll(remote, wanted, Position())).state is JobState.RUNNING
    os.kill(pid, signal.SIGKILL)
    await until(remote, wanted, JobState.DEAD)


async def test_a_dead_job_says_whether_the_host_was_rebooted(remote, tmp_path):
    wanted = job("exit 0")
    await run_to_end(remote, wanted)
    folder = ops(tmp_path) / "0190/apply-1"
    (folder / "rc").unlink()
    (tmp_path / "proc/sys/kernel/random/boot_id").write_text("second\n")
    await until(remote, wanted, JobState.DEAD)
    report = await attach(remote, wanted, Position())
    assert (report.state, report.same_boot) == (JobState.DEAD, False)


async def test_what_runs_too_long_is_ended(remote):
    report = await run_to_end(remote, job("sleep 60", seconds=1))
    assert report.exit_status == OVERDUE


async def test_a_lower_epoch_may_not_act_and_changes_nothing(remote, tmp_path):
    await attach(remote, job("true", epoch=3), Position())
    stale = job(f"touch {tmp_path}/ran", epoch=2)
    for act in (attach, start, poll):
        with pytest.raises(Superseded, match="its epoch is 3, this server's 2"):
            await act(remote, stale, Position())
    with pytest.raises(Superseded):
        await clean(remote, stale)
    assert (await poll(remote, job("true", epoch=3), Position())).state is JobState.ABSENT


async def test_a_start_that_arrives_after_the_clean_up_is_without_effect(remote, tmp_path):
    wanted = job(f"echo ran >>{tmp_path}/runs")
    await run_to_end(remote, wanted)
    await clean(remote, wanted)
    with pytest.raises(Superseded):
        await start(remote, wanted, Position())
    assert (tmp_path / "runs").read_text() == "ran\n"


async def test_withdrawn__a_job_that_has_not_begun_never_begins(remote, tmp_path):
    wanted = job(f"echo ran >>{tmp_path}/runs")
    await begun(remote, wanted)
    await until(remote, wanted, JobState.ENDED)
    second = replace(wanted, number=2, epoch=2)
    await prepared(remote, second, tmp_path)
    assert (await withdraw(remote, second, Position())).state is JobState.ABSENT
    assert list((tmp_path / "var/lib").iterdir()) == []
    # An order that was held up in the link.
    with pytest.raises(Superseded):
        await start(remote, second, Position())
    assert (tmp_path / "runs").read_text() == "ran\n"


async def test_withdrawn__a_wrapper_that_is_inside_its_folder_finds_nothing_to_run(
    remote, tmp_path
):
    wanted = job(f"echo ran >>{tmp_path}/runs")
    await prepared(remote, wanted, tmp_path)
    folder = ops(tmp_path) / wanted.operation / wanted.name
    holding = (folder / "lock").open("a")
    fcntl.flock(holding, fcntl.LOCK_EX)
    wrapper = await asyncio.create_subprocess_exec(
        "sh", str(folder / "run"), str(folder), "60", stderr=asyncio.subprocess.DEVNULL
    )
    assert (await withdraw(remote, wanted, Position())).state is JobState.ABSENT
    holding.close()
    async with asyncio.timeout(20):
        await wrapper.wait()
    assert not (tmp_path / "runs").exists()


async def test_withdrawn__a_job_that_has_begun_is_left_alone(remote, tmp_path):
    wanted = job(f"until [ -e {tmp_path}/go ]; do sleep 0.02; done; echo ran >>{tmp_path}/runs")
    await begun(remote, wanted)
    await until(remote, wanted, JobState.RUNNING)
    assert (await withdraw(remote, wanted, Position())).state is JobState.RUNNING
    (tmp_path / "go").touch()
    await until(remote, wanted, JobState.ENDED)
    assert (tmp_path / "runs").read_text() == "ran\n"


async def test_withdrawn__by_a_server_that_was_superseded_is_refused(remote, tmp_path):
    wanted = job("true", epoch=3)
    await prepared(remote, wanted, tmp_path)
    with pytest.raises(Superseded):
        await withdraw(remote, replace(wanted, epoch=2), Position())
    assert (await poll(remote, wanted, Position())).state is JobState.PREPARED


async def prepared(remote: ShellRemote, wanted: Job, root: Path) -> None:
    """Leave the job's folder made and its wrapper never launched."""
    await attach(remote, wanted, Position())
    path, fakes = remote.path, root / "fakes"
    fakes.mkdir(exist_ok=True)
    (fakes / "setsid").write_text("#!/bin/sh\nexit 0\n")
    (fakes / "setsid").chmod(0o755)
    remote.path = f"{fakes}:{path}"
    report = await start(remote, wanted, Position())
    remote.path = path
    assert report.state is JobState.PREPARED


async def test_the_clean_up_leaves_nothing(remote, tmp_path):
    wanted = job("true")
    await run_to_end(remote, wanted)
    await clean(remote, wanted)
    assert list((tmp_path / "var/lib").iterdir()) == []
    await clean(remote, wanted)  # and a second one finds nothing to do


async def test_what_still_runs_is_not_cleaned_away(remote, tmp_path):
    wanted = job(f"while [ ! -e {tmp_path}/go ]; do sleep 0.02; done")
    await begun(remote, wanted)
    await until(remote, wanted, JobState.RUNNING)
    with pytest.raises(JobRefused, match="still runs"):
        await clean(remote, wanted)
    (tmp_path / "go").touch()
    await until(remote, wanted, JobState.ENDED)
    await clean(remote, wanted)


def look_old(folder: Path, *, days: int = 40) -> None:
    """Give a folder the date that it has once NTP has set a clock forward by so many days."""
    age = folder.stat().st_mtime - days * 86_400
    os.utime(folder, (age, age))


async def test_leftovers_of_more_than_thirty_days_go_and_younger_ones_stay(remote, tmp_path):
    for name, days in (("old", 32), ("young", 29)):
        left = ops(tmp_path) / name
        (left / "apply-1").mkdir(parents=True)
        look_old(left, days=days)
    await attach(remote, job("true"), Position())
    assert sorted(path.name for path in ops(tmp_path).iterdir()) == ["0190", "young"]


async def test_leftovers__of_the_operation_itself_stay_whatever_their_date(remote, tmp_path):
    wanted = job(f"echo x >>{tmp_path}/ran; while [ ! -e {tmp_path}/go ]; do sleep 0.02; done")
    await begun(remote, wanted)
    await until(remote, wanted, JobState.RUNNING)
    look_old(ops(tmp_path) / "0190")
    # A restarted server attaches, and orders the start again where it finds nothing.
    wanted = replace(wanted, epoch=2)
    assert (await attach(remote, wanted, Position())).state is JobState.RUNNING
    (tmp_path / "go").touch()
    await until(remote, wanted, JobState.ENDED)
    look_old(ops(tmp_path) / "0190")
    assert (await attach(remote, wanted, Position())).state is JobState.ENDED
    assert (tmp_path / "ran").read_text() == "x\n"


async def test_leftovers__with_a_job_that_runs_stay_whatever_their_date(remote, tmp_path):
    other = replace(job(f"while [ ! -e {tmp_path}/go ]; do sleep 0.02; done"), operation="0180")
    await begun(remote, other)
    await until(remote, other, JobState.RUNNING)
    (ops(tmp_path) / "0180/apply-1/boot").write_text("of a former boot\n")
    look_old(ops(tmp_path) / "0180")
    await attach(remote, job("true"), Position())
    assert (await poll(remote, other, Position())).state is JobState.RUNNING
    (tmp_path / "go").touch()
    await until(remote, other, JobState.ENDED)
    await attach(remote, job("true"), Position())
    assert (await poll(remote, other, Position())).state is JobState.ABSENT


@pytest.mark.parametrize("days", [1, 29, 31])
async def test_leftovers__of_this_boot_are_not_older_than_the_boot(remote, tmp_path, days):
    other = replace(job("true"), operation="0180")
    await begun(remote, other)
    await until(remote, other, JobState.ENDED)
    look_old(ops(tmp_path) / "0180")
    up_for(tmp_path, days=days)
    await attach(remote, job("true"), Position())
    expected = JobState.ENDED if days < 30 else JobState.ABSENT
    assert (await poll(remote, other, Position())).state is expected


async def test_leftovers__whose_guard_somebody_holds_stay(remote, tmp_path):
    left = ops(tmp_path) / "0180"
    left.mkdir(parents=True)
    with (left / "guard").open("a") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        look_old(left)
        await attach(remote, job("true"), Position())
    assert left.exists()


async def test_a_job__whose_folder_was_removed_runs_on_and_is_not_started_again(remote, tmp_path):
    wanted = job(f"echo x >>{tmp_path}/ran; while [ ! -e {tmp_path}/go ]; do sleep 0.02; done")
    await begun(remote, wanted)
    # A command that has not begun by then never would.
    await until_it(remote, wanted, lambda report: (tmp_path / "ran").exists())
    shutil.rmtree(ops(tmp_path))
    wanted = replace(wanted, epoch=2)
    position = Position(log=7, status=9)
    report = await attach(remote, wanted, position)
    assert (report.state, report.log_at, report.status_at) == (JobState.RUNNING, 7, 9)
    assert (await start(remote, wanted, position)).state is JobState.RUNNING
    assert not (ops(tmp_path) / "0190/apply-1").exists()
    (tmp_path / "go").touch()
    await until(remote, wanted, JobState.ABSENT)
    assert (tmp_path / "ran").read_text() == "x\n"


async def test_a_job__that_fails_while_the_clock_is_set_forward_was_not_overdue(remote, tmp_path):
    clock = tmp_path / "bin/date"
    clock.parent.mkdir()
    clock.write_text(f"#!/bin/sh\n[ -e {tmp_path}/set ] && echo 9999999999 || echo 1000\n")
    clock.chmod(0o755)
    remote.path = f"{clock.parent}:{remote.path}"
    wanted = job(f"touch {tmp_path}/set; exit 130")
    assert (await run_to_end(remote, wanted)).exit_status == 130


async def test_nobody_else_can_read_what_a_job_prints(remote, tmp_path):
    await run_to_end(remote, job("umask >&2"))
    assert ops(tmp_path).stat().st_mode & 0o777 == 0o700
    assert (ops(tmp_path) / "0190/apply-1").stat().st_mode & 0o777 == 0o700
    assert (await poll(remote, job("true"), Position())).log.strip() == b"0022"


async def test_a_host_that_cannot_keep_the_folder_says_so_in_its_own_words(remote, tmp_path):
    (tmp_path / "var/lib/tendhost").write_text("in the way")
    with pytest.raises(JobRefused, match=r"web1: the job could not be started: .*tendhost"):
        await attach(remote, job("true"), Position())


@pytest.mark.parametrize("remote", SHELLS[:2], indirect=True)  # busybox brings its own
async def test_a_host_without_flock_says_what_is_missing(remote, tmp_path):
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("mkdir", "cat", "mv", "sh"):
        (programs / name).symlink_to(shutil.which(name))
    remote.path = str(programs)
    remote._shell = (shutil.which(remote._shell[0]), *remote._shell[1:])
    with pytest.raises(JobRefused, match="flock"):
        await attach(remote, job("true"), Position())


async def test_a_shell_that_is_killed_under_the_question_is_a_lost_link_and_no_refusal(remote):
    class Killed(ShellRemote):
        async def run(self, command, *, timeout, privileged=False, limit=0, input=b""):
            return Completed(exit_status=143, stdout=b"", stderr=b"")

    with pytest.raises(LinkLost):
        await poll(Killed(remote._shell, remote._root), job("true"), Position())


async def test_a_higher_epoch_is_recorded_in_the_place_of_the_lower(remote, tmp_path):
    for epoch in (1, 20, 21):
        await attach(remote, job("true", epoch=epoch), Position())
        recorded = ops(tmp_path) / "0190/epoch"
        assert (recorded.read_text().strip(), recorded.stat().st_size) == (str(epoch), 19)


async def test_an_answer_that_is_cut_off_is_not_believed(remote):
    class Cut(ShellRemote):
        async def run(self, command, *, timeout, privileged=False, limit=0, input=b""):
            done = await super().run(command, timeout=timeout, input=input)
            return Completed(exit_status=0, stdout=done.stdout[:-3], stderr=b"")

    wanted = job("echo words >&2")
    await run_to_end(remote, wanted)
    with pytest.raises(JobRefused, match="cut off"):
        await poll(Cut(remote._shell, remote._root), wanted, Position())


async def test_a_job_finds_its_input_beside_it_byte_for_byte(remote):
    wanted = replace(job('cat "${0%/cmd}/input" >&2'), input="'\"$é\n".encode() * 40_000)
    await begun(remote, wanted)
    ended = await until(remote, wanted, JobState.ENDED)
    assert ended.exit_status == 0
    report = await poll(remote, wanted, Position())
    assert report.log == wanted.input[: len(report.log)]
    rest = await poll(remote, wanted, Position(log=len(report.log)))
    assert report.log + rest.log == wanted.input


async def test_a_job_whose_input_was_cut_off_on_its_way_does_not_begin(remote):
    wanted = replace(job("echo ran >&2"), input=b"all of it")

    class Cut(ShellRemote):
        async def run(self, command, *, timeout, privileged=False, limit=0, input=b""):
            return await super().run(command, timeout=timeout, input=input[:3])

    cut = Cut(remote._shell, remote._root)
    with pytest.raises(JobRefused, match="input is not whole"):
        await begun(cut, wanted)
    assert (await attach(remote, wanted, Position())).state is JobState.ABSENT
    await begun(remote, wanted)
    assert (await until(remote, wanted, JobState.ENDED)).log == b"ran\n"
