"""Certificate authorities for hosts: which keys sign the certificates of which hosts. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tendhost.server.domain.hosts.host_keys import (
    KINDS,
    authority_line,
    names_in_known_hosts,
    patterns_match,
)

EXPECTED = (
    "public keys of certificate authorities, one a line: `ssh-ed25519 AAAA…`, or `@cert-authority PATTERNS ssh-ed25519"
    " AAAA…` of a known_hosts file"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorityKey:
    """The public key of an authority."""

    key: str
    """Type and base64."""
    patterns: str = ""
    """The names that the authority may vouch for, as the first field of a known_hosts line; empty: any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostAuthority:
    """An authority with its keys, of which it has two while they are rotated."""

    name: str
    keys: tuple[AuthorityKey, ...]
    groups: tuple[str, ...] = ()
    """The groups whose hosts it vouches for; empty: those of the whole fleet."""


def authority_keys(text: str) -> tuple[AuthorityKey, ...]:
    """The keys in a file of public keys. Raises ValueError, which says what is wrong without repeating the text."""
    if "PRIVATE KEY-----" in text:
        raise ValueError("it has a private key")
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            patterns, key = authority_line(line.strip())
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
        if key.partition(" ")[0] not in KINDS:
            raise ValueError(f"line {number}: no authority has a key of this kind")
        found.append(AuthorityKey(key=key, patterns=patterns))
    if not found:
        raise ValueError("it has no key")
    return tuple(found)


def authorities_of(
    authorities: Iterable[HostAuthority],
    *,
    groups: Sequence[str],
    names: Sequence[str],
    port: int,
) -> tuple[str, ...]:
    """The keys of the authorities that vouch for a host; empty: its identity is a matter of pinned keys.

    Those of its groups, or without any those of the whole fleet: a group with an authority of its own trusts no other.
    """
    known = tuple(authorities)
    own = [one for one in known if not set(one.groups).isdisjoint(groups)]
    applying = own or [one for one in known if not one.groups]
    spelt = names_in_known_hosts(names, port)
    return tuple(
        dict.fromkeys(
            each.key
            for one in applying
            for each in one.keys
            if not each.patterns or patterns_match(each.patterns, spelt)
        )
    )
