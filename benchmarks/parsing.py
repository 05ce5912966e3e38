"""`parsing`: how long it takes to understand what hosts with many packages print, and how large that is stored."""

import json
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from benchmarks.endpoints import recorded_answer
from benchmarks.figures import Figure, Report, Unmeasured
from tendhost.server.domain.inventory.hardware import InventoryPart
from tendhost.server.packages.osquery import parse_answer
from tendhost.server.packages.query import QueryResult, parse_query
from tendhost.server.packages.script import parse_parts
from tendhost.server.store.records import InventoryRecord
from tendhost.server.store.rows import inventory_row

PACKAGES = 5000
STORED_PACKAGES = 2000
ROUNDS = 25
_NOW = datetime(2026, 1, 1, tzinfo=UTC)
_INSTALLED = b"\n\x1etendhost installed 0\n"
"""After this an answer has the native architecture, and then a line for each package."""


async def measure() -> Report:
    """CPU time of one parse against json.loads, in turns, and bytes of a stored inventory."""
    recorded = parse_query(recorded_answer(), at=_NOW)
    names = _many(recorded, PACKAGES)
    debian = _json(
        {"arch": "amd64", "name": name, "status": "install ok installed", "version": version}
        for name, version in names
    )
    red_hat = _json(
        {"arch": "x86_64", "epoch": "0", "name": name, "release": "1.fc40", "version": version}
        for name, version in names
    )
    apt = _apt_answer(names)
    return Report(
        figures=(
            _ratio("parse_apt", lambda: _apt(apt), debian),
            _ratio("parse_osquery_deb", lambda: _osquery(debian, _EMPTY), debian),
            _ratio("parse_osquery_rpm", lambda: _osquery(_EMPTY, red_hat), red_hat),
            _stored(recorded),
        ),
        notes=(f"parsing: {PACKAGES:,} packages, named after those of the recorded answer",),
    )


def _many(recorded: QueryResult, count: int) -> list[tuple[str, str]]:
    """So many packages, with names and versions as long as real ones."""
    real = recorded.inventory.installed
    packages = {"dpkg": "1.21.22"}
    number = 0
    while len(packages) < count:
        name, version = real[number % len(real)]
        packages.setdefault(f"{name}{number // len(real) or ''}", version)
        number += 1
    return sorted(packages.items())


_EMPTY = "[\n\n]\n"


def _json(rows: Iterable[Mapping[str, str]]) -> str:
    """An array as osqueryi prints it."""
    lines = [f"  {json.dumps(row, separators=(',', ':'))}" for row in rows]
    return "[\n" + ",\n".join(lines) + "\n]\n"


def _osquery(debian: str, red_hat: str) -> int:
    tables = f'[\n  {{"version":"5.12.1"}}\n]\n{debian}{red_hat}'
    output = (
        f"\n\x1etendhost osquery stderr\n\n\x1etendhost osquery 0\n{tables}\n\x1etendhost end\n"
    )
    answer = parse_answer(
        parse_parts(output.encode(), expected=("osquery",)),
        (InventoryPart.PACKAGES,),
        architecture="x86_64",
    )
    if answer is None:
        return 0
    return len(answer.deb_packages or answer.rpm_packages or ())


def _apt_answer(packages: list[tuple[str, str]]) -> bytes:
    before, _, after = recorded_answer().partition(_INSTALLED)
    native = after.partition(b"\n")[0]
    rest = after[after.index(b"\n\x1e") :]
    lines = "\n".join(f"ii \t{name}\tamd64\t{version}" for name, version in packages)
    return before + _INSTALLED + native + b"\n" + lines.encode() + rest


def _apt(output: bytes) -> int:
    return len(parse_query(output, at=_NOW).inventory.installed)


def _ratio(name: str, parse: Callable[[], int], rows: str) -> Figure:
    """What `parse` costs against json.loads of the same packages as osqueryi prints them."""
    if parse() != PACKAGES:
        raise Unmeasured(f"{name} did not find {PACKAGES:,} packages")
    plain = rows.encode()
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(ROUNDS):
        ours.append(_seconds(parse))
        theirs.append(_seconds(lambda: json.loads(plain)))
    mine, bare = statistics.median(ours), statistics.median(theirs)
    return Figure(
        name=f"{name}_ratio",
        value=mine / bare,
        unit="ratio",
        baseline=f"json.loads: {bare * 1000:.1f} ms, this {mine * 1000:.1f} ms",
        n=PACKAGES,
    )


def _seconds(work: Callable[[], object]) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun


def _stored(recorded: QueryResult) -> Figure:
    installed = tuple(_many(recorded, STORED_PACKAGES))
    inventory = replace(recorded.inventory, installed=installed)
    record = InventoryRecord(host="host-00001", inventory=inventory, pending=recorded.pending)
    bare = sum(len(name) + len(version) for name, version in installed)
    return Figure(
        name="stored_inventory_kib",
        value=sum(len(text) for text in inventory_row(record)) / 1024,
        unit="KiB",
        baseline=f"its names and versions alone: {bare / 1024:.0f} KiB",
        n=STORED_PACKAGES,
    )
