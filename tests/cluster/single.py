"""One throwaway PostgreSQL: made when it is first asked for, ended with the process, a database for each test.

It keeps everything in a folder of its own, listens on a unix socket there and on a port of loopback, and loses what it
has when the machine stops: it never waits for the disk.
"""

import atexit
import ctypes
import itertools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from tests.cluster.programs import postgresql_folder, unprivileged_user

START_SECONDS = 60
_PDEATHSIG = 1
_numbers = itertools.count(1)


class Server:
    """A PostgreSQL of its own. `settings` are lines of postgresql.conf."""

    def __init__(self, *, settings: Sequence[str] = (), encoding: str = "UTF8") -> None:
        self._programs = postgresql_folder()
        self._user = unprivileged_user()
        self.folder = Path(tempfile.mkdtemp(prefix="tendhost-pg-"))
        self.folder.chmod(0o755)
        if self._user is not None:
            shutil.chown(self.folder, self._user)
        self.data = self.folder / "data"
        self.port = _free_port()
        locale = "C.UTF-8" if encoding == "UTF8" else "C"
        options = ("--username=postgres", "--auth=trust", "--no-sync", "--no-instructions")
        language = (f"--encoding={encoding}", f"--locale={locale}")
        self.run("initdb", *options, *language, f"--pgdata={self.data}")
        given = (
            f"port = {self.port}",
            "listen_addresses = '127.0.0.1'",
            f"unix_socket_directories = '{self.folder}'",
            "fsync = off",
            "full_page_writes = off",
            "max_connections = 200",
            "shared_buffers = 64MB",
            "autovacuum = off",
            "log_min_messages = fatal",
            *settings,
        )
        with (self.data / "postgresql.auto.conf").open("a") as file:
            file.write("\n".join(given) + "\n")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the postmaster."""
        assert self._process is not None
        return self._process.pid

    def address(self, database: str = "postgres", *, user: str = "postgres") -> str:
        """The address of a database, over TCP."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def start(self) -> "Server":
        """Start it, and wait until it answers."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                (self._programs / "postgres", "-D", self.data),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                user=self._user,
                cwd=self.folder,
                start_new_session=True,
                preexec_fn=_die_with_the_parent,  # noqa: PLW1509  # nothing else runs in the child
            )
        end = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > end:
                raise RuntimeError((self.folder / "log").read_text())
            time.sleep(0.02)
        return self

    def _answers(self) -> bool:
        ready = (self._programs / "pg_isready", "-q", "-h", self.folder, "-p", str(self.port))
        return subprocess.run(ready, check=False).returncode == 0

    def stop(self, *, hard: bool = False) -> None:
        """End it; `hard` as a crash does."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGCONT)
        self._process.send_signal(signal.SIGQUIT if hard else signal.SIGINT)
        self._process.wait(timeout=START_SECONDS)
        self._process = None

    def remove(self) -> None:
        """End it, and remove everything that it has."""
        self.stop(hard=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def signal(self, number: int) -> None:
        """Send a signal to all of its processes."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        for pid in (*map(int, children), self.pid):
            os.kill(pid, number)

    def sql(self, *statements: str, database: str = "postgres") -> str:
        """What psql prints for `statements`, each in a transaction of its own, as the administrator."""
        where = ("-h", str(self.folder), "-p", str(self.port), "-U", "postgres", "-d", database)
        commands = [part for statement in statements for part in ("-c", statement)]
        return self.run("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", *where, *commands)

    def create(self, count: int = 1, *, template: str = "template0") -> list[str]:
        """The names of new databases, copies of `template`."""
        names = [f"test{next(_numbers)}" for _ in range(count)]
        self.sql(*(f"CREATE DATABASE {name} TEMPLATE {template}" for name in names))
        return names

    def run(self, program: str, *arguments: str) -> str:
        """What one of PostgreSQL's programs prints."""
        done = subprocess.run(
            (self._programs / program, *arguments),
            check=False,
            capture_output=True,
            text=True,
            user=self._user,
            cwd=self.folder,
        )
        if done.returncode:
            raise RuntimeError(f"{program} failed: {done.stderr}")
        return done.stdout.strip()


@cache
def shared() -> Server:
    """The server that all tests of this process share, each with a database of its own."""
    server = Server()
    atexit.register(server.remove)
    return server.start()


def _free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port: int = bound.getsockname()[1]
        return port


def _die_with_the_parent() -> None:
    ctypes.CDLL(None).prctl(_PDEATHSIG, signal.SIGQUIT)
