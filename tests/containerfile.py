"""Reads Containerfiles, as far as tendhost's goes: stages, their instructions, and what .dockerignore lets in.

The reference is Docker's "Dockerfile reference"; what is not used there (here-documents, other escape characters,
ONBUILD …) is refused, so that nothing is read wrongly.
"""

import fnmatch
import json
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

KNOWN = frozenset(
    ["FROM", "RUN", "COPY", "ENV", "WORKDIR", "USER", "VOLUME", "STOPSIGNAL", "ENTRYPOINT"]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """One instruction, with continued lines joined."""

    keyword: str
    flags: dict[str, str]
    """`--from=build` and the like."""
    text: str

    @property
    def words(self) -> list[str]:
        """The words of the text: those of a JSON array, or as a shell splits them."""
        if self.text.startswith("["):
            return [str(word) for word in json.loads(self.text)]
        return shlex.split(self.text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What follows a FROM."""

    base: str
    name: str
    instructions: tuple[Instruction, ...]

    def all_of(self, keyword: str) -> list[Instruction]:
        return [each for each in self.instructions if each.keyword == keyword]

    def environment(self) -> dict[str, str]:
        """What the ENV instructions set."""
        pairs = (word.partition("=") for each in self.all_of("ENV") for word in each.words)
        return {name: value for name, _, value in pairs}


def read_stages(text: str) -> tuple[Stage, ...]:
    """The stages of a Containerfile. Raises ValueError for what this reader does not know."""
    stages: list[Stage] = []
    gathered: list[Instruction] = []
    for instruction in [*_instructions(text), Instruction(keyword="FROM", flags={}, text="")]:
        if instruction.keyword != "FROM":
            gathered.append(instruction)
            continue
        if stages:
            last = stages.pop()
            stages.append(Stage(base=last.base, name=last.name, instructions=tuple(gathered)))
        elif gathered:
            raise ValueError(f"{gathered[0].keyword} comes before FROM")
        gathered = []
        if instruction.text:
            base, _, name = re.split(r"(?i)( as )|$", instruction.text, maxsplit=1)
            stages.append(Stage(base=base.strip(), name=name.strip(), instructions=()))
    return tuple(stages)


def _instructions(text: str) -> Iterator[Instruction]:
    lines = [line for line in text.splitlines() if not re.match(r"\s*(#|$)", line)]
    for entry in re.sub(r"\\\n", "", "\n".join(lines)).splitlines():
        keyword, _, rest = entry.strip().partition(" ")
        flags = {}
        while found := re.match(r"\s*--([a-z]+)=(\S+)\s+", rest):
            flags[found[1]] = found[2]
            rest = rest[found.end() :]
        rest = rest.strip()
        if keyword not in KNOWN or "<<" in rest or (keyword == "COPY" and flags.keys() - {"from"}):
            raise ValueError(f"not known here: {entry[:60]}")
        yield Instruction(keyword=keyword, flags=flags, text=rest)


def in_context(ignore: str, paths: Sequence[str]) -> list[str]:
    """Those of the paths that a .dockerignore lets in: the last line that matches a path or its folder decides."""
    return [path for path in paths if not _ignored(ignore, path)]


def _ignored(ignore: str, path: str) -> bool:
    ignored = False
    for line in ignore.splitlines():
        pattern = line.strip()
        if not pattern or pattern.startswith("#"):
            continue
        wanted = pattern.startswith("!")
        pattern = pattern.removeprefix("!")
        if any(_matches(pattern, str(part)) for part in (PurePosixPath(path), *_parents(path))):
            ignored = not wanted
    return ignored


def _parents(path: str) -> list[PurePosixPath]:
    return list(PurePosixPath(path).parents)[:-1]


def _matches(pattern: str, path: str) -> bool:
    """Docker's patterns: those of a file name do not cross a slash, and a leading `**/` is any depth."""
    if pattern.startswith("**/"):
        return fnmatch.fnmatchcase(Path(path).name, pattern.removeprefix("**/"))
    return pattern.count("/") == path.count("/") and fnmatch.fnmatchcase(path, pattern)
