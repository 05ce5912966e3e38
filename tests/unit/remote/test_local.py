"""Commands on the server's own machine: nothing of them is left behind, however they are left."""

import asyncio
import errno
import os
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest

from tendhost.server.domain.host_errors import LinkLost, OutputTooLarge, Timeout
from tendhost.server.remote.commands import CommandRemote
from tendhost.server.remote.local import ADDRESS, LocalConnector
from tendhost.server.remote.protocol import Remote, Target

SOON = timedelta(seconds=1)
"""Enough for a shell to start on a busy machine."""
LONG = timedelta(seconds=30)


@pytest.fixture
async def here() -> AsyncIterator[Remote]:
    target = Target(host="here", address=ADDRESS, port=0, user="", ssh_key="", host_key=ADDRESS)
    remote = await LocalConnector().connect(target)
    yield remote
    await remote.close()


class Children:
    """A command that starts two children and tells who they are, and whether they have gone."""

    def __init__(self, folder: Path) -> None:
        self._pids = folder / "pids"
        self.command = f"sleep 60 & sleep 60 & echo $! $$ >{self._pids}; echo begun; wait"

    async def are_gone(self) -> None:
        """Return once they are."""
        for pid in map(int, self._pids.read_text().split()):
            with suppress(ProcessLookupError):
                descriptor = os.pidfd_open(pid)
                ended = asyncio.Event()
                loop = asyncio.get_running_loop()
                loop.add_reader(descriptor, ended.set)
                try:
                    async with asyncio.timeout(5):
                        await ended.wait()
                finally:
                    loop.remove_reader(descriptor)
                    os.close(descriptor)


@pytest.fixture
def children(tmp_path: Path) -> Children:
    return Children(tmp_path)


async def test_command_that_took_too_long_is_ended_with_its_children(
    here: Remote, children: Children
) -> None:
    with pytest.raises(Timeout):
        await here.run(children.command, timeout=SOON)
    await children.are_gone()


async def test_command_that_printed_too_much_is_ended_with_its_children(
    here: Remote, children: Children
) -> None:
    with pytest.raises(OutputTooLarge):
        await here.run(children.command, timeout=LONG, limit=1)
    await children.are_gone()


async def test_command_whose_caller_went_away_is_ended_with_its_children(
    here: Remote, children: Children
) -> None:
    assert isinstance(here, CommandRemote)
    begun = asyncio.Event()
    running = asyncio.create_task(
        here.stream(
            children.command,
            timeout=LONG,
            on_stdout=lambda _: begun.set(),
            on_stderr=lambda _: None,
        )
    )
    await begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await children.are_gone()


async def test_child_that_was_left_on_purpose_outlives_its_command(
    here: Remote, tmp_path: Path
) -> None:
    left = await here.run("setsid sleep 60 >/dev/null 2>&1 & echo $!", timeout=LONG)
    pid = int(left.stdout)
    os.kill(pid, 0)  # raises where it has gone
    os.kill(pid, signal.SIGKILL)


async def test_command__may_be_longer_than_the_kernel_takes_as_arguments(here: Remote) -> None:
    done = await here.run("#" * 4_000_000 + "\necho done", timeout=LONG)
    assert done.stdout == b"done\n"


async def test_command__that_cannot_be_started_is_told_as_such(
    here: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused(*_: object, **__: object) -> None:
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(asyncio.get_running_loop(), "subprocess_exec", refused, raising=False)
    with pytest.raises(LinkLost, match="cannot be started: Resource temporarily unavailable"):
        await here.run("true", timeout=LONG)


async def test_command__does_not_get_the_secrets_of_the_server(
    here: Remote, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TENDHOST_SSH_KEY", "s3cret")
    seen = await here.run("env", timeout=LONG)
    assert b"PATH=" in seen.stdout
    assert b"s3cret" not in seen.stdout
