"""The words that users read: none of those that docs/glossary.md retires, and help that begins with a verb."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer.main

from tendhost.client.cli.app import app
from tendhost.client.cli.field_options import OPTIONS

ROOT = Path(__file__).resolve().parent.parent.parent
GLOSSARY = ROOT / "docs" / "glossary.md"
COMMAND = ROOT / "client" / "tendhost" / "client" / "cli"
SERVER = ROOT / "server" / "tendhost" / "server"
GENERATED = {"tree.md"}
"""Made of the first lines of modules, which only developers read."""
QUOTED = re.compile("(?:Failed|Unable) to fetch")
"""What apt prints."""
VERBS = {
    "Acknowledge",
    "Add",
    "Approve",
    "Cancel",
    "Change",
    "Check",
    "Create",
    "Delete",
    "Explain",
    "Inspect",
    "Keep",
    "List",
    "Manage",
    "Pause",
    "Plan",
    "Print",
    "Query",
    "Reboot",
    "Remove",
    "Resume",
    "Retry",
    "Run",
    "Set",
    "Show",
    "Skip",
    "Start",
    "Update",
    "Watch",
}


class Text(NamedTuple):
    """A text that users read, and where it is."""

    where: str
    text: str


def section(title: str) -> str:
    """A section of the glossary; the first one has no title."""
    parts = re.split(r"^## (.*)$", GLOSSARY.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(["", *parts[1::2]], parts[::2], strict=True))[title]


def rows(table: str) -> list[list[str]]:
    """The cells of a table's rows, without its head."""
    lines = [line for line in table.splitlines() if line.startswith("| ")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def retired() -> dict[str, str]:
    """Each retired word or phrase with what to say instead."""
    found = rows(section("Retired words"))
    return {phrase: say for phrases, say in found for phrase in phrases.split(", ")}


RETIRED = retired()
PATTERN = re.compile(
    r"(?<![\w-])(" + "|".join(re.escape(p).replace(r"\ ", r"\s+") for p in RETIRED) + r")(?![\w-])",
    re.IGNORECASE,
)


def blank(match: re.Match[str]) -> str:
    """As many lines and columns, without a word."""
    return re.sub(r"[^\n]", " ", match[0])


def findings(texts: Iterator[Text]) -> list[str]:
    """Each retired word in the texts, with what to say instead."""
    found = []
    for where, text in texts:
        # Names in code, as `held_up_after`, are not prose.
        prose = re.sub(r"`[^`\s]*`", blank, text)
        for match in PATTERN.finditer(prose):
            line = text.count("\n", 0, match.start()) + 1
            word = " ".join(match[0].split())
            found.append(f"{where}+{line}: {word!r}; say: {RETIRED[word.lower()]}")
    return found


def pages() -> Iterator[Text]:
    """README, changelog, guides and docs, the glossary without its list of retired words."""
    for path in (*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/*.md"))):
        if path.name not in GENERATED:
            text = section("") if path == GLOSSARY else path.read_text(encoding="utf-8")
            text = re.sub(r"<!-- the tree.*?the end of the tree -->", blank, text, flags=re.DOTALL)
            text = re.sub(r"^ *```python.*?^ *```", blank, text, flags=re.DOTALL | re.MULTILINE)
            yield Text(str(path.relative_to(ROOT)), text)


def commands(command: Any, name: str = "tendhost") -> Iterator[tuple[str, Any]]:
    """The command and all its subcommands, as typer makes them: some versions bring a click of their own."""
    yield name, command
    for sub, below in getattr(command, "commands", {}).items():
        yield from commands(below, f"{name} {sub}")


ALL_COMMANDS = tuple(commands(typer.main.get_command(app)))


def command_help() -> Iterator[Text]:
    """The help of every command, argument and option."""
    for name, command in ALL_COMMANDS:
        yield Text(name, command.help or "")
        for parameter in command.params:
            yield Text(f"{name} {parameter.name}", getattr(parameter, "help", None) or "")


def literals(path: Path) -> Iterator[Text]:
    """The texts in a module that are no docstrings: whatever has a blank in it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str(text)) if " " in text and id(node) not in docstrings:
                yield Text(f"{path.relative_to(ROOT)}:{node.lineno}", text)


def command_messages() -> Iterator[Text]:
    """What the command prints."""
    for path in sorted(COMMAND.rglob("*.py")):
        yield from literals(path)


def server_messages() -> Iterator[Text]:
    """Messages of errors, details of steps, log lines, and the help of `tendhostd`."""
    for path in sorted(SERVER.rglob("*.py")):
        for where, text in literals(path):
            # Scripts for hosts have many lines, and parsers quote what other programs print.
            if "\n" not in text.strip():
                yield Text(where, QUOTED.sub(blank, text))


def contract() -> Iterator[Text]:
    """Comments of the contract, and the messages of its rules."""
    for path in sorted(ROOT.glob("protos/tendhost/v1/*.proto")):
        lines = path.read_text(encoding="utf-8").splitlines()
        prose = [line if re.match(r" *(//|message: )", line) else "" for line in lines]
        yield Text(path.name, "\n".join(line.replace("//", "  ") for line in prose))


@pytest.mark.parametrize(
    "texts", [pages, command_help, command_messages, server_messages, contract]
)
def test_retired_words__stand_nowhere_that_users_read(texts):
    found = findings(texts())
    assert not found, "\n".join(found)


def test_retired_words__are_found_in_any_case_and_across_lines():
    text = "It is\nTaken  back by\nitself, as `made_for_whoever` says."
    assert findings(iter([Text("page", text)])) == [
        "page+2: 'Taken back'; say: roll back",
        "page+2: 'by itself'; say: automatically; alone",
    ]


def test_retired_words__are_no_part_of_other_words():
    assert not findings(iter([Text("page", "a takeback, wishing, prefetch, re-mend")]))


def test_glossary__is_alphabetical():
    terms = [cells[0].strip("*").lower() for cells in rows(section(""))]
    assert terms == sorted(terms)
    phrases = [cells[0].lower() for cells in rows(section("Retired words"))]
    assert phrases == sorted(phrases)


def anchors(page: str) -> set[str]:
    """The names that GitHub gives a page's headings."""
    titles = re.findall(r"^#+ (.*)$", page, flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_pages__link_to_files_and_sections_that_exist():
    missing = []
    for page in (*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/*.md"))):
        for link in re.findall(r"\]\(([^):]+)\)", page.read_text(encoding="utf-8")):
            name, _, anchor = link.partition("#")
            target = page.parent / name if name else page
            known = target.exists() and (not anchor or anchor in anchors(target.read_text("utf-8")))
            missing += [] if known else [f"{page.name}: {link}"]
    assert not missing


def test_pages__name_modules_that_exist():
    files = {
        f"/{path.relative_to(ROOT)}" for path in ROOT.rglob("*.py") if ".venv" not in path.parts
    }
    missing = []
    for page in (*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/*.md"))):
        for name in re.findall(r"`([a-z_]+(?:/[a-z_]+)*\.py)`", page.read_text(encoding="utf-8")):
            if not any(file.endswith(f"/{name}") for file in files):
                missing.append(f"{page.name}: {name}")
    assert not missing


@pytest.mark.parametrize(("name", "command"), ALL_COMMANDS, ids=[name for name, _ in ALL_COMMANDS])
def test_help__begins_with_a_verb(name, command):
    assert command.help, f"{name} has no help"
    assert command.help.split()[0] in VERBS


def test_errors__name_options_that_exist():
    options = {
        option for _, command in ALL_COMMANDS for each in command.params for option in each.opts
    }
    assert set(OPTIONS.values()) <= options
