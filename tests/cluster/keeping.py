"""The runner's side of the keeper: starts it, gives it orders, and knows which process is whose."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.cluster.links import Address, Mode
from tests.cluster.programs import unprivileged_user
from tests.cluster.settings import Net
from tests.fleet.processes import descendants

ROOT = Path(__file__).resolve().parent.parent.parent


class ClusterError(Exception):
    """The cluster did not come up, or did not become what was waited for."""


class Keeping:
    """A keeper that runs."""

    def __init__(self, process: asyncio.subprocess.Process, number: int, folder: Path) -> None:
        self._process = process
        self._turn = asyncio.Lock()
        self._folder = folder
        self._pids: dict[str, int] = {}
        self.net = Net(number=number)

    async def start(
        self, name: str, argv: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> None:
        """Start a program as the unprivileged user, with its output in `logs/NAME`."""
        answer = await self._ask(
            {
                "do": "start",
                "argv": list(argv),
                "env": {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"} | dict(environment or {}),
                "folder": str(self._folder),
                "log": str(self.log(name)),
                "user": unprivileged_user(),
            }
        )
        self._pids[name] = answer["pid"]

    async def link(self, name: str, listen: Address, to: Address) -> None:
        await self._ask({"do": "link", "name": name, "listen": listen, "to": to})

    async def set_link(self, name: str, mode: Mode, delay: float = 0.0) -> None:
        await self._ask({"do": "mode", "name": name, "mode": mode, "delay": delay})

    def log(self, name: str) -> Path:
        return self._folder / "logs" / name

    def tail(self, name: str, lines: int = 15) -> str:
        with contextlib.suppress(OSError):
            text = self.log(name).read_text(encoding="utf-8", errors="replace")
            return "\n".join(text.splitlines()[-lines:])
        return ""

    def tree(self, name: str) -> list[int]:
        """A program and all below it, the program first; empty when it has ended."""
        pid = self._pids.get(name)
        return [pid, *descendants(pid)] if pid is not None and is_alive(pid) else []

    async def _ask(self, order: Mapping[str, Any]) -> dict[str, Any]:
        async with self._turn:
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            await self._process.stdin.drain()
            answer = await _line(self._process)
        if "error" in answer:
            raise ClusterError(f"cannot {order['do']}: {answer['error']}")
        return answer


@contextlib.asynccontextmanager
async def keeper(folder: Path) -> AsyncIterator[Keeping]:
    """Start a keeper; afterwards everything that it started has ended, and the folder is gone."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.cluster.keeper", str(folder)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
        start_new_session=True,
    )
    try:
        yield Keeping(process, (await _line(process))["number"], folder)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await asyncio.shield(process.wait())


async def _line(process: asyncio.subprocess.Process) -> dict[str, Any]:
    assert process.stdout is not None
    if not (line := await process.stdout.readline()):
        raise ClusterError("the keeper of the cluster has ended")
    answer: dict[str, Any] = json.loads(line)
    return answer


def is_alive(pid: int) -> bool:
    """Whether a process is there and not only waited for."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def send(pids: Sequence[int], number: signal.Signals) -> None:
    """Send a signal to each; those that have ended meanwhile do not matter."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


async def gone(pids: Sequence[int], seconds: float = 10.0) -> None:
    """Wait until they have ended. Raises ClusterError."""
    deadline = asyncio.get_running_loop().time() + seconds
    while any(is_alive(pid) for pid in pids):
        if asyncio.get_running_loop().time() > deadline:
            raise ClusterError(f"of the processes {list(pids)} some do not end")
        await asyncio.sleep(0.02)
