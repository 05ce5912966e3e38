"""Recorded outputs that were cut or damaged on their way: understood, or refused in our own words."""

from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tendhost.server.packages.apt.commands import kept_conffiles, parse_plan
from tendhost.server.packages.apt.failures import diagnose
from tendhost.server.packages.errors import ParseFailed, PartMissing
from tendhost.server.packages.query import parse_preflight, parse_query
from tests.unit.packages.recordings import ASKED_AT, log, manager_of, names, recorded

PARSERS: dict[str, Callable[[bytes], object]] = {
    "query": lambda output: parse_query(output, at=ASKED_AT),
    "preflight": parse_preflight,
    "dry-run": parse_plan,
}
RECORDINGS = {name: recorded(name) for name in names("*/*.out")}
LOGS = [log(name) for name in names("*/*.log")]


def parse(name: str, output: bytes) -> None:
    system, what = name.split("/")
    if what.startswith("plan"):
        manager_of(system).parse_plan(output)
        return
    kind = next(kind for kind in PARSERS if what.startswith(kind))
    PARSERS[kind](output)


@pytest.mark.parametrize("name", RECORDINGS)
def test_a_truncated_output_is_missing_a_part(name: str) -> None:
    output = RECORDINGS[name]
    for share in range(20):
        with pytest.raises(PartMissing):
            parse(name, output[: len(output) * share // 20])


@settings(max_examples=300, deadline=None)
@given(
    name=st.sampled_from(sorted(RECORDINGS)),
    at=st.floats(0, 1),
    lost=st.integers(0, 40),
    noise=st.one_of(st.binary(max_size=20), st.text(max_size=20).map(str.encode)),
)
def test_a_damaged_output_is_understood_or_refused(
    name: str, at: float, lost: int, noise: bytes
) -> None:
    output = RECORDINGS[name]
    start = int(at * len(output))
    with suppress(ParseFailed):
        parse(name, output[:start] + noise + output[start + lost :])


@settings(max_examples=200, deadline=None)
@given(name=st.sampled_from(sorted(RECORDINGS)), data=st.data())
def test_an_output_with_damaged_lines_is_understood_or_refused(
    name: str, data: st.DataObject
) -> None:
    lines = RECORDINGS[name].split(b"\n")
    for _ in range(data.draw(st.integers(1, 5))):
        here, there = (data.draw(st.integers(0, len(lines) - 1)) for _ in range(2))
        match data.draw(st.sampled_from(("drop", "double", "swap", "cut"))):
            case "drop":
                lines[here] = b""
            case "double":
                lines[here] += lines[there]
            case "swap":
                lines[here], lines[there] = lines[there], lines[here]
            case "cut":
                lines[here] = lines[here][: len(lines[here]) // 2]
    with suppress(ParseFailed):
        parse(name, b"\n".join(lines))


@settings(deadline=None)
@given(st.sampled_from(LOGS), st.floats(0, 1), st.floats(0, 1), st.integers(0, 255))
def test_any_piece_of_a_log_gives_a_reason(
    text: str, start: float, end: float, exit_status: int
) -> None:
    piece = text[int(start * len(text)) : int(end * len(text))]
    reason = diagnose(exit_status, piece).reason
    assert reason
    assert "\n" not in reason
    kept_conffiles(piece)
