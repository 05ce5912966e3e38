"""Builds once, and finds again, the read-only layers that the disks of all hosts share."""

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.fleet.archive import checked_packages
from tests.fleet.errors import BuildError, FleetError

SCRIPTS = Path(__file__).parent / "scripts"
RECIPES = (
    "build-base.sh",
    "build-archive.sh",
    "customize.sh",
    "layer.sh",
    "inside/reboot",
    "inside/tinyinit",
)
UNUSED_AFTER_SECONDS = 14 * 24 * 3600
"""A base that another checkout built and nobody started a fleet from for that long is removed."""

INSTALL = """
list=/etc/apt/sources.list
for suite in bookworm bookworm-security; do
  echo "deb [signed-by=/etc/apt/keyrings/fleet.asc] file:///srv/archive/v1 $suite main" >>$list
done
apt-get update -qq
[ $# = 0 ] || apt-get install -y -qq --no-install-recommends "$@"
case " $* " in *" tb-held "*) apt-mark hold tb-held;; esac
apt-get clean
rm -rf $list /var/lib/apt/lists/* /var/log/tb-transactions /var/log/apt/* /var/log/dpkg.log
"""


def say_on_stderr(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def cache_folder() -> Path:
    """$TENDHOST_FLEET_CACHE, or tendhost-fleet in the user's cache folder."""
    own = os.environ.get("TENDHOST_FLEET_CACHE")
    if own:
        folder = Path(own).absolute()
    else:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tendhost-fleet"
    if any(mark in str(folder) for mark in ":,\\"):
        raise FleetError(
            f"the cache folder {folder} has a character that an overlay mount cannot take"
        )
    return folder


def recipe_key() -> str:
    digest = hashlib.sha256()
    for name in RECIPES:
        digest.update(name.encode() + b"\0" + (SCRIPTS / name).read_bytes() + b"\0")
    digest.update(INSTALL.encode())
    return digest.hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Base:
    """A complete base in the cache."""

    folder: Path

    @property
    def archive(self) -> Path:
        return self.folder / "archive"

    def layers(self, *, init: str, packages: tuple[str, ...]) -> tuple[Path, ...]:
        """The layers of a host, topmost first; makes the one with these packages if need be."""
        packages = checked_packages(packages)
        name = hashlib.sha256(" ".join(packages).encode()).hexdigest()[:12]
        layer = self.folder / "packages" / name
        debian = self.folder / "debian"
        if not layer.is_dir():
            with _locked(self.folder / "packages.lock") as lock:
                if not layer.is_dir():
                    layer.parent.mkdir(exist_ok=True)
                    script = ["sh", "-euc", INSTALL, "install", *packages]
                    _build(
                        f"the layer with {', '.join(packages) or 'no package'}",
                        ["layer.sh", str(debian), str(layer), str(self.archive), *script],
                        self.folder.parent / f"layer-{name}.log",
                        lock,
                    )
        return (layer, *([self.folder / "tiny"] if init == "tiny" else []), debian)


def ensure_base(say: Callable[[str], None] = say_on_stderr) -> Base:
    """The base these recipes make, built now (a minute, once) unless it is cached; concurrent builders wait."""
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / recipe_key()
    if not folder.is_dir():
        with _locked(cache / "build.lock") as lock:
            if not folder.is_dir():
                _build_base(folder, say, lock)
                _remove_unused(cache, keep=folder)
    os.utime(folder)
    return Base(folder)


def _build_base(folder: Path, say: Callable[[str], None], lock: int) -> None:
    say(f"building the base of the fleet in {folder} (about a minute, once)")
    started = time.monotonic()
    partial = folder.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    _build("the base", ["build-base.sh", str(partial)], folder.parent / "build.log", lock)
    partial.rename(folder)
    say(f"built in {time.monotonic() - started:.0f} s")


def _build(what: str, command: list[str], log: Path, lock: int) -> None:
    """Run a building script, in namespaces of its own so that it leaves no process and no mount behind."""
    own = [
        "unshare",
        "--fork",
        "--kill-child=KILL",
        "--pid",
        "--mount",
        "--mount-proc",
        "--propagation",
        "private",
    ]
    environment = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LC_ALL": "C",
    }
    environment |= {
        name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")
    }
    with log.open("w", encoding="utf-8") as output:
        done = subprocess.run(
            [*own, str(SCRIPTS / command[0]), *command[1:]],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            check=False,
            # A build whose starter was killed goes on to its end; until then it keeps others out.
            pass_fds=[lock],
        )
    if done.returncode != 0:
        tail = log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:]
        raise BuildError(what, log, "\n".join(tail))
    log.unlink()


def _remove_unused(cache: Path, keep: Path) -> None:
    oldest = time.time() - UNUSED_AFTER_SECONDS
    for folder in cache.iterdir():
        if folder.is_dir() and folder != keep and folder.stat().st_mtime < oldest:
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[int]:
    with path.open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock.fileno()
