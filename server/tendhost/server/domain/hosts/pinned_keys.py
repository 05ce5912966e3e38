"""Changes of the pinned keys of a host: which are pinned at enrolment, which are added, which are removed. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tendhost.server.domain.hosts.host_keys import KINDS, ExpectedKeys, expected_keys, fingerprint


@dataclass(frozen=True, slots=True, kw_only=True)
class Pins:
    """What a host must show."""

    keys: tuple[str, ...]
    """Public keys, at least one."""
    certified: bool = False
    """Whether it must show a certificate of a host authority: the one key is that which it had at its enrolment."""


MOST_PINNED = 16
"""Pinned keys of one host. A host has one of each kind, and twice as many while its keys are rotated."""


def enrolled_keys(expected: ExpectedKeys, shown: Sequence[str]) -> tuple[str, ...]:
    """The keys to pin for a host that shows the keys `shown`; empty: it has none of those expected.

    One that matches shows who answers. The other public keys that the user gave are pinned with it, as ssh(1)
    accepts every key of a known_hosts file: a rotation has two keys, and the host shows one of them at a time.
    """
    matching = [key for key in shown if expected.matches(key)]
    return _distinct((*matching, *usable_keys(expected))) if matching else ()


def usable_keys(expected: ExpectedKeys) -> tuple[str, ...]:
    """The public keys among those expected that a login can accept."""
    of_kinds = (key for key in expected.keys if key.partition(" ")[0] in KINDS)
    return _distinct(key for key in of_kinds if expected.matches(key))


def changed_keys(
    pinned: Sequence[str], added: Iterable[str], removed: Sequence[str]
) -> tuple[str, ...]:
    """The pinned keys after a change. Raises ValueError, which says what is wrong with `added` or `removed`.

    `removed`: each in one of the forms of host_keys.
    """
    keys = _distinct((*pinned, *added))
    for text in removed:
        named = [key for key in keys if expected_keys(text).matches(key)]
        if not named:
            known = ", ".join(map(fingerprint, keys))
            raise ValueError(f"{text[:80]!r} is not pinned; expected one of {known}")
        keys = tuple(key for key in keys if key not in named)
    if not keys:
        raise ValueError("no pinned key would be left; add another one first")
    return keys


def require_few(keys: Sequence[str]) -> None:
    """Raise ValueError if these are more keys than may be pinned."""
    if len(keys) > MOST_PINNED:
        raise ValueError(f"these are {len(keys)} keys; expected at most {MOST_PINNED}")


def _distinct(keys: Iterable[str]) -> tuple[str, ...]:
    """The keys without comments, each once."""
    return tuple(dict.fromkeys(" ".join(key.split()[:2]) for key in keys))
