"""What a host did not say is unknown: no parser makes "none" or "healthy" of a part that is absent."""

import contextlib
import importlib
import inspect
import pkgutil
import re
import subprocess
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tendhost.server import packages
from tendhost.server.packages.errors import PackageError, PartMissing
from tendhost.server.packages.package_manager import Transaction
from tendhost.server.packages.query import (
    QueryOptions,
    parse_preflight,
    parse_query,
    preflight_script,
    query_script,
)
from tendhost.server.packages.reboot_order import OrderAnswer, OrderResult
from tendhost.server.packages.script import LOOKED_FOR, Part, Parts, framed_script, parse_parts
from tendhost.server.packages.units import UnitHealth, parse_units
from tests.skipped_parts import with_skips
from tests.unit.packages.compose.recordings import inspect as inspected
from tests.unit.packages.recordings import ASKED_AT, manager_of, names, recorded

END = b"\n\x1etendhost end\n"
RECORDINGS = names("*/*.out")
OTHER_BOOT = OrderAnswer(result=OrderResult.OTHER_BOOT)
_FRAMES = re.compile(rb"\n\x1etendhost ([a-z0-9_]+) (?:\d+|skipped)\n")


def parsed(name: str, output: bytes) -> Any:
    """What the parser of this recording makes of `output`."""
    system, what = name.split("/")
    if what.startswith(("plan", "dry-run")):
        return manager_of(system).parse_plan(output)
    if what.startswith("preflight"):
        return parse_preflight(output)
    return parse_query(output, at=ASKED_AT)


def without(output: bytes, part: str) -> bytes:
    """The output without every frame of a part."""
    frame = rb"\n\x1etendhost " + part.encode() + rb" [a-z0-9]+\n(?:(?!\n\x1etendhost )[\s\S])*"
    return re.sub(frame, b"", output)


@pytest.mark.parametrize("name", RECORDINGS)
def test_part_that_is_absent__is_missed_wherever_it_is_looked_for(name: str) -> None:
    output = recorded(name)
    try:
        whole = parsed(name, output)
    except PackageError:
        return
    missed = 0
    for part in sorted({found.decode() for found in _FRAMES.findall(output)}):
        try:
            found = parsed(name, without(output, part))
        except PartMissing as error:
            assert error.part == part  # noqa: PT017
            missed += 1
        else:
            assert repr(found) == repr(whole), f"without {part}"
    assert missed


def parsers() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Every function of packages, and method of a package manager, that takes what a script printed."""
    for found in pkgutil.walk_packages(packages.__path__, f"{packages.__name__}."):
        module = importlib.import_module(found.name)
        for name, function in vars(module).items():
            if (
                not name.startswith("_")
                and inspect.isfunction(function)
                and function.__module__ == found.name
            ):
                yield f"{found.name}.{name}", function
    for system in ("debian", "fedora40", "fedora42", "opensuse"):
        yield f"{system}.parse_plan", manager_of(system).parse_plan


OTHERS = {
    "at": ASKED_AT,
    "units": ("a.service",),
    "wanted": ("a.service",),
    "projects": inspected("v2/inspect").projects,
    "timeout": timedelta(seconds=1),
}
NO_FRAMES = {"command_found"}
"""Parsers of what is no framed script: a check's own command."""
PARSERS = [
    (name, function)
    for name, function in parsers()
    if inspect.signature(function).parameters.get("output", None) is not None
    and str(inspect.signature(function).parameters["output"].annotation)
    in ("bytes", "<class 'bytes'>")
    and name.rpartition(".")[2] not in NO_FRAMES | {"parse_parts"}
]


@pytest.mark.parametrize(("name", "parse"), PARSERS, ids=[name for name, _ in PARSERS])
@pytest.mark.parametrize(
    "output", [b"", b"Welcome!\n", END, b"noise" + END, with_skips(END, LOOKED_FOR)]
)
def test_output_without_its_parts__is_refused_by_every_parser(
    name: str, parse: Callable[..., Any], output: bytes
) -> None:
    known = inspect.signature(parse).parameters
    others = {key: value for key, value in OTHERS.items() if key in known}
    with pytest.raises(PackageError):
        parse(output, **others)


