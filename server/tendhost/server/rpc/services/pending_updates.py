"""Lists of the pending updates of the fleet, by host, package or advisory."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tendhost.server.domain.access.principal import Principal
from tendhost.server.domain.bounds import text
from tendhost.server.domain.inventory.pending_updates import (
    MOST_NAMES,
    PendingEntry,
    PendingGrouping,
    PendingQuery,
    PendingView,
)
from tendhost.server.domain.request_errors import PageTokenInvalid
from tendhost.server.engine.engine import Engine
from tendhost.server.rpc.convert.inventory import SEVERITY
from tendhost.server.rpc.convert.whole import whole
from tendhost.server.rpc.paging import fill, page_size, position
from tendhost.server.rpc.scoping import selected_by
from tendhost.server.store.records import HostPending
from tendhost.v1 import host_service_pb2 as pb

_GROUPING: Mapping[int, PendingGrouping] = {
    pb.PENDING_GROUPING_UNSPECIFIED: PendingGrouping.PACKAGE,
    pb.PENDING_GROUPING_PACKAGE: PendingGrouping.PACKAGE,
    pb.PENDING_GROUPING_ADVISORY: PendingGrouping.ADVISORY,
    pb.PENDING_GROUPING_HOST: PendingGrouping.HOST,
}


async def list_pending(
    engine: Engine, request: pb.ListPendingUpdatesRequest, caller: Principal
) -> pb.ListPendingUpdatesResponse:
    """A page of the pending updates that the caller may see. Raises PageTokenInvalid, SelectionNotFound."""
    selection = await selected_by(request.filter, engine.selections, caller)
    view = PendingView(
        PendingQuery(
            group_by=_GROUPING[request.group_by],
            security_only=request.security_only,
            packages=tuple(request.packages),
            fixes=tuple(request.fixes),
            withheld=request.include_withheld,
        )
    )
    after, size = _cursor(request), page_size(request.page_size)

    def look(fleet: Iterable[HostPending]) -> tuple[Sequence[PendingEntry], bool]:
        for item in fleet:
            view.add(item.host, item.pending)
        following = view.entries(after=after, limit=size + 1)
        return following[:size], len(following) > size

    shown, more = await engine.store.survey_pending(selection, look)
    response = pb.ListPendingUpdatesResponse(
        hosts_unknown=view.hosts_unknown,
        hosts_security_unknown=view.hosts_security_unknown,
        hosts_fixes_unknown=view.hosts_fixes_unknown,
    )
    response.next_page_token = await fill(
        response.entries,
        request,
        shown,
        entry_message,
        lambda entry: json.dumps(entry.place),
        more=more,
    )
    return response


def _cursor(request: pb.ListPendingUpdatesRequest) -> tuple[Any, ...] | None:
    text = position(request, request.page_token)
    if not text:
        return None
    try:
        cursor = json.loads(text)
    except (ValueError, RecursionError):
        raise PageTokenInvalid from None
    match cursor:
        case [int(), int(), int(), str(), str()]:
            return tuple(cursor)
    # Tokens are no secret: somebody made this one up.
    raise PageTokenInvalid


def _unread_entry(entry: PendingEntry | str, why: str) -> pb.PendingEntry:
    named = text(entry if isinstance(entry, str) else entry.name)
    return pb.PendingEntry(name=named, incomplete=why)


@whole(_unread_entry)
def entry_message(entry: PendingEntry) -> pb.PendingEntry:
    """One entry of the pending updates as clients see it."""
    return pb.PendingEntry(
        name=entry.name,
        version=entry.version,
        security=entry.security,
        severity=SEVERITY[entry.severity],
        cves=entry.cves,
        advisories=entry.advisories,
        hosts=entry.hosts,
        host_count=entry.host_count,
        packages=entry.packages[:MOST_NAMES],
        package_count=len(entry.packages),
    )
