"""Parts of a whole fleet or rollout, each read within a transaction of the caller's: as of one moment."""

from collections.abc import Iterable
from heapq import merge
from itertools import islice

from tendhost.server.domain.hosts.host import Host
from tendhost.server.domain.hosts.selection import HostFilter
from tendhost.server.domain.request_errors import CursorCompacted, RolloutNotFound
from tendhost.server.store import host_sql, rows, sql
from tendhost.server.store.pruning import pruned_to
from tendhost.server.store.records import (
    HostCursor,
    HostsPart,
    RolloutCursor,
    RolloutView,
    Unreadable,
)
from tendhost.server.store.session import DatabaseSession

ROWS_AT_ONCE = 1000
"""A read looks at no more hosts than this, so that other readers wait for milliseconds only."""


def hosts_part(
    database: DatabaseSession, selection: HostFilter, *, after: str, limit: int, size: int
) -> HostsPart:
    """See Store.hosts_part."""
    text, values = host_sql.select_hosts(selection, after=after, limit=ROWS_AT_ONCE)
    found: list[Host | Unreadable] = []
    seen, held, name, cut = 0, 0, after, False
    revision = _revision(database)
    for document, name in database.execute(text, values):
        seen += 1
        host = _selected(selection, name, document)
        if host is not None:
            found.append(host)
            held += len(document)
        cut = len(found) >= limit or held >= size
        if cut:
            break
    return HostsPart(
        hosts=tuple(row for row in found if not isinstance(row, Unreadable)),
        unreadable=tuple(row for row in found if isinstance(row, Unreadable)),
        revision=revision,
        last=HostCursor(revision, name),
        more=cut or seen == ROWS_AT_ONCE,
    )


def changed_hosts(
    database: DatabaseSession, selection: HostFilter, *, after: HostCursor, limit: int, size: int
) -> HostsPart:
    """See Store.changed_hosts."""
    found: list[Host | Unreadable] = []
    gone: list[str] = []
    seen, held, last, cut = 0, 0, after, False
    revision = _revision(database)
    compacted = pruned_to(database)
    if compacted >= after.revision:
        raise CursorCompacted(cursor=after.revision, oldest=compacted + 1, current=revision)
    values = (after.revision, after.name, ROWS_AT_ONCE)
    stored = database.execute(sql.HOSTS_STORED_BEHIND, values)
    removed = database.execute(sql.HOSTS_REMOVED_BEHIND, values)
    # No name stands in both, so that documents are never compared.
    for changed_at, name, document in islice(merge(stored, removed), ROWS_AT_ONCE):
        seen += 1
        last = HostCursor(changed_at, name)
        if not selection.may_match(name):
            continue
        host = _selected(selection, name, document)
        if host is None:
            gone.append(name)
            held += len(name)
        else:
            found.append(host)
            held += len(document)
        cut = len(found) + len(gone) >= limit or held >= size
        if cut:
            break
    return HostsPart(
        hosts=tuple(row for row in found if not isinstance(row, Unreadable)),
        unreadable=tuple(row for row in found if isinstance(row, Unreadable)),
        gone=tuple(gone),
        revision=revision,
        last=last,
        more=cut or seen == ROWS_AT_ONCE,
    )


def rollout_view(
    database: DatabaseSession, id: str, *, after: RolloutCursor, limit: int, size: int
) -> RolloutView:
    """See Store.rollout_view."""
    row = database.execute(sql.GET_ROLLOUT, (id,)).fetchone()
    if row is None:
        raise RolloutNotFound(rollout=id)
    waves, wave, more_waves = _behind(
        database.execute(sql.CHANGED_WAVES, (id, *after.wave, limit + 1)), limit, size
    )
    members, member, more_members = _behind(
        database.execute(sql.CHANGED_MEMBERS, (id, *after.member, limit + 1)), limit, size
    )
    return RolloutView(
        rollout=rows.rollout_of(row[0]),
        waves=tuple(rows.row_of(rows.wave_of, text, key) for _, key, text in sorted(waves)),
        members=tuple(rows.row_of(rows.member_of, text, key) for _, key, text in sorted(members)),
        last=RolloutCursor(wave=wave or after.wave, member=member or after.member),
        more=more_waves or more_members,
    )


def _behind(
    found: Iterable[tuple[int, int, object, str]], limit: int, size: int
) -> tuple[list[tuple[int, str, str]], tuple[int, int] | None, bool]:
    """The first rows, each with its number and key, the cursor of the last of them, and whether there are more."""
    taken: list[tuple[int, str, str]] = []
    held, last = 0, None
    for revision, number, key, document in found:
        if len(taken) == limit or held >= size:
            return taken, last, True
        taken.append((number, str(key), document))
        held += len(document)
        last = revision, number
    return taken, last, False


def _selected(selection: HostFilter, name: str, document: str | None) -> Host | Unreadable | None:
    # The name first: most documents of a large fleet need not be decoded.
    if document is None or not selection.may_match(name):
        return None
    host = rows.row_of(rows.host_of, document, name)
    # Whether an unreadable host is selected is not known: it is part of the answer.
    return host if isinstance(host, Unreadable) or selection.matches(host) else None


def _revision(database: DatabaseSession) -> int:
    """The revision as of which everything is read in this transaction."""
    revision: int = database.execute(sql.CURRENT_REVISION).fetchone()[0]
    return revision
