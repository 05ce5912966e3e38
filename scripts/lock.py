"""Writes deploy/constraints.txt and deploy/build-constraints.txt: every package that is installed, with its hashes.

`make lock` resolves what pyproject.toml asks for, for every Python and system that tendhost supports. Pins that still
fit are kept; `make lock UPGRADE=1` takes the newest. The files name no index, so an installation uses its own.

`--check` needs no network: it fails if pyproject.toml asks for something else than when the files were made.
"""

import hashlib
import re
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
DEVELOPMENT = frozenset({"dev", "fuzz", "mutants", "release", "test"})
"""Extras for developers. All others are for users, and are locked."""
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class LockFile:
    """A file of pins, and the requirements of which it was made."""

    path: str
    requirements: tuple[str, ...]
    """In any order, as pyproject.toml has them."""

    def heading(self) -> str:
        """The first lines: they name the requirements by a digest, which an older file has another one of."""
        digest = hashlib.sha256("\n".join(sorted(self.requirements)).encode()).hexdigest()
        return f"# Made by `make lock` from pyproject.toml.\n# Requirements: sha256:{digest}\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """One package of a lock file."""

    requirement: Requirement
    hashes: int
    """How many files of this version may be installed."""


def lock_files(project: Mapping[str, Any]) -> tuple[LockFile, ...]:
    """The lock files of a pyproject.toml: what users install, and what builds it."""
    extras = project["project"]["optional-dependencies"]
    runtime = [*project["project"]["dependencies"]]
    for name in sorted(extras.keys() - DEVELOPMENT):
        runtime += extras[name]
    build = project["build-system"]["requires"]
    return (
        LockFile(path="deploy/constraints.txt", requirements=tuple(runtime)),
        LockFile(path="deploy/build-constraints.txt", requirements=tuple(build)),
    )


def pins(text: str) -> tuple[Pin, ...]:
    """The packages of a lock file. Raises ValueError for a line that pins nothing."""
    found = []
    for line in re.sub(r"\\\n", " ", text).splitlines():
        entry = line.partition(" #")[0].strip()
        if not entry or entry.startswith("#"):
            continue
        head, *hashes = re.split(r"\s+(?=--hash=)", entry)
        requirement = Requirement(head)
        exact = [bound.operator for bound in requirement.specifier] == ["=="]
        if not exact or requirement.url or not all(HASH.fullmatch(each) for each in hashes):
            raise ValueError(f"no pin with sha256 hashes: {entry[:80]}")
        found.append(Pin(requirement=requirement, hashes=len(hashes)))
    return tuple(found)


def problems(lock: LockFile, text: str) -> list[str]:
    """What is wrong with a lock file, a sentence for each."""
    try:
        found = {canonicalize_name(pin.requirement.name): pin for pin in pins(text)}
    except ValueError as error:
        return [f"{lock.path}: {error}"]
    told = []
    if not text.startswith(lock.heading()):
        told.append(f"{lock.path}: pyproject.toml asks for something else now; run `make lock`")
    if "://" in text or re.search(r"^\s*-(?!-hash=)", text, flags=re.MULTILINE):
        told.append(f"{lock.path}: names an address or has options of pip; run `make lock`")
    for name, pin in found.items():
        told += [] if pin.hashes else [f"{lock.path}: {name} has no hash"]
    for each in map(Requirement, lock.requirements):
        met_by = found.get(canonicalize_name(each.name))
        version = "" if met_by is None else str(met_by.requirement.specifier).removeprefix("==")
        if not version or not each.specifier.contains(version, prereleases=True):
            told.append(f"{lock.path}: {each} is not met by {version or 'any pin'}")
    return told


def write(lock: LockFile, *, upgrade: bool) -> None:
    """Resolve the requirements with uv, and write the file."""
    path = ROOT / lock.path
    path.touch()
    command = [
        *(str(Path(sysconfig.get_path("scripts"), "uv")), "pip", "compile", "-", "--quiet"),
        # One file for every interpreter and system, with markers where they differ.
        *("--universal", "--python-version", "3.11", "--generate-hashes"),
        *("--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links"),
        *("--output-file", str(path)),
        *(("--upgrade",) if upgrade else ()),
    ]
    subprocess.run(command, input="\n".join(lock.requirements), text=True, check=True)
    path.write_text(lock.heading() + path.read_text(encoding="utf-8"), encoding="utf-8")


def main(arguments: Sequence[str]) -> int:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    told = []
    for lock in lock_files(project):
        path = ROOT / lock.path
        if "--check" not in arguments:
            write(lock, upgrade="--upgrade" in arguments)
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        told += problems(lock, text)
    print(*told, sep="\n", end="\n" if told else "", file=sys.stderr)
    return 1 if told else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
