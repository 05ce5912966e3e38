"""List what each role may call in docs/access.md from the table in the code; `--check` finds drift."""

import sys
from pathlib import Path

from tendhost.server.domain.access.roles import CallPermission, Role, permitted
from tendhost.server.rpc.permissions import PERMISSIONS, REACH, UNSCOPED, Reach

TARGET = Path(__file__).resolve().parent.parent / "docs" / "access.md"
BEGIN, END = "<!-- begin of the generated table -->\n", "<!-- end of the generated table -->\n"


def listing() -> str:
    """The table of every method and every role, and why some are refused to bound callers."""
    roles = tuple(Role)
    lines = [
        f"| method | {' | '.join(roles)} | with a bound token |",
        f"| --- | {' | '.join('---' for _ in roles)} | --- |",
    ]
    for method, needs in PERMISSIONS.items():
        if needs is CallPermission.NOTHING:
            cells = ["everybody"] * (len(roles) + 1)
        else:
            cells = ["yes" if permitted(needs, {role}) else "" for role in roles]
            cells.append(_bound(method))
        lines.append(f"| {_short(method)} | {' | '.join(cells)} |")
    lines += ["", "| refused with a bound token | why |", "| --- | --- |"]
    refused: dict[str, list[str]] = {}
    for method, why in UNSCOPED.items():
        refused.setdefault(why, []).append(_short(method))
    lines += [f"| {', '.join(methods)} | {why} |" for why, methods in refused.items()]
    return "\n".join(lines) + "\n"


def _short(method: str) -> str:
    return method.removeprefix("/").removeprefix("tendhost.v1.").replace("/", ".")


def _bound(method: str) -> str:
    """Whether a caller who is bound to hosts may call the method, if a role permits it."""
    if method not in REACH:
        return ""
    return "yes" if REACH[method] is Reach.NO_HOST else "its hosts"


def page() -> str:
    """The whole page, with the table of now."""
    before, _, rest = TARGET.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{listing()}{END}{after}"


def main() -> int:
    """Write the page, or with --check compare it with the code."""
    if "--check" not in sys.argv[1:]:
        TARGET.write_text(page(), encoding="utf-8")
        return 0
    if TARGET.read_text(encoding="utf-8") == page():
        return 0
    print(f"{TARGET.name} is not what the code says: make protos", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
