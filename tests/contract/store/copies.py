"""Files that a test copies, damages and looks into."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tendhost.server.store.backup import CopyFailed
from tests.contract.store.conftest import Database


def names_in(folder: Path) -> set[str]:
    """What stands in a folder."""
    return {entry.name for entry in folder.iterdir()}


def mode(path: Path) -> int:
    """Who may read and write a file."""
    return path.stat().st_mode & 0o777


def content(path: Path) -> bytes:
    """All that a file holds."""
    return path.read_bytes()


def fill(path: Path, data: bytes) -> None:
    """Have a file hold `data` and nothing else."""
    path.write_bytes(data)


def one_line(caught: pytest.ExceptionInfo[CopyFailed]) -> str:
    """What was said, which is one line."""
    said = str(caught.value)
    assert "\n" not in said
    return said


def put_with_cp(file: Path, path: Path) -> Database:
    """The database that `path` is once `file` was copied there with nothing but `cp`."""
    path.parent.mkdir(exist_ok=True)
    shutil.copy(file, path)
    return Database(backend="sqlite", address=str(path))


def killed_with_a_host(path: Path) -> None:
    """Have a server with one host that was killed."""
    program = (
        "import asyncio, os, signal, sys; from pathlib import Path;"
        "from tendhost.server.store.sqlite import open_store;"
        "from tests.contract.store.samples import stored_host\n"
        "async def main():\n"
        "    await stored_host(await open_store(Path(sys.argv[1])), 'killed')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "asyncio.run(main())"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL


def damage(path: Path) -> None:
    """Overwrite the last page of a database, which holds rows."""
    content = bytearray(path.read_bytes())
    content[-4096:] = b"\xff" * 4096
    path.write_bytes(content)
