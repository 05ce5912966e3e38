"""All that the command prints passes two modules, which leave nothing in it that could steer a terminal."""

import ast
from pathlib import Path

import pytest

import tendhost.client.cli
from tendhost.client.cli.session import print_text

CLI = Path(tendhost.client.cli.__file__).parent
DOORS = {"session.py", "console.py"}
FILES = sorted(path for path in CLI.rglob("*.py") if path.name not in DOORS)
_STREAMS = {"stdout", "stderr", "__stdout__", "__stderr__"}


def passed_by(tree: ast.AST) -> list[str]:
    """What in this module prints, or makes a text that rich prints as it is."""
    found: list[str] = []
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="print" | "Text" as name)):
                found.append(name)
            case ast.ImportFrom(module="rich.text" as name):
                found.append(name)
            case ast.Attribute(value=ast.Name(id="typer" | "click"), attr="echo" | "secho" as name):
                found.append(name)
            case ast.Attribute(attr="write" | "buffer", value=ast.Attribute(attr=stream)):
                found += [stream] if stream in _STREAMS else []
            case ast.Call(
                func=ast.Attribute(attr="print" | "out" as name, value=ast.Name(id="console"))
            ):
                found.append(f"console.{name}")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(CLI)))
def test_module_of_the_command__prints_through_the_doors(path: Path) -> None:
    assert passed_by(ast.parse(path.read_text())) == []


@pytest.mark.parametrize(
    "code",
    [
        "print(host.name)",
        "sys.stdout.write(words)",
        "sys.stdout.buffer.write(data)",
        "typer.echo(words)",
        "console.print(words)",
        "say(Text(words))",
    ],
)
def test_ways_past_the_doors__are_seen(code: str) -> None:
    assert passed_by(ast.parse(code))


def test_text__keeps_its_lines_and_tabs_and_nothing_that_steers(capsys) -> None:
    print_text("one\ttwo\nthree\x1b[2J\x9b")
    print_text("\x07four\n")
    assert capsys.readouterr().out == "one\ttwo\nthree�[2J��four\n"
