"""A command on any way to a host: what it prints, how it ends, and what it cannot do."""

import asyncio
import hashlib
import signal
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tendhost.server.domain.host_errors import (
    LinkLost,
    OutputTooLarge,
    PrivilegeMissing,
    Timeout,
)
from tendhost.server.remote.commands import CommandRemote
from tendhost.server.remote.local import LocalRemote
from tendhost.server.remote.protocol import Completed, Target
from tests.contract.remote.conftest import LINKS
from tests.contract.remote.ways import Way

SOON = timedelta(seconds=0.3)
LONG = timedelta(seconds=30)
MEGABYTE = 1024 * 1024


async def done(remote: CommandRemote, command: str, **options: Any) -> Completed:
    return await remote.run(command, timeout=LONG, **options)


async def test_command_tells_its_output_its_complaints_and_its_exit_status(
    remote: CommandRemote,
) -> None:
    completed = await done(remote, "echo out; echo err >&2; exit 3")
    assert completed == Completed(exit_status=3, stdout=b"out\n", stderr=b"err\n")


async def test_command_that_says_nothing_and_succeeds_is_zero(remote: CommandRemote) -> None:
    assert await done(remote, "true") == Completed(exit_status=0, stdout=b"", stderr=b"")


async def test_command_that_is_not_there_is_127(remote: CommandRemote) -> None:
    completed = await done(remote, "no-such-program")
    assert completed.exit_status == 127
    assert b"no-such-program" in completed.stderr


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
async def test_command_that_a_signal_ended_is_128_and_the_signal(
    remote: CommandRemote, number: signal.Signals
) -> None:
    completed = await done(remote, f"echo before; kill -{number.value} $$")
    assert (completed.exit_status, completed.stdout) == (128 + number.value, b"before\n")


async def test_output_is_bytes_as_they_were_printed(remote: CommandRemote) -> None:
    completed = await done(remote, r"printf '\000\377\r\n\303\251 \342\200\250'")
    assert completed.stdout == b"\0\xff\r\n\xc3\xa9 \xe2\x80\xa8"


async def test_command_of_many_lines_and_quotes_runs_as_it_is_written(
    remote: CommandRemote,
) -> None:
    script = "set -eu\nfor w in \"a 'b'\" '$HOME \\n'; do\n  printf '%s|' \"$w\"\ndone\n"
    assert (await done(remote, script)).stdout == b"a 'b'|$HOME \\n|"


@pytest.mark.parametrize("privileged", [False, True])
@pytest.mark.parametrize("input", [b"", b"its own\0input\n" * 3])
async def test_script__may_be_longer_than_an_argument(
    remote: CommandRemote, privileged: bool, input: bytes
) -> None:
    names = [f"a-package-with-a-long-name-{number}=1:2.0-{number}" for number in range(5000)]
    words = " ".join(f"'{name}'" for name in names)
    script = f"set -- {words}\necho $#\nprintf '%s\\n' \"$@\" | tail -n 1\ncat"
    assert len(script) > 128 * 1024
    completed = await done(remote, script, privileged=privileged, input=input)
    assert completed.stderr == b""
    assert completed.stdout == f"5000\n{names[-1]}\n".encode() + input


async def test_command_that_reads_finds_the_end_of_its_input(remote: CommandRemote) -> None:
    completed = await done(remote, "cat; read answer; echo $?")
    assert completed.stdout == b"1\n"


async def test_five_megabytes_arrive_whole_and_in_order(remote: CommandRemote) -> None:
    produce = "seq 1 800000"
    expected = b"".join(b"%d\n" % number for number in range(1, 800_001))
    assert len(expected) > 5 * MEGABYTE
    completed = await done(remote, produce)
    assert hashlib.sha256(completed.stdout).digest() == hashlib.sha256(expected).digest()


async def test_both_streams_arrive_whole_when_both_are_long(remote: CommandRemote) -> None:
    completed = await done(remote, "seq 1 50000 >&2 & seq 50000; wait")
    assert completed.stdout == completed.stderr
    assert completed.stdout.endswith(b"\n50000\n")


async def test_command_that_prints_more_than_it_may_is_ended(remote: CommandRemote) -> None:
    with pytest.raises(OutputTooLarge) as caught:
        await remote.run("exec yes", timeout=LONG, limit=MEGABYTE)
    assert caught.value.limit == MEGABYTE
    assert (await done(remote, "echo still here")).stdout == b"still here\n"


async def test_bound_is_of_both_streams_together_and_what_just_fits_is_let_through(
    remote: CommandRemote,
) -> None:
    completed = await remote.run("printf 12345; printf 678 >&2", timeout=LONG, limit=8)
    assert completed == Completed(exit_status=0, stdout=b"12345", stderr=b"678")
    with pytest.raises(OutputTooLarge):
        await remote.run("printf 12345; printf 678 >&2", timeout=LONG, limit=7)


