"""Order of versions by rpm-version(7), and the newest of several installed versions of a package."""

import re
from collections.abc import Iterable, Mapping

VersionKey = tuple[tuple[tuple[int, str], ...], ...]

_PIECE = re.compile(r"[0-9]+|[A-Za-z]+|[~^]")


def version_key(version: str) -> VersionKey:
    """A key that orders "[EPOCH:]VERSION[-RELEASE]" as rpm does; an epoch that is not named is 0."""
    epoch, _, rest = version.rpartition(":")
    upstream, _, release = rest.partition("-")
    return _pieces(epoch or "0"), _pieces(upstream), _pieces(release)


def package_order(package: tuple[str, str]) -> tuple[str, VersionKey]:
    """A key that orders packages by name, and the versions of one name as rpm does."""
    return package[0], version_key(package[1])


def newest_versions(packages: Iterable[tuple[str, str]]) -> Mapping[str, str]:
    """The newest version of each package, of which several may be installed at once, as kernels are."""
    found: dict[str, str] = {}
    for name, version in packages:
        known = found.get(name)
        if known is None or version_key(known) < version_key(version):
            found[name] = version
    return found


def _pieces(text: str) -> tuple[tuple[int, str], ...]:
    # A tilde sorts before the end, a caret right after it, then words, then numbers. Numbers may be
    # of any length, so they are compared by their length first.
    return (*map(_rank, _PIECE.findall(text)), (0, ""))


def _rank(piece: str) -> tuple[int, str]:
    if piece.isdigit():
        digits = piece.lstrip("0")
        return 3 + len(digits), digits
    return {"~": -1, "^": 1}.get(piece, 2), piece
