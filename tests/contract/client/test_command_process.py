"""The `tendhost` command as a process of its own: its start, its terminal, its signals, its pipes."""

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tendhost.v1 import host_service_pb2 as pb
from tendhost.v1 import rollout_service_pb2 as rollouts_pb
from tendhost.v1.operation_pb2 import (
    STEP_NAME_APPLY,
    STEP_STATUS_RUNNING,
    OperationProgress,
    Step,
)
from tests.contract.client import messages
from tests.contract.client.messages import advanced, hello, member, operation, rollout, watched
from tests.contract.client.mock_server import Hold, MockServer

COMMAND = [sys.executable, "-m", "tendhost.client.cli"]
PLAIN = {"PATH": os.environ["PATH"], "TERM": "xterm", "LC_ALL": "C.UTF-8", "COLUMNS": "100"}


@contextmanager
def running(
    server: MockServer, *words: str, **environment: str
) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [*COMMAND, *words],
        env={**PLAIN, "TENDHOST_SERVER": server.address, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdout, process.stderr):
            assert pipe is not None
            pipe.close()


def on_a_terminal(server: MockServer, *words: str, **environment: str) -> tuple[int, str]:
    """The exit status, and everything that was written to the terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, *words],
        env={**PLAIN, "TENDHOST_SERVER": server.address, **environment},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    written = bytearray()
    try:
        while part := os.read(ours, 65536):
            written += part
    except OSError:
        pass  # how a terminal says that nobody writes to it any more
    finally:
        os.close(ours)
    return process.wait(timeout=20), written.decode()


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["host"],
        *(["host", word] for word in ("add", "list", "show", "set", "remove", "packages")),
        *(["host", word] for word in ("groups", "tags")),
        *([word] for word in ("query", "update", "reboot", "check", "retry", "acknowledge")),
        ["rollout"],
        *(["rollout", w] for w in ("start", "watch", "list", "show", "pause", "resume", "cancel")),
        ["operation"],
        *(["operation", word] for word in ("list", "show", "watch", "log", "cancel")),
        *([word] for word in ("events", "info", "version")),
    ],
    ids=" ".join,
)
def test_every_command_explains_itself_without_a_server(words, tendhost, server):
    server.stop()
    done = tendhost(*words, "--help")
    assert done.status == 0
    usage, *rest = done.out.splitlines()
    assert usage.startswith(f"Usage: {' '.join(['tendhost', *words])} ")
    # A summary that was cut says nothing.
    assert not any(line.endswith("...") for line in rest)


def test_interrupted_wait_says_that_the_operation_goes_on(server):
    server.answer("StartUpdate", pb.StartUpdateResponse(operation=operation()))
    server.stream("WatchOperation", [watched(operation()), Hold()])
    with running(server, "update", "web1") as process:
        server.wait_for_call("WatchOperation")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (130, b"")
    assert err.decode().strip() == (
        "the operation continues on the server; to watch it:\n  tendhost operation watch op1"
    )


def test_interrupted_rollout_says_how_to_watch_and_stop_it(server):
    server.answer("StartRollout", rollouts_pb.StartRolloutResponse(rollout=rollout()))
    server.answer("GetRollout", rollouts_pb.GetRolloutResponse(rollout=rollout()))
    server.stream("WatchRollout", [advanced(rollout()), Hold()])
    with running(server, "rollout", "start", "--follow") as process:
        server.wait_for_call("WatchRollout")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert b"tendhost rollout watch ro1 " in err
    assert b"tendhost rollout cancel ro1 " in err


def test_reader_that_has_seen_enough_is_no_error(server):
    server.answer(
        "ListHosts",
        pb.ListHostsResponse(hosts=[messages.host(f"host{number}") for number in range(3000)]),
    )
    with running(server, "host", "list") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
        assert process.wait(timeout=20) == 0
        process.stdout = open(os.devnull, "rb")  # noqa: PTH123, SIM115


def test_word_that_is_not_utf8_is_refused(server):
    with running(server, "host", "show", os.fsdecode(b"web\xff")) as process:
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (2, b"")
    assert err.decode() == "error: 'web�' is not UTF-8\n"


def test_output_that_cannot_show_a_letter_shows_a_question_mark(server):
    ended = operation("SUCCEEDED", update=messages.upgraded())
    server.answer("StartUpdate", pb.StartUpdateResponse(operation=ended))
    server.stream("WatchOperation", [watched(ended)])
    with running(server, "update", "web1", PYTHONIOENCODING="ascii") as process:
        out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, b"")
    assert b"libc6  2.36-9  ?  2.36-10" in out


# --- on a terminal --------------------------------------------------------------------------------


@pytest.fixture
def progressing(server):
    """An update of web1 whose progress is told before it ends."""
    ended = operation("SUCCEEDED", update=messages.upgraded())
    server.answer("StartUpdate", pb.StartUpdateResponse(operation=operation()))
    end = Hold()
    progress = OperationProgress(package="libc6", percent=42, phase="unpack")
    step = Step(name=STEP_NAME_APPLY, status=STEP_STATUS_RUNNING)
    further = operation(steps=[step], progress=progress)
    server.stream("WatchOperation", [watched(operation()), watched(further), end, watched(ended)])
    return end


def test_terminal_shows_the_progress_and_then_the_result(server, progressing):
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "update", "web1"],
        env={**PLAIN, "TENDHOST_SERVER": server.address},
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    written = b""
    while b"unpack libc6 42 %" not in written:
        written += os.read(ours, 65536)
    assert b"\x1b[36mrunning" in written
    progressing.release()
    while b"libc6  2.36-9" not in written:
        written += os.read(ours, 65536)
    os.close(ours)
    assert process.wait(timeout=20) == 0
    assert server.requests("WatchEvents") == []


def test_terminal_shows_states_in_colours_unless_that_is_unwanted(server):
    server.answer("ListHosts", pb.ListHostsResponse(hosts=[messages.host("web1")]))
    status, written = on_a_terminal(server, "host", "list")
    assert (status, "\x1b[32midle" in written) == (0, True)
    status, written = on_a_terminal(server, "host", "list", NO_COLOR="1")
    assert (status, "\x1b[32m" in written) == (0, False)
    assert "idle" in written


def test_terminal_shows_a_rollout_and_what_became_of_it(server):
    server.answer("GetRollout", rollouts_pb.GetRolloutResponse(rollout=rollout()))
    server.stream("WatchEvents", [hello(3), Hold()])
    server.stream(
        "WatchRollout",
        [
            advanced(rollout(in_progress=2), member("a", "IN_PROGRESS"), member("b", "PENDING")),
            advanced(
                rollout("COMPLETED", completed=1, failed=1),
                *(member("a", "COMPLETED"), member("b", "FAILED", "disk full")),
            ),
        ],
    )
    status, written = on_a_terminal(server, "rollout", "watch", "ro1")
    assert status == 1
    last = written.splitlines()[-4:]
    assert "wave 1 of 1; 2 hosts: 1 completed, 1 failed" in last[0]
    assert "disk full" in last[-1]
