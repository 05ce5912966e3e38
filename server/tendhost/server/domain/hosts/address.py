"""Addresses of hosts as users write them: IPv6 in brackets, and names with letters beyond ASCII."""

import ipaddress
import re

_NAME = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?")
_LONGEST_LABEL = 63
"""RFC 1035, section 2.3.4."""


def plain_address(address: str) -> str:
    """The address without the brackets that URLs, scp(1) and known_hosts files have around an IPv6 address."""
    inner = address.removeprefix("[").removesuffix("]")
    return inner if address == f"[{inner}]" and ":" in inner else address


def network_address(address: str) -> str:
    """The address as the resolver takes it: an internationalized name in its ASCII form ("xn--…", RFC 5890).

    IDNA 2008 after the mapping of UTS 46, as in browsers. Python's own encoding is of IDNA 2003, which makes another
    name of some: "straße.de" would be "strasse.de". Raises ValueError, which says what is wrong with the name.
    """
    if address.isascii():
        return address
    import idna  # its tables take a while to load, and few fleets need them

    try:
        labels = idna.uts46_remap(address, std3_rules=False).split(".")
        name = ".".join(
            label if label.isascii() else idna.alabel(label).decode() for label in labels
        )
    except (idna.IDNAError, IndexError) as error:
        raise ValueError(f"no host can have this name: {error}") from error
    # A letter may stand for others: "℀" for "a/c", and one of double width for that of this machine's own address.
    if not _NAME.fullmatch(name) or name == "local":
        raise ValueError(f"no host can have this name: it stands for {name!r}")
    return name


def unusable_address(address: str) -> str:
    """What is wrong with an address that keeps the rules of the contract; empty: nothing."""
    inner = plain_address(address)
    if inner != address:
        try:
            ipaddress.IPv6Address(inner)
        except ValueError:
            return f"{address!r}: must be an IPv6 address within the brackets"
    try:
        labels = network_address(inner).split(".")
    except ValueError as error:
        return f"{address!r}: {error}"
    if ":" not in inner and max(map(len, labels)) > _LONGEST_LABEL:
        return f"{address!r}: a part of the name has more than {_LONGEST_LABEL} characters"
    return ""
