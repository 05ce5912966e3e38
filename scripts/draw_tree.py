"""Draws the tree of folders in docs/architecture.md and of files in docs/tree.md; `--check` finds drift.

What is said of each is the first sentence of its own docstring.
"""

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PORTIONS = ("server/tendhost/server", "client/tendhost/client")
PAGE, TREE = ROOT / "docs" / "architecture.md", ROOT / "docs" / "tree.md"
BEGIN, END = "<!-- the tree: made by `make protos` -->\n", "<!-- the end of the tree -->\n"

_HEAD = """\
# Where things are, file by file

Made from the first line of each module by `make protos`; the checks fail when it differs.
[architecture.md](architecture.md) says how it works together.

"""


def first_line(file: Path) -> str:
    """The first sentence or line of a module's docstring."""
    words = ast.get_docstring(ast.parse(file.read_text())) or ""
    return " ".join(words.split("\n\n")[0].split())


def drawn(folder: Path, *, files: bool, depth: int = 0) -> list[tuple[str, str]]:
    """A name and what is said of it for the folder, and for what is in it."""
    name = folder.name if depth else folder.relative_to(ROOT).as_posix()
    found = [("  " * depth + f"{name}/", first_line(folder / "__init__.py"))]
    if files:
        for file in sorted(folder.glob("*.py")):
            if file.name != "__init__.py" and "_pb2" not in file.name:
                found.append(("  " * (depth + 1) + file.name, first_line(file)))
    for inner in sorted(folder.iterdir()):
        if (inner / "__init__.py").exists():
            found += drawn(inner, files=files, depth=depth + 1)
    return found


def block(*, files: bool) -> str:
    """The tree of all portions, as a block of code."""
    lines = [line for portion in PORTIONS for line in drawn(ROOT / portion, files=files)]
    width = max(len(name) for name, _ in lines) + 2
    return "```\n" + "\n".join(f"{name:<{width}}{words}" for name, words in lines) + "\n```\n"


def pages() -> dict[Path, str]:
    """The text of each page."""
    page = PAGE.read_text()
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return {
        PAGE: before + BEGIN + block(files=False) + END + after,
        TREE: _HEAD + block(files=True),
    }


def main() -> int:
    """Write the pages, or check them."""
    stale = [
        path for path, text in pages().items() if not path.exists() or path.read_text() != text
    ]
    if "--check" in sys.argv:
        for path in stale:
            print(f"{path.relative_to(ROOT)} is not the tree: run `make protos`", file=sys.stderr)
        return 1 if stale else 0
    for path in stale:
        path.write_text(pages()[path])
    return 0


if __name__ == "__main__":
    sys.exit(main())