async def test_command_that_takes_too_long_is_a_timeout_that_names_its_bound(
    remote: CommandRemote,
) -> None:
    with pytest.raises(Timeout, match=r"0\.3 s"):
        await remote.run("exec sleep 60", timeout=SOON)
    assert (await done(remote, "echo still here")).stdout == b"still here\n"


async def test_command_that_closed_its_output_and_goes_on_is_a_timeout_too(
    remote: CommandRemote,
) -> None:
    async with asyncio.timeout(10):
        with pytest.raises(Timeout):
            await remote.run("exec >/dev/null 2>&1 </dev/null; exec sleep 60", timeout=SOON)


@pytest.mark.parametrize("ending", ["exit 0", "wait"])
async def test_command_whose_child_out_of_reach_keeps_the_output_open_is_a_timeout_too(
    remote: CommandRemote, ending: str
) -> None:
    child = bytearray()
    async with asyncio.timeout(10):
        with pytest.raises(Timeout):
            await remote.stream(
                f"setsid sleep 60 & echo $!; {ending}",
                timeout=timedelta(seconds=1),  # enough for a shell to start on a busy machine
                on_stdout=child.extend,
                on_stderr=lambda _: None,
            )
    assert (await done(remote, f"kill {int(child)}")).exit_status == 0


async def test_output_is_handed_on_while_the_command_runs(remote: CommandRemote) -> None:
    seen: asyncio.Queue[bytes] = asyncio.Queue()
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(
            remote.stream(
                "echo one; sleep 60; echo two",
                timeout=LONG,
                on_stdout=seen.put_nowait,
                on_stderr=seen.put_nowait,
            )
        )
        assert await seen.get() == b"one\n"
        assert not running.done()
        running.cancel()


async def test_streams_are_handed_on_apart(remote: CommandRemote) -> None:
    stdout, stderr = bytearray(), bytearray()
    status = await remote.stream(
        "echo a; echo b >&2; echo c; exit 7",
        timeout=LONG,
        on_stdout=stdout.extend,
        on_stderr=stderr.extend,
    )
    assert (status, bytes(stdout), bytes(stderr)) == (7, b"a\nc\n", b"b\n")


async def test_error_of_whoever_takes_the_output_ends_the_command_and_comes_out(
    remote: CommandRemote,
) -> None:
    def refuse(data: bytes) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await remote.stream(
            "echo a; exec sleep 60", timeout=LONG, on_stdout=refuse, on_stderr=refuse
        )
    assert (await done(remote, "echo still here")).stdout == b"still here\n"


async def test_caller_that_is_cancelled_leaves_at_once_and_the_way_open(
    remote: CommandRemote,
) -> None:
    started = asyncio.Event()
    running = asyncio.create_task(
        remote.stream(
            "echo a; exec sleep 60",
            timeout=LONG,
            on_stdout=lambda _: started.set(),
            on_stderr=lambda _: None,
        )
    )
    await started.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert (await done(remote, "echo still here")).stdout == b"still here\n"


async def test_commands_run_side_by_side_on_one_way(remote: CommandRemote) -> None:
    completed = await asyncio.gather(*(done(remote, f"echo {number}") for number in range(8)))
    assert [each.stdout for each in completed] == [b"%d\n" % number for number in range(8)]


async def test_nothing_of_one_command_is_left_for_the_next(remote: CommandRemote) -> None:
    await done(remote, "cd /; MARK=1; export MARK; umask 0")
    assert (await done(remote, "echo ${MARK:-none}")).stdout == b"none\n"


async def test_root_needs_no_sudo(way: Way) -> None:
    remote = await way.connect("root")
    completed = await done(remote, "id -u", privileged=True)
    assert (completed.stdout, completed.exit_status) == (b"0\n", 0)
    await remote.close()


async def test_user_with_sudo_is_root_where_it_is_asked_for_and_only_there(way: Way) -> None:
    remote = await way.connect("ops")
    assert (await done(remote, "id -u", privileged=True)).stdout == b"0\n"
    assert (await done(remote, "id -u")).stdout != b"0\n"
    await remote.close()


async def test_command_that_fails_as_root_is_not_taken_for_a_refusal_of_sudo(way: Way) -> None:
    remote = await way.connect("ops")
    completed = await done(remote, "echo '$x'; exit 1", privileged=True)
    assert (completed.exit_status, completed.stdout) == (1, b"$x\n")
    await remote.close()


