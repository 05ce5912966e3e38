"""Recorded outputs, cut and damaged as on their way from a host, for the parsers of all of them."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from hypothesis import strategies as st

NOISE = st.one_of(st.binary(max_size=20), st.text(max_size=20).map(str.encode))
SHARES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ParserCase:
    """Recordings, and the parser of each."""

    recordings: Mapping[str, bytes]
    parse: Callable[[str, bytes], object]
    """Takes the name of a recording and an output to parse in its place; checks what it makes of it."""
    noise: st.SearchStrategy[bytes] = NOISE
    """What takes the place of lost bytes: anything, and what is near to the format of the output."""


def truncated(output: bytes) -> Iterator[bytes]:
    """The output, ended too early in SHARES places."""
    for share in range(SHARES):
        yield output[: len(output) * share // SHARES]


def with_noise(output: bytes, noise: st.SearchStrategy[bytes], data: st.DataObject) -> bytes:
    """The output with noise in place of up to 40 bytes."""
    start = int(data.draw(st.floats(0, 1)) * len(output))
    lost = data.draw(st.integers(0, 40))
    return output[:start] + data.draw(noise) + output[start + lost :]


def with_damaged_lines(output: bytes, data: st.DataObject) -> bytes:
    """The output with up to 5 lines dropped, doubled, swapped or cut."""
    lines = output.split(b"\n")
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
    return b"\n".join(lines)


def piece(text: str, data: st.DataObject) -> str:
    """Any piece of a text, from somewhere to somewhere."""
    start, end = data.draw(st.floats(0, 1)), data.draw(st.floats(0, 1))
    return text[int(start * len(text)) : int(end * len(text))]
