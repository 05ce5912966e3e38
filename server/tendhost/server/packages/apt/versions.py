"""The order of Debian versions, by deb-version(7)."""

import re
from functools import total_ordering

_PART = re.compile(r"([^0-9]*)([0-9]*)")


@total_ordering
class DebianVersion:
    """A version that compares as dpkg(1) compares it: "1:2.0~rc1-3" is older than "1:2.0-1"."""

    __slots__ = ("_key",)

    def __init__(self, text: str) -> None:
        epoch, colon, rest = text.partition(":")
        if not colon:
            epoch, rest = "", text
        upstream, dash, revision = rest.rpartition("-")
        if not dash:
            upstream, revision = rest, ""
        self._key = (
            _number(epoch if epoch.isascii() and epoch.isdigit() else ""),
            _parts(upstream),
            _parts(revision),
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DebianVersion) and self._key == other._key

    def __lt__(self, other: "DebianVersion") -> bool:
        return self._key < other._key

    def __hash__(self) -> int:
        return hash(self._key)


_Number = tuple[int, str]


def _number(digits: str) -> _Number:
    """A key that orders numbers of any length: Python bounds the digits of an int that is made from text."""
    significant = digits.lstrip("0")
    return (len(significant), significant)


def _parts(text: str) -> tuple[tuple[tuple[int, ...], _Number], ...]:
    """Non-digits and digits in turn, so that tuples compare as dpkg compares the texts."""
    found = [
        # The end of a text is before everything but a tilde, and letters are before other characters.
        ((*map(_rank, letters), 0), _number(digits))
        for letters, digits in _PART.findall(text)
    ]
    if found[1:] and found[-1] == _END:
        found.pop()
    # Compared with a longer text, the rest is a part without letters and with the number 0. It stands behind
    # the first part, also where that is 0 itself: "0~" is older than "0".
    return (*found, _END)


_END: tuple[tuple[int, ...], _Number] = ((0,), (0, ""))


def _rank(character: str) -> int:
    if character == "~":
        return -1
    return ord(character) if character.isascii() and character.isalpha() else ord(character) + 256