async def test_user_whom_sudo_refuses_is_told_so_in_its_own_words(way: Way) -> None:
    remote = await way.connect("nosudo")
    with pytest.raises(PrivilegeMissing, match="password is required") as caught:
        await done(remote, "id -u", privileged=True)
    assert caught.value.user
    await remote.close()


class _Programs(LocalRemote):
    """This machine, with other programs before its own, and a user who is not known to be root."""

    def __init__(self, programs: Path) -> None:
        super().__init__(
            Target(host="h", address="local", port=22, user="toor", ssh_key="", host_key="")
        )
        self._is_root, self._programs = False, programs

    async def _execute(self, line: str, *arguments: Any) -> Any:
        return await super()._execute(f"PATH={self._programs}:$PATH; {line}", *arguments)


def _program(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


async def test_root_under_another_name_needs_no_sudo(tmp_path: Path) -> None:
    _program(tmp_path, "id", "echo 0")
    _program(tmp_path, "sudo", "echo toor is not in the sudoers file >&2; exit 1")
    remote = _Programs(tmp_path)
    assert (await done(remote, "echo in", privileged=True)).stdout == b"in\n"
    failed = await done(remote, "cat; exit 3", privileged=True, input=b"read")
    assert (failed.exit_status, failed.stdout) == (3, b"read")


@pytest.mark.parametrize("allowed", ["true", "apt-get *", "env *"])
async def test_user_whom_sudo_allows_other_commands_is_told_so(
    tmp_path: Path, allowed: str
) -> None:
    pattern = allowed.replace(" ", "\\ ")
    allows = f'case "$*" in {pattern}) exec "$@" ;; esac; echo sorry >&2; exit 1'
    _program(tmp_path, "id", "echo 1000")
    _program(tmp_path, "sudo", f'shift; [ "$1" != -- ] || shift; {allows}')
    with pytest.raises(PrivilegeMissing, match="sorry"):
        await done(_Programs(tmp_path), "true", privileged=True)


@pytest.mark.parametrize("way", LINKS, indirect=True)
async def test_link_that_breaks_under_a_command_is_lost(way: Way) -> None:
    assert way.cut is not None
    remote = await way.connect()
    started = asyncio.Event()
    running = asyncio.create_task(
        remote.stream(
            "echo a; exec sleep 60",
            timeout=LONG,
            on_stdout=lambda _: started.set(),
            on_stderr=lambda _: None,
        )
    )
    await started.wait()
    await way.cut()
    with pytest.raises(LinkLost):
        await running
    with pytest.raises(LinkLost):
        await done(remote, "true")
    await remote.close()


@pytest.mark.parametrize("way", LINKS, indirect=True)
async def test_command_whose_output_was_cut_short_has_not_ended_well(way: Way) -> None:
    assert way.cut is not None
    remote = await way.connect()
    has_exited = asyncio.Event()
    # sshd tells the exit status at once, while the output goes on.
    wait = "while kill -0 $parent 2>/dev/null; do sleep 0.01; done"
    running = asyncio.create_task(
        remote.stream(
            f"parent=$$; ({wait}; echo gone >&2; sleep 5; echo the rest) & exit 0",
            timeout=LONG,
            on_stdout=lambda _: None,
            on_stderr=lambda _: has_exited.set(),
        )
    )
    await has_exited.wait()
    await way.cut()
    with pytest.raises(LinkLost):
        await running
    await remote.close()


async def test_way_can_be_closed_twice_and_in_the_middle_of_a_command(way: Way) -> None:
    remote = await way.connect()
    running = asyncio.create_task(remote.run("exec sleep 60", timeout=SOON))
    await asyncio.sleep(0)
    await remote.close()
    await remote.close()
    with pytest.raises((LinkLost, Timeout)):
        await running


async def test_key_that_a_host_shows_is_the_one_to_pin(way: Way) -> None:
    target = way.target
    shown = await way.connector.get_host_key(host="web1", address=target.address, port=target.port)
    assert shown == target.host_key


async def test_what_a_command_reads_is_given_to_it_whole_and_ends(remote):
    input = bytes(range(256)) * 4096
    completed = await done(remote, "sha256sum; cat", input=input)
    assert completed.stdout.decode().split()[0] == hashlib.sha256(input).hexdigest()
    assert (await done(remote, "wc -c", input=b"")).stdout.strip() == b"0"


async def test_a_command_need_not_read_what_it_is_given(remote):
    completed = await done(remote, "exec <&-; echo over", input=b"x" * MEGABYTE)
    assert (completed.exit_status, completed.stdout) == (0, b"over\n")


async def test_root_reads_what_a_command_is_given_too(remote):
    completed = await done(remote, "cat", privileged=True, input=b"for root")
    assert completed.stdout == b"for root"
