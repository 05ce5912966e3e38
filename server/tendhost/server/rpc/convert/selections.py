"""Host filters, saved selections and update scopes, between messages and domain values."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from tendhost.server.domain.bounds import text
from tendhost.server.domain.events import SelectionChange, SelectionChanged
from tendhost.server.domain.hosts.selection import HostFilter, SavedSelection
from tendhost.server.domain.hosts.states import HostState
from tendhost.server.domain.inventory.scope import ScopeOverride, UpdateScope
from tendhost.server.domain.request_errors import FieldViolation, InvalidArgument
from tendhost.server.rpc.convert.changes import change_messages
from tendhost.server.rpc.convert.common import numbers, timestamp
from tendhost.server.rpc.convert.whole import whole
from tendhost.v1 import event_pb2, host_pb2, selection_service_pb2

HOST_STATE = numbers(HostState, host_pb2.HostState)
_CHANGE = numbers(SelectionChange, event_pb2.SelectionChange)
_STATE_OF = {number: state for state, number in HOST_STATE.items()}


def update_scope(message: host_pb2.UpdateScope) -> UpdateScope:
    """A validated scope."""
    return UpdateScope(
        security_only=message.security_only,
        include=tuple(message.include),
        exclude=tuple(message.exclude),
        allow_removals=message.allow_removals,
        autoremove=message.autoremove,
        download_first=message.download_first,
    )


def scope_override(message: host_pb2.ScopeOverride) -> ScopeOverride:
    """A validated scope override."""
    return ScopeOverride(
        security_only=message.security_only if message.HasField("security_only") else None,
        include=tuple(message.include),
        exclude=tuple(message.exclude),
        ignore_policy_packages=message.ignore_policy_packages,
        allow_removals=message.allow_removals if message.HasField("allow_removals") else None,
        autoremove=message.autoremove if message.HasField("autoremove") else None,
        download_first=message.download_first if message.HasField("download_first") else None,
    )


def override_message(override: ScopeOverride) -> host_pb2.ScopeOverride:
    """A scope override as clients see it."""
    return host_pb2.ScopeOverride(
        security_only=override.security_only,
        include=override.include,
        exclude=override.exclude,
        ignore_policy_packages=override.ignore_policy_packages,
        allow_removals=override.allow_removals,
        autoremove=override.autoremove,
        download_first=override.download_first,
    )


def scope_message(scope: UpdateScope) -> host_pb2.UpdateScope:
    """A scope as clients see it."""
    return host_pb2.UpdateScope(
        security_only=scope.security_only,
        include=scope.include,
        exclude=scope.exclude,
        allow_removals=scope.allow_removals,
        autoremove=scope.autoremove,
        download_first=scope.download_first,
    )


def host_filter(message: host_pb2.HostFilter) -> HostFilter:
    """A validated filter."""
    return HostFilter(
        names=tuple(message.names),
        all_tags=tuple(message.all_tags),
        any_tags=tuple(message.any_tags),
        groups=tuple(message.groups),
        states=tuple(_STATE_OF[number] for number in message.states),
        exclude_hosts=tuple(message.exclude_hosts),
        reboot_needed=message.reboot_needed if message.HasField("reboot_needed") else None,
        name_prefix=message.name_prefix,
        selection=message.selection,
    )


def amended_filter(
    request: selection_service_pb2.UpdateSelectionRequest,
) -> Callable[[HostFilter], HostFilter]:
    """Gives a filter the fields of the request that its mask names; without a mask, all of them.

    Raises InvalidArgument where the mask names no field, or one that does not exist.
    """
    wanted = host_filter(request.filter)
    if not request.HasField("update_mask"):
        return lambda _: wanted
    known, paths = list(host_pb2.HostFilter.DESCRIPTOR.fields_by_name), request.update_mask.paths
    words = [
        f"{path!r} is not a field of the filter; expected {', '.join(known)}"
        for path in paths
        if path not in known
    ]
    if not paths:
        words = [f"names no field; expected {', '.join(known)}"]
    if words:
        raise InvalidArgument(*(FieldViolation("update_mask", one) for one in words))
    return lambda former: replace(former, **{path: getattr(wanted, path) for path in paths})


def filter_message(selection: HostFilter) -> host_pb2.HostFilter:
    """A filter as clients see it."""
    return host_pb2.HostFilter(
        names=selection.names,
        all_tags=selection.all_tags,
        any_tags=selection.any_tags,
        groups=selection.groups,
        states=[HOST_STATE[state] for state in selection.states],
        exclude_hosts=selection.exclude_hosts,
        reboot_needed=selection.reboot_needed,
        name_prefix=selection.name_prefix,
        selection=selection.selection,
    )


def _unread_selection(saved: SavedSelection | str, why: str) -> selection_service_pb2.Selection:
    name = saved if isinstance(saved, str) else saved.name
    return selection_service_pb2.Selection(name=text(name), incomplete=why)


@whole(_unread_selection)
def selection_message(
    saved: SavedSelection, warnings: Sequence[str] = ()
) -> selection_service_pb2.Selection:
    """A saved selection as clients see it."""
    return selection_service_pb2.Selection(
        name=saved.name,
        filter=filter_message(saved.filter),
        changed_by=saved.changed_by,
        changed_at=timestamp(saved.changed_at),
        revision=saved.revision,
        etag=saved.etag,
        warnings=warnings,
    )


def selection_changed(body: SelectionChanged) -> event_pb2.SelectionChanged:
    """What became of a saved selection."""
    return event_pb2.SelectionChanged(
        selection=body.selection,
        change=_CHANGE[body.change],
        message=body.message,
        by=body.by,
        changes=change_messages(body.changes),
    )
