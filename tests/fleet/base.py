"""Builds once, and finds again, the read-only layers that the disks of all hosts share."""

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.fleet.archive import checked_packages
from tests.fleet.errors import BuildError, FleetError
from tests.fleet.families import (
    DOCKER_LAYERS,
    FAMILIES,
    OSQUERY,
    PYTHON,
    REGISTRY,
    RPM,
    SHELLS,
    Compose,
    Family,
    LayerRecipe,
    Release,
)

SCRIPTS = Path(__file__).parent / "scripts"
RECIPES = (
    "build-archive.sh",
    "build-base.sh",
    "build-layer.sh",
    "build-rpm-repositories.sh",
    "build-rpms.sh",
    "customize.sh",
    "docker/build-plugin.sh",
    "download.sh",
    "layer.sh",
    "inside/osqueryi",
    "inside/reboot",
    "inside/tinyinit",
    "install/debian.sh",
    "install/dnf.sh",
    "install/zypper.sh",
    "layers/compose-v1.sh",
    "layers/dnf.sh",
    "layers/docker.sh",
    "layers/osquery.sh",
    "layers/python.sh",
    "layers/registry.sh",
    "layers/rpm.sh",
    "layers/shells.sh",
    "layers/zypper.sh",
)
UNUSED_AFTER_SECONDS = 14 * 24 * 3600
"""A base that another checkout built and nobody started a fleet from for that long is removed."""


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
    digest.update(repr((FAMILIES, OSQUERY, PYTHON, SHELLS, DOCKER_LAYERS, REGISTRY)).encode())
    return digest.hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Base:
    """A complete base in the cache: of bookworm, and in a folder of its own of each other release."""

    folder: Path

    def of(self, release: Release) -> "Base":
        """The base of hosts of a release; built now unless it is cached."""
        if release == "bookworm":
            return self
        folder = self.folder / release
        self._once(folder, f"the base of {release}", ["build-base.sh"], [release])
        return Base(folder)

    def archive(self, family: Family) -> Path:
        """The folder of the version sets that hosts of the family update from."""
        if family == "debian":
            return self.folder / "archive"
        archive = self.folder / "rpm-archive"
        lower = _lowerdir([self._layer([RPM]), self._debian])
        self._once(archive, "the RPM repositories", ["build-rpm-repositories.sh", lower])
        return archive

    def layers(
        self,
        *,
        init: str,
        packages: tuple[str, ...],
        family: Family = "debian",
        osquery: bool = False,
        shells: bool = False,
        python: bool = False,
        compose: Compose | None = None,
    ) -> tuple[Path, ...]:
        """The layers of a host, topmost first; makes those that are missing."""
        recipes = [*FAMILIES[family].layers, *([OSQUERY] if osquery else [])]
        recipes += [SHELLS] if shells else []
        recipes += [PYTHON] if python else []
        recipes += DOCKER_LAYERS[compose] if compose else ()
        lower = [self._layer(recipes[: depth + 1]) for depth in range(len(recipes))][::-1]
        packages = checked_packages(packages, family)
        wish = " ".join([family, *(recipe.name for recipe in recipes), *packages])
        top = self.folder / "packages" / hashlib.sha256(wish.encode()).hexdigest()[:12]
        install = (SCRIPTS / "install" / f"{family}.sh").read_text(encoding="utf-8")
        self._once(
            top,
            f"the {family} layer with {', '.join(packages) or 'no package'}",
            ["layer.sh", _lowerdir([*lower, self._debian])],
            [str(self.archive(family)), "sh", "-euc", install, "install", *packages],
        )
        tiny = [self.folder / "tiny"] if init == "tiny" else []
        plugin = [self._compose_plugin()] if compose == "v2" else []
        return (top, *tiny, *plugin, *lower, self._debian)

    def registry(self) -> Path:
        """The layer with the registry's program, and busybox."""
        return self._layer([REGISTRY])

    def _compose_plugin(self) -> Path:
        plugin = self.folder / "layers" / "compose-v2"
        build = ["docker/build-plugin.sh", str(self._debian)]
        self._once(plugin, "the plugin of docker compose", build, [str(self.folder / "mirror")])
        return plugin

    @property
    def _debian(self) -> Path:
        return self.folder / "debian"

    def _layer(self, recipes: list[LayerRecipe]) -> Path:
        """The layer of the last of the recipes, over the layers of those before it."""
        names = [recipe.name for recipe in recipes]
        layer = self.folder / "layers" / "-".join(names)
        lower = [self._layer(recipes[:depth]) for depth in range(len(recipes) - 1, 0, -1)]
        self._once(
            layer,
            f"the layer {layer.name}",
            ["build-layer.sh", _lowerdir([*lower, self._debian])],
            [str(self.folder / "mirror"), names[-1], *recipes[-1].packages],
        )
        return layer

    def _once(
        self, out: Path, what: str, command: list[str], arguments: Sequence[str] = ()
    ) -> None:
        """Make ``out`` with a script, unless it is there; others who want it wait."""
        if out.is_dir():
            return
        with _locked(self.folder / f"{out.name}.lock") as lock:
            if not out.is_dir():
                out.parent.mkdir(exist_ok=True)
                log = self.folder.parent / f"layer-{out.name}.log"
                _build(what, [*command, str(out), *arguments], log, lock)


def _lowerdir(layers: list[Path]) -> str:
    """As an overlay mount has it, topmost first."""
    return ":".join(str(layer) for layer in layers)


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
    _build(
        "the base", ["build-base.sh", str(folder), "bookworm"], folder.parent / "build.log", lock
    )
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
