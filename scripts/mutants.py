"""Changes one small thing in domain or engine at a time, and says which changes no unit test notices.

Cosmic Ray says what can be changed; which changes are tried is drawn at random. Each is made in a copy of the server
and tested with the unit tests nearest to it, and, where these notice nothing, with all of its layer. What
survives is printed for somebody to look at: a test is missing, or the change makes no difference.
"""

import argparse
import difflib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import MutationVisitor
from cosmic_ray.plugins import get_operator, operator_names

ROOT = Path(__file__).resolve().parent.parent
SERVER = Path("server/tendhost/server")
PATHS = (str(SERVER / "domain"), str(SERVER / "engine"))
ANNOTATIONS = {"annassign", "tfpdef", "param", "funcdef", "typedargslist"}
"""What `X | None` stands in where it is a type; no test is to notice a change of one."""
TIMEOUT_SECONDS = 300.0
"""Of one run of tests. Those of the engine take three minutes; a change may make a loop endless."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One change of one file."""

    file: Path
    line: int
    operator: str
    occurrence: int

    def code(self) -> str:
        """The file's text with the change."""
        source = (ROOT / self.file).read_text(encoding="utf-8")
        mutated = MutationVisitor.mutate_code(
            source, get_operator(self.operator)(), self.occurrence
        )
        assert isinstance(mutated, str)
        return mutated

    def diff(self) -> str:
        """The change as somebody reads it."""
        source = (ROOT / self.file).read_text(encoding="utf-8")
        lines = (source.splitlines(), self.code().splitlines())
        return "\n".join(list(difflib.unified_diff(*lines, lineterm="", n=2))[2:])


def operators() -> list[str]:
    """The kinds of change, less those that break every module or none."""
    unwanted = ("RemoveDecorator", "VariableReplacer", "VariableInserter", "NoOp")
    names: list[str] = sorted(operator_names())
    return [name for name in names if not name.endswith(unwanted)]


def mutants_of(file: Path) -> Iterator[list[Mutant]]:
    """For each place in the file that can be changed, the changes."""
    nodes = list(ast_nodes(get_ast((ROOT / file).read_text(encoding="utf-8"))))
    places: dict[tuple[int, int], list[Mutant]] = defaultdict(list)
    for name in operators():
        operator = get_operator(name)()
        found = ((n, start) for n in nodes for start, _ in operator.mutation_positions(n))
        for occurrence, (node, start) in enumerate(found):
            if not _is_irrelevant(node, name):
                mutant = Mutant(file=file, line=start[0], operator=name, occurrence=occurrence)
                places[start].append(mutant)
    yield from places.values()


def _is_irrelevant(node: object, operator: str) -> bool:
    """Whether no test is to notice a change of the node: it stands in a type, or in a decorator (`slots=True`)."""
    while (node := getattr(node, "parent", None)) is not None:
        kind = getattr(node, "type", "")
        if kind == "decorator" or ("BitOr" in operator and kind in ANNOTATIONS):
            return True
        if kind.endswith("_stmt"):
            return False
    return False


def tests_near(file: Path) -> list[str]:
    """The unit tests in the folder that mirrors the file's, and those that import the file's module."""
    module = ".".join(file.with_suffix("").parts[1:])
    below = file.relative_to(SERVER).parent
    folder = ROOT / "tests/unit" / below
    near = set(folder.glob("test_*.py")) if len(below.parts) > 1 else set()
    layer = ROOT / "tests/unit" / below.parts[0]
    near |= {test for test in layer.rglob("test_*.py") if module in test.read_text("utf-8")}
    # Short files first: they are quick to notice, and the first failure ends the run.
    return [str(test.relative_to(ROOT)) for test in sorted(near, key=lambda t: t.stat().st_size)]


def unnoticed(server: Path, tests: list[str]) -> bool:
    """Whether these tests pass with this copy of the server."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
    # Before the installed one on the path of the namespace package `tendhost`.
    environment = dict(os.environ, PYTHONPATH=str(server), PYTHONDONTWRITEBYTECODE="1")
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def survives(mutant: Mutant, server: Path) -> bool:
    """Whether no test notices the change, made in this copy of the server for as long as that takes."""
    changed = server / mutant.file.relative_to("server")
    changed.write_text(mutant.code(), encoding="utf-8")
    try:
        near = tests_near(mutant.file)
        layer = f"tests/unit/{mutant.file.relative_to(SERVER).parts[0]}"
        return (not near or unnoticed(server, near)) and unnoticed(server, [layer])
    finally:
        shutil.copy(ROOT / mutant.file, changed)


def drawn(files: list[Path], number: int, chance: random.Random) -> Iterator[Mutant]:
    """So many changes of places drawn from these files, the longer ones more often; one of each place for 0."""
    if not number:
        for file in files:
            yield from (chance.choice(place) for place in mutants_of(file))
        return
    sizes = [(ROOT / file).stat().st_size for file in files]
    tried: set[Mutant] = set()
    for file in chance.choices(files, weights=sizes, k=number):
        places = list(mutants_of(file))
        mutant = chance.choice(chance.choice(places)) if places else None
        if mutant is not None and mutant not in tried:
            tried.add(mutant)
            yield mutant


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("paths", nargs="*", default=PATHS, help="files and folders to change")
    parser.add_argument("--mutants", type=int, default=20, help="how many; 0 for all there are")
    parser.add_argument("--seed", type=int, default=random.randrange(10_000))
    parser.add_argument("--minutes", type=float, default=60, help="begin none after so long")
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    tops = [ROOT / path for path in arguments.paths]
    found = [f for top in tops for f in (sorted(top.rglob("*.py")) if top.is_dir() else [top])]
    files = [file.relative_to(ROOT) for file in found]
    print(f"seed {arguments.seed}", flush=True)
    until = time.monotonic() + arguments.minutes * 60
    tried, survivors = 0, 0
    with tempfile.TemporaryDirectory() as folder:
        server = Path(folder) / "server"
        shutil.copytree(ROOT / "server", server)
        for mutant in drawn(files, arguments.mutants, chance):
            if time.monotonic() > until:
                break
            tried += 1
            if survives(mutant, server):
                survivors += 1
                where = f"{mutant.file}:{mutant.line}"
                print(f"SURVIVED {where} {mutant.operator}\n{mutant.diff()}", flush=True)
            else:
                print(f"noticed  {mutant.file}:{mutant.line}", flush=True)
    print(f"{tried} changes, {tried - survivors} noticed, {survivors} to look at")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