SKIPPING_TELLS = {"parse_units": UnitHealth(state="", failed=()), "parse_order": OTHER_BOOT}
"""What a host tells by all that it skips: it runs no systemd; it runs another boot than the one to be rebooted."""


@pytest.mark.parametrize(("name", "parse"), PARSERS, ids=[name for name, _ in PARSERS])
def test_output_of_a_host_that_skipped_all__is_refused_by_every_parser_but_two(
    name: str, parse: Callable[..., Any]
) -> None:
    known = inspect.signature(parse).parameters
    others = {key: value for key, value in OTHERS.items() if key in known}
    assert with_skips(END).count(b" skipped\n") > len(LOOKED_FOR)
    if told := SKIPPING_TELLS.get(name.rpartition(".")[2]):
        assert parse(with_skips(END), **others) == told
        return
    with pytest.raises(PackageError):
        parse(with_skips(END), **others)


def test_every_parser_is_among_them() -> None:
    found = {name.rpartition(".")[2] for name, _ in PARSERS}
    assert {"parse_boot", "parse_login", "parse_units", "parse_active", "parse_query"} <= found
    assert {"parse_preflight", "parse_plan", "parse_restart", "parse_rows"} <= found


def test_host_on_which_sh_did_not_run_the_script__is_not_healthy() -> None:
    # tcsh ran the last line of the script alone, and the answer was taken for that of a host without systemd.
    with pytest.raises(PartMissing, match="state"):
        parse_units(END)


def test_parts__that_were_skipped_are_absent_and_others_are_missed() -> None:
    parts = Parts({"a": Part(0, "", "")}, frozenset({"a", "b"}))
    assert "a" in parts
    assert "b" not in parts
    assert parts.get("b") is None
    for look in (
        lambda: "c" in parts,
        lambda: parts.get("c"),
        lambda: parts["c"],
        lambda: parts["b"],
    ):
        with pytest.raises(PartMissing):
            look()


def test_script__says_what_it_skipped_and_what_belongs_to_no_part() -> None:
    script = framed_script(
        "part one echo 1", "echo between", "if false; then", "part two echo 2", "fi"
    )
    done = subprocess.run(["sh", "-c", script], capture_output=True, check=True)
    parts = parse_parts(done.stdout, expected=("one",))
    assert (parts["one"].stdout, "two" in parts, "machine_id" in parts) == ("1", False, False)


LOOKS = re.compile(r'parts\.get\("([a-z_]+)"|"([a-z_]+)" (?:not )?in parts\b')
ASKED_BY_THEIR_SCRIPT = {"state", "before", "order", "after", "molly"}
"""Looked for only in the output of the one script that may ask them."""


def looks_in_the_sources() -> set[str]:
    sources = (p.read_text() for path in packages.__path__ for p in Path(path).rglob("*.py"))
    return {a or b for source in sources for a, b in LOOKS.findall(source)}


def looks_in_recording(name: str, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The parts that a parser looks for, whether or not its source names them."""
    looks: set[str] = set()
    contains = Parts.__contains__

    def spied(parts: Parts, part: object) -> bool:
        looks.add(str(part))
        return contains(parts, part)

    with monkeypatch.context() as patch:
        patch.setattr(Parts, "__contains__", spied)
        with contextlib.suppress(PackageError):
            parsed(name, recorded(name))
    return looks


def least_script(name: str) -> str:
    """The script of a recording, as it is where it asks least."""
    system, what = name.split("/")
    if what.startswith(("plan", "dry-run")):
        return manager_of(system).plan_script(Transaction())
    if what.startswith("preflight"):
        return preflight_script(lock_timeout=timedelta())
    return query_script(QueryOptions())


@pytest.mark.parametrize("name", RECORDINGS)
def test_parts_that_a_parser_looks_for__are_named_by_its_script(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = set(re.findall(r"\bpart ([a-z_]+) ", least_script(name)))
    assert looks_in_recording(name, monkeypatch) <= asked | set(LOOKED_FOR)


def test_parts_that_a_parser_looks_for__are_named_by_every_script(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks = looks_in_the_sources()
    assert len(looks) > 20
    assert looks - ASKED_BY_THEIR_SCRIPT <= set(LOOKED_FOR)
    for name in RECORDINGS:
        looks |= looks_in_recording(name, monkeypatch)
    assert set(LOOKED_FOR) <= looks
