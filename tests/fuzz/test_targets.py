"""Every target of the fuzzing for a moment: `make fuzz` takes its time."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS

EXAMPLES = 40


@st.composite
def _inputs(draw: st.DrawFn, seeds: tuple[bytes, ...]) -> bytes:
    """Anything, or an input to begin with that something in its middle has taken the place of."""
    if not seeds or draw(st.integers(0, 3)) == 0:
        return draw(st.binary(max_size=200))
    seed = draw(st.sampled_from(seeds))
    start, lost = draw(st.integers(0, len(seed))), draw(st.integers(0, 40))
    inserted = draw(
        st.one_of(
            st.binary(max_size=20),
            st.text(max_size=20).map(str.encode),
            st.sampled_from([b"9" * 5000, b"\x1b[2J", b"--foo", b"\n", b"-1", b"\xff", b"99999"]),
        )
    )
    return seed[:start] + inserted + seed[start + lost :]


@pytest.mark.parametrize("name", TARGETS)
def test_target__understands_or_refuses_what_it_reads(name: str) -> None:
    target = TARGETS[name]

    @settings(max_examples=EXAMPLES, deadline=None)
    @given(data=_inputs(target.seeds))
    def read(data: bytes) -> None:
        target(data)

    read()
    for seed in target.seeds:
        target(seed)


def test_every_parser_of_a_hosts_output__is_a_target() -> None:
    names = {name.rpartition(".")[2] for name in TARGETS}
    assert {
        "parse_query",
        "parse_plan",
        "parse_boot",
        "parse_order",
        "failure",
        "progress",
    } <= names
    assert {"job", "shell", "ssh_offer", "page_token", "configuration", "cron", "rrule"} <= names
