"""Recorded outputs that were cut or damaged on their way: understood, or refused in our own words."""

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tendhost.server.packages.errors import ParseFailed, PartMissing
from tests.unit.packages.osquery.recordings import recorded, understood

NAMES = ("debian12", "whole")
RECORDINGS = {name: recorded(name) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_a_truncated_output_is_missing_a_part(name: str) -> None:
    output = RECORDINGS[name]
    for share in range(20):
        with pytest.raises(PartMissing):
            understood(output[: len(output) * share // 20])


@settings(max_examples=300, deadline=None)
@given(
    name=st.sampled_from(NAMES),
    at=st.floats(0, 1),
    lost=st.integers(0, 40),
    noise=st.one_of(
        st.binary(max_size=20),
        st.text(max_size=20).map(str.encode),
        st.text(alphabet='0123456789[]{}",: \n', max_size=20).map(str.encode),
    ),
)
def test_a_damaged_output_is_understood_or_refused(
    name: str, at: float, lost: int, noise: bytes
) -> None:
    output = RECORDINGS[name]
    start = int(at * len(output))
    with suppress(ParseFailed):
        understood(output[:start] + noise + output[start + lost :])


@settings(max_examples=200, deadline=None)
@given(name=st.sampled_from(NAMES), data=st.data())
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
        understood(b"\n".join(lines))
