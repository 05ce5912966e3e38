"""CONTRIBUTING.md, AGENTS.md and the recipes: the files, targets, tests and names that they mention are there."""

import importlib.util
import re
from collections.abc import Iterator, Set
from functools import cache
from pathlib import Path

import pytest

from tests.unit.test_words import Text, anchors, findings

ROOT = Path(__file__).resolve().parent.parent.parent
GUIDES = (ROOT / "CONTRIBUTING.md", ROOT / "AGENTS.md", ROOT / "docs" / "recipes.md")
LONGEST_AGENTS = 80
"""Lines of AGENTS.md: agents read it before each task."""
TOP = {path.name for path in ROOT.iterdir()}
PLACEHOLDER = re.compile(r"[A-Z]{4,}(?![A-Za-z_.]*\.md)|\*")
"""In a path that readers complete: `recorded/SYSTEM/`, `NOUN.py`."""
BY_NAME = re.compile(r"[\w.-]+\.(?:py|proto|json|md|toml|sh)")
TEST = re.compile(r"test_\w+")
IDENTIFIER = re.compile(r"_[A-Z_]+|[A-Z]{4,}(?:_[A-Z]+)*|_[a-z_]+|(?:[A-Z][a-z]+){2,}")
EXAMPLES = {
    *("ApkLogParser", "parse_pending", "parse_planned", "uptimes"),
    *("BACKUP", "BackupFailed", "GetUptime", "GetUptimeRequest", "GetUptimeResponse", "UPTIME"),
    *("UptimeUnknown", "UPTIME_UNKNOWN"),
    *(
        "NAME",
        "NAME_UNSPECIFIED",
        "_UNSPECIFIED",
        "NOUN",
        "SYSTEM",
        "RUNS",
        "SEED",
        "SUITES",
        "MUTANTS",
        "WORKERS",
    ),
    *("COVERAGE", "PYTEST_ARGS", "BENCH", "MODULE", "URL"),
}
"""Names in the examples and placeholders, and variables of the Makefile."""

CODE = "".join(re.findall(r"^ *```python\n(.*?)^ *```", GUIDES[2].read_text("utf-8"), re.M | re.S))
"""All code of the recipes."""

guides = pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.name)


def code(guide: Path) -> Iterator[str]:
    """Everything that is set as code in the text of a page, and the lines of its commands."""
    text = guide.read_text(encoding="utf-8")
    for block in re.findall(r"^```\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE):
        for line in block.splitlines():
            yield from line.partition("#")[0].split()
    prose = re.sub(r"^ *```.*?^ *```$", "", text, flags=re.DOTALL | re.MULTILINE)
    for span in re.findall(r"`([^`]+)`", prose):
        yield from re.split(r"[\s(),:]+", span)


def paths(guide: Path) -> set[str]:
    """What is set as code and begins with something in the root folder, or is named as a file."""
    words = {word.strip(".,;") if word.endswith((",", ";")) else word for word in code(guide)}
    return {word for word in words if "/" in word and word.split("/")[0] in TOP - {".venv"}}


@cache
def words() -> Set[str]:
    """Every word in the code, this file aside."""
    folders = ("server/**/*.py", "client/**/*.py", "tests/**/*.py", "protos/tendhost/**/*.proto")
    files = {path for folder in folders for path in ROOT.glob(folder)} - {Path(__file__)}
    return {word for path in files for word in re.findall(r"\w+", path.read_text("utf-8"))}


@guides
def test_guide__names_paths_that_exist(guide: Path) -> None:
    found = paths(guide)
    assert len(found) > 5
    missing = set()
    for path in found:
        # Of a path to complete the folder above the first open name has to be there.
        known = path.split("/")
        while any(PLACEHOLDER.search(part) for part in known):
            known.pop()
        if not (ROOT / "/".join(known)).exists():
            missing.add(path)
    assert not missing


@guides
def test_guide__names_files_that_exist(guide: Path) -> None:
    files = {path.name for path in ROOT.rglob("*") if not {".venv", ".git"} & {*path.parts}}
    named = {word for word in code(guide) if BY_NAME.fullmatch(word)}
    assert {name for name in named if not PLACEHOLDER.search(name)} <= files


@guides
def test_guide__names_make_targets_that_exist(guide: Path) -> None:
    rules = re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    text = guide.read_text(encoding="utf-8")
    called = re.findall(
        r"(?:`|^\s*)(?:\w+=\S+ )*make ((?:[a-z-]+(?= |`|\n) ?)+)", text, re.MULTILINE
    )
    targets = {target for words in called for target in words.split()}
    assert {"lint", "types"} <= targets <= set(rules)


@guides
def test_guide__names_tests_that_exist(guide: Path) -> None:
    sources = "\n".join(path.read_text("utf-8") for path in ROOT.glob("tests/**/test_*.py"))
    defined = set(re.findall(r"^(?:async )?def (test_\w+)", sources, flags=re.MULTILINE))
    named = {word for word in code(guide) if TEST.fullmatch(word)}
    examples = {"test_retry__goes_back_to_the_job_that_was_running"}
    assert named - examples <= defined


@guides
def test_guide__links_to_pages_and_sections_that_exist(guide: Path) -> None:
    missing = []
    for link in re.findall(r"\]\(([^):]+)\)", guide.read_text(encoding="utf-8")):
        name, _, anchor = link.partition("#")
        target = guide.parent / name if name else guide
        known = target.exists() and (not anchor or anchor in anchors(target.read_text("utf-8")))
        missing += [] if known else [link]
    assert not missing


@guides
def test_guide__has_no_retired_words(guide: Path) -> None:
    text = re.sub(r"^ *```.*?^ *```$", "", guide.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    assert not findings(iter([Text(guide.name, text)]))


@guides
def test_guide__names_identifiers_that_exist(guide: Path) -> None:
    """Tables, classes and functions to use or extend: the guides follow when they are renamed."""
    spans = (span for span in code(guide) if not BY_NAME.fullmatch(span))
    named = {word for span in spans for word in span.split(".") if IDENTIFIER.fullmatch(word)}
    assert len(named) > 1
    assert named - EXAMPLES <= words()


def test_recipes__have_code_that_imports_and_uses_what_exists() -> None:
    text = re.sub(r'""".*?"""|"[^"\n]*"|#.*', "", CODE, flags=re.DOTALL)
    imported = re.findall(r"^ *from ([\w.]+) import (?:\((.*?)\)|([^\n]*))", text, re.M | re.S)
    names = {name for _, *both in imported for name in re.findall(r"\w+", " ".join(both))}
    attributes = set(re.findall(r"\.(\w+)", re.sub(r"^ *from .*", "", text, flags=re.M)))
    assert {"framed_script", "status"} <= names | attributes
    made = {
        name
        for found in re.findall(r"(?:def|class) (\w+)|^ *(\w+): ", text, re.M)
        for name in found
    }
    assert (names | attributes) - made - EXAMPLES <= words()
    for module, *_ in imported:
        if module.startswith("tendhost.") and not re.search("NOUN|apk", module):
            assert importlib.util.find_spec(module), module


def test_agents__is_short() -> None:
    assert len(GUIDES[1].read_text(encoding="utf-8").splitlines()) <= LONGEST_AGENTS
