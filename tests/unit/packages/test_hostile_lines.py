"""Long lines that a host may print: what reads them takes time linear in their length.

A pattern that is quadratic in it needs an hour for these, and the time limit of a test ends that.
"""

from collections.abc import Callable
from contextlib import suppress

import pytest

from tendhost.server.domain.policy.patterns import found_in
from tendhost.server.packages.compose.inspect import _references
from tendhost.server.packages.dnf.listing import parse_advisories
from tendhost.server.packages.errors import PackageError

LENGTH = 4_000_000


@pytest.mark.parametrize(
    ("read", "piece"),
    [
        (lambda text: parse_advisories("", text), " "),
        (lambda text: parse_advisories("", f"Update ID{text}x"), " "),
        (lambda text: _references("compose", text), " "),
        (lambda text: _references("compose", f"{text}'"), " "),
        (lambda text: found_in(text, "(a+)+b"), "a"),
    ],
)
def test_line__of_millions_of_characters_is_read_in_one_go(
    read: Callable[[str], object], piece: str
) -> None:
    with suppress(PackageError):
        read(piece * LENGTH)
