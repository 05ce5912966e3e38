"""Statements for pages of hosts: a page costs the same in a fleet of any size.

A page is read by an index whose order is that of the names. Which one depends on what is asked: a tag or a
group has its own table in that order, and so has each state and each answer to "is a reboot needed?". Where
several of them would do (two tags, three states) each has its own page, of which the first names are taken.
Parts that no index leads to are looked at with each host: an intersection of two large sets that hardly
meet costs as much as the smaller choice that is made here, in the database and without decoding anything.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tendhost.server.domain.access.scope import Scope
from tendhost.server.domain.hosts.selection import HostFilter
from tendhost.server.domain.hosts.states import HostState
from tendhost.server.domain.inventory.inventory import RebootNeed
from tendhost.server.store.where import Where

MOST_PARTS = 64
"""So many pages are put together at most; SQLite takes 500 in one statement."""
_GLOB = frozenset("*?[")
_LAST = "\U0010ffff"
_COMMON = frozenset({HostState.IDLE, HostState.PENDING_UPDATES})
"""The states of nearly every host at nearly every moment: a tag leads to fewer."""
_NEEDED = (RebootNeed.NEEDED,)
_NOT_NEEDED = tuple(need for need in RebootNeed if need is not RebootNeed.NEEDED)
_COLUMNS = "hosts.document, hosts.name"


def select_hosts(selection: HostFilter, *, after: str, limit: int) -> tuple[str, list[object]]:
    """Hosts that may match, document and name: what has an index is said here, the rest is for `matches`."""
    return _page(selection, _COLUMNS, "", after=after, limit=limit)


def select_pending(selection: HostFilter, *, after: str, limit: int) -> tuple[str, list[object]]:
    """The hosts of select_hosts, each with what is pending on it."""
    joined = " LEFT JOIN inventories ON inventories.host = hosts.name"
    return _page(selection, f"{_COLUMNS}, inventories.pending", joined, after=after, limit=limit)


@dataclass(frozen=True, slots=True)
class _Way:
    """One of the indexes that lead to the hosts: a table in the order of names, and what it is narrowed by."""

    name: str = "hosts.name"
    source: str = "hosts"
    equals: tuple[tuple[str, str], ...] = ()


def _page(
    selection: HostFilter, columns: str, joined: str, *, after: str, limit: int
) -> tuple[str, list[object]]:
    ways = tuple(_ways(selection))
    values: list[object] = []
    if len(ways) == 1:
        (way,) = ways
        where = _where(way, selection, values, after)
        text = (
            f"SELECT {columns} FROM {way.source}{joined} {where} ORDER BY {way.name} LIMIT {limit}"  # noqa: S608
        )
        return text, values
    parts = " UNION ".join(
        f"SELECT * FROM (SELECT {way.name} FROM {way.source}"  # noqa: S608
        f" {_where(way, selection, values, after)} ORDER BY {way.name} LIMIT {limit}) AS part"
        for way in ways
    )
    text = f"SELECT {columns} FROM hosts{joined} WHERE hosts.name IN ({parts})"  # noqa: S608
    return f"{text} ORDER BY hosts.name LIMIT {limit}", values


def _where(way: _Way, selection: HostFilter, values: list[object], after: str) -> Where:
    where = Where(values)
    for column, value in way.equals:
        where.add(f"{column} = {{}}", value)
    prefixes = tuple(_prefixes(selection))
    first = max(prefixes, default="")
    # One lower bound and one upper: of two the database would take whichever it comes to first.
    where.add(f"{way.name} >= {{}}" if first > after else f"{way.name} > {{}}", max(first, after))
    if prefixes:
        where.add(f"{way.name} < {{}}", min(prefix + _LAST for prefix in prefixes))
    _add_selection(where, selection, way.name)
    return where


def _prefixes(selection: HostFilter) -> Iterator[str]:
    """What the name of every host begins with that may match."""
    yield from filter(None, (selection.name_prefix, _common_prefix(selection.names)))
    if selection.also is not None:
        yield from _prefixes(selection.also)


def _add_selection(where: Where, selection: HostFilter, name: str) -> None:
    """All that the database can tell of a host; that some of it is said by the way already costs nothing."""
    if selection.also is not None:
        _add_selection(where, selection.also, name)
    if selection.names and not _globs(selection.names):
        where.add_in(name, selection.names)
    where.add_in("hosts.state", map(str, selection.states))
    where.add_in("hosts.reboot_need", map(str, _needs(selection)))
    _add_labels(where, selection, name)


def add_scope(where: Where, scope: Scope, name: str) -> None:
    """Add that the host whose name the column `name` has is one of `scope`."""
    _add_labels(where, scope, name)


def _add_labels(where: Where, labelled: HostFilter | Scope, name: str) -> None:
    labels = [("host_tags", (tag,)) for tag in labelled.all_tags]
    for table, names in (
        *labels,
        ("host_tags", labelled.any_tags),
        ("host_groups", labelled.groups),
    ):
        if names:
            within = Where(where.values)
            within.add_in("name", names)
            where.add(f"EXISTS (SELECT 1 FROM {table} {within} AND host = {name})")  # noqa: S608


def _ways(selection: HostFilter) -> Iterator[_Way]:
    """The ways of which each leads to a part of the hosts, and all of them to all that may match."""
    for ways in _choices(selection):
        if 0 < len(ways) <= MOST_PARTS:
            yield from ways
            return
    yield _Way()


def _choices(selection: HostFilter) -> Iterator[Sequence[_Way]]:
    """Sets of ways, each of which would do, the one that is likely to meet the fewest hosts first."""
    selections = list(_chain(selection))
    if any(s.names and not _globs(s.names) for s in selections):
        yield (_Way(),)
    by_state = [_by_state(s) for s in selections if s.states or s.reboot_needed is not None]
    rare = [bool(s.states) and not _COMMON.intersection(s.states) for s in selections]
    if any(rare):
        yield _by_state(selections[rare.index(True)])
    for one in selections:
        yield [_by_label("host_tags", tag) for tag in one.all_tags[:1]]
    for one in selections:
        yield [_by_label("host_groups", group) for group in dict.fromkeys(one.groups)]
        yield [_by_label("host_tags", tag) for tag in dict.fromkeys(one.any_tags)]
    yield from by_state


def _chain(selection: HostFilter) -> Iterator[HostFilter]:
    """The filters that all have to match: with the one that is asked for a saved one, and a scope."""
    following: HostFilter | None = selection
    while following is not None:
        yield following
        following = following.also


def _by_label(table: str, label: str) -> _Way:
    # CROSS JOIN: SQLite then begins with the labels, which stand in the order of the names.
    return _Way(
        name="label.host",
        source=f"{table} AS label CROSS JOIN hosts ON hosts.name = label.host",
        equals=(("label.name", label),),
    )


def _by_state(selection: HostFilter) -> Sequence[_Way]:
    if not selection.states:
        return [
            _Way(equals=(("hosts.reboot_need", str(need)),))
            for need in dict.fromkeys(_needs(selection))
        ]
    return [
        _Way(equals=(("hosts.state", str(state)), ("hosts.reboot_need", str(need))))
        for state in dict.fromkeys(selection.states)
        for need in _needs(selection) or RebootNeed
    ]


def _needs(selection: HostFilter) -> Sequence[RebootNeed]:
    """The answers to whether a reboot is needed that are asked for; empty: any."""
    if selection.reboot_needed is None:
        return ()
    return _NEEDED if selection.reboot_needed else _NOT_NEEDED


def _globs(names: Sequence[str]) -> bool:
    return any(_GLOB & set(name) for name in names)


def _common_prefix(names: Sequence[str]) -> str:
    """What every host begins with that `names` may match."""
    if not names:
        return ""
    literal = [
        name[: next((n for n, c in enumerate(name) if c in _GLOB), len(name))] for name in names
    ]
    first, last = min(literal), max(literal)
    pairs = zip(first, last, strict=False)
    return first[: next((n for n, (a, b) in enumerate(pairs) if a != b), len(first))]
