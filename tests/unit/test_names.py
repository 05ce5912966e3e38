"""Names: a class is found by its name alone, and only the engine as a whole takes the whole store."""

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

SERVER = Path(__file__).resolve().parents[2] / "server" / "tendhost" / "server"

WHOLE_STORE = {"engine/engine.py", "store/opening.py", "store/protocol.py"}
"""Modules that name Store: where it is defined and opened, and the engine, which hands it to each part of itself."""


def modules(root: Path) -> Iterator[tuple[str, ast.Module]]:
    """Each module below `root`, by its path from there."""
    for file in sorted(root.rglob("*.py")):
        yield file.relative_to(root).as_posix(), ast.parse(file.read_text())


def classes_by_name(root: Path) -> Mapping[str, Sequence[str]]:
    """The modules that define a class of each name, private ones included."""
    found: dict[str, list[str]] = defaultdict(list)
    for path, tree in modules(root):
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                found[node.name].append(path)
    return found


def defined_twice(root: Path) -> Mapping[str, Sequence[str]]:
    # `_Facts` beside `Facts` is as hard to find as a second `Facts`.
    found: dict[str, list[str]] = defaultdict(list)
    for name, paths in classes_by_name(root).items():
        found[name.lstrip("_")] += paths
    return {name: paths for name, paths in found.items() if len(paths) > 1}


def test_class_name__is_defined_once() -> None:
    assert defined_twice(SERVER) == {}


def test_class_name__second_definition_is_found(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text("class Slot: ...\nclass Other: ...\n")
    (tmp_path / "two.py").write_text("def make():\n    class _Slot: ...\n")
    assert defined_twice(tmp_path) == {"Slot": ["one.py", "two.py"]}


def test_whole_store__is_named_by_the_engine_alone() -> None:
    named = {
        path
        for path, tree in modules(SERVER)
        if any(isinstance(node, ast.Name) and node.id == "Store" for node in ast.walk(tree))
    }
    assert named <= WHOLE_STORE
