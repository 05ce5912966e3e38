"""The process that a cluster's programs and links live in, and that ends all of them with the runner.

It first writes the number of the network that it claimed. Then it is told what to do by lines of JSON on its standard
input, and answers each with a line. It is the "child subreaper" (prctl(2)) of its programs, so that PostgreSQL, which
Patroni puts into the background, remains below it. When its input ends, because the runner closed it or was killed, it
kills all that is below it, and removes the folder that is its argument.
"""

import asyncio
import ctypes
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

from tests.cluster.links import Link
from tests.cluster.settings import NODES, POSTGRES_PORT, Net
from tests.fleet.processes import descendants, kill_tree

PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


class Keeper:
    """Starts programs and moves links."""

    def __init__(self) -> None:
        self._links: dict[str, Link] = {}
        self._programs: list[subprocess.Popen[bytes]] = []
        """Held, so that Python waits for none of them itself."""

    async def answer(self, order: dict[str, Any]) -> dict[str, Any]:
        match order["do"]:
            case "start":
                return {"pid": self._start(order)}
            case "link":
                name = order["name"]
                self._links[name] = Link(tuple(order["listen"]), tuple(order["to"]))
                await self._links[name].set("open")
            case "mode":
                await self._links[order["name"]].set(order["mode"], order["delay"])
            case other:
                raise ValueError(f"unknown order: {other}")
        return {}

    def _start(self, order: dict[str, Any]) -> int:
        user: str | None = order["user"]
        with Path(order["log"]).open("ab") as log:
            program = subprocess.Popen(
                order["argv"],
                env=order["env"],
                cwd=order["folder"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                user=user,
                group=pwd.getpwnam(user).pw_gid if user else None,
                extra_groups=[] if user else None,
                start_new_session=True,
            )
        self._programs.append(program)
        return program.pid


def _claim() -> tuple[Net, socket.socket]:
    """A network that no other keeper has: the name of a socket, which is free when this process has ended."""
    for number in range(1, 255):
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0tendhost-cluster-{number}")
            for node in NODES:  # of a keeper that was killed something may remain
                with socket.socket() as port:
                    port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    port.bind((Net(number=number).inside(node), POSTGRES_PORT))
        except OSError:
            claim.close()
            continue
        return Net(number=number), claim
    raise OSError("all networks of 127.77.0.0/16 are taken")


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return


async def _serve() -> NoReturn:
    """Ends the process, whatever happens: nothing may outlive it."""
    try:
        await _obey()
    finally:
        _end()


async def _obey() -> None:
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGCHLD, _reap)
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    keeper = Keeper()
    net, _claimed = _claim()
    print(json.dumps({"number": net.number}), flush=True)
    while line := await reader.readline():
        try:
            answer = await keeper.answer(json.loads(line))
        except (OSError, ValueError, KeyError) as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


def _end() -> NoReturn:
    while below := descendants(os.getpid()):
        for pid in below:
            kill_tree(pid)
        _reap()
    shutil.rmtree(sys.argv[1], ignore_errors=True)
    os._exit(0)  # what the links had under way has no ending worth waiting for


def main() -> None:
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the runner's end is what ends it
    asyncio.run(_serve())


if __name__ == "__main__":
    main()
