"""Recorded outputs that were cut or damaged on their way: understood, or refused in our own words."""

from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tendhost.server.packages.compose.image_updates import parse_image_updates
from tendhost.server.packages.compose.inspect import parse_inspection
from tendhost.server.packages.compose.update import parse_update
from tendhost.server.packages.errors import ParseFailed, PartMissing
from tendhost.server.packages.script import parse_parts
from tests.unit.packages.compose.recordings import RECORDED, inspect

PROJECTS = inspect("v2/inspect").projects
PARSERS: dict[str, Callable[[bytes], object]] = {
    "inspect": lambda output: parse_inspection(parse_parts(output, expected=())),
    "update": parse_update,
    "images": lambda output: parse_image_updates(output, PROJECTS),
}
RECORDINGS = {path: path.read_bytes() for path in sorted(RECORDED.glob("*/*.out"))}
PATHS = list(RECORDINGS)


def parse(name: str, output: bytes) -> None:
    PARSERS[name.partition("-")[0]](output)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_truncated_output_is_missing_a_part(path) -> None:
    output = RECORDINGS[path]
    for share in range(20):
        with pytest.raises(PartMissing):
            parse(path.stem, output[: len(output) * share // 20])


@settings(max_examples=300)
@given(
    path=st.sampled_from(PATHS),
    at=st.floats(0, 1),
    lost=st.integers(0, 40),
    noise=st.one_of(
        st.binary(max_size=20),
        st.text(max_size=20).map(str.encode),
        st.sampled_from([b"null", b"[]", b"{}", b'""', b"[[[", b"\t", b"\n.\n", b"-"]),
    ),
)
def test_a_damaged_output_is_understood_or_refused(path, at, lost, noise) -> None:
    output = RECORDINGS[path]
    start = int(at * len(output))
    with suppress(ParseFailed):
        parse(path.stem, output[:start] + noise + output[start + lost :])


@settings(max_examples=200)
@given(path=st.sampled_from(PATHS), data=st.data())
def test_an_output_with_damaged_lines_is_understood_or_refused(path, data) -> None:
    lines = RECORDINGS[path].split(b"\n")
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
        parse(path.stem, b"\n".join(lines))
