"""Conversion of host filters, saved selections and update scopes."""

from tendhost.client.convert.changes import field_changes
from tendhost.client.convert.enums import enum_names, instant, numbers, reading
from tendhost.client.models.events import SelectionChange, SelectionChanged
from tendhost.client.models.hosts import HostState, ScopeOverride, UpdateScope
from tendhost.client.models.selections import HostFilter, Selection
from tendhost.v1 import event_pb2, host_pb2, selection_service_pb2

_STATES = enum_names(HostState, host_pb2.HostState)
STATE_NUMBERS = numbers(_STATES)

_change = reading(
    enum_names(SelectionChange, event_pb2.SelectionChange), SelectionChange.UNRECOGNIZED
)
state = reading(_STATES, HostState.UNRECOGNIZED)


def scope(message: host_pb2.UpdateScope) -> UpdateScope:
    """A scope."""
    return UpdateScope(
        security_only=message.security_only,
        include=tuple(message.include),
        exclude=tuple(message.exclude),
        allow_removals=message.allow_removals,
        autoremove=message.autoremove,
        download_first=message.download_first,
    )


def scope_message(wanted: UpdateScope) -> host_pb2.UpdateScope:
    """A scope for a request."""
    return host_pb2.UpdateScope(
        security_only=wanted.security_only,
        include=wanted.include,
        exclude=wanted.exclude,
        allow_removals=wanted.allow_removals,
        autoremove=wanted.autoremove,
        download_first=wanted.download_first,
    )


def override_message(override: ScopeOverride) -> host_pb2.ScopeOverride:
    """A scope override for a request."""
    return host_pb2.ScopeOverride(
        security_only=override.security_only,
        include=override.include,
        exclude=override.exclude,
        ignore_policy_packages=override.ignore_policy_packages,
        allow_removals=override.allow_removals,
        autoremove=override.autoremove,
        download_first=override.download_first,
    )


def scope_override(message: host_pb2.ScopeOverride) -> ScopeOverride:
    """A scope override that a server stores."""
    return ScopeOverride(
        security_only=message.security_only if message.HasField("security_only") else None,
        include=tuple(message.include),
        exclude=tuple(message.exclude),
        ignore_policy_packages=message.ignore_policy_packages,
        allow_removals=message.allow_removals if message.HasField("allow_removals") else None,
        autoremove=message.autoremove if message.HasField("autoremove") else None,
        download_first=message.download_first if message.HasField("download_first") else None,
    )


def filter_message(selection: HostFilter) -> host_pb2.HostFilter:
    """A filter for a request."""
    return host_pb2.HostFilter(
        names=selection.names,
        all_tags=selection.all_tags,
        any_tags=selection.any_tags,
        groups=selection.groups,
        states=[STATE_NUMBERS[state] for state in selection.states],
        exclude_hosts=selection.exclude_hosts,
        reboot_needed=selection.reboot_needed,
        name_prefix=selection.name_prefix,
        selection=selection.selection,
    )


def host_filter(message: host_pb2.HostFilter) -> HostFilter:
    """A filter that a server keeps."""
    return HostFilter(
        names=tuple(message.names),
        all_tags=tuple(message.all_tags),
        any_tags=tuple(message.any_tags),
        groups=tuple(message.groups),
        states=tuple(state(number) for number in message.states),
        exclude_hosts=tuple(message.exclude_hosts),
        reboot_needed=message.reboot_needed if message.HasField("reboot_needed") else None,
        name_prefix=message.name_prefix,
        selection=message.selection,
    )


def selection(message: selection_service_pb2.Selection) -> Selection:
    """A saved selection."""
    return Selection(
        name=message.name,
        filter=host_filter(message.filter),
        changed_by=message.changed_by,
        changed_at=instant(message, "changed_at"),
        revision=message.revision,
        etag=message.etag,
        warnings=tuple(message.warnings),
        incomplete=message.incomplete,
    )


def selection_changed(message: event_pb2.SelectionChanged) -> SelectionChanged:
    """A change of a saved selection as clients see it."""
    return SelectionChanged(
        selection=message.selection,
        change=_change(message.change),
        message=message.message,
        by=message.by,
        changes=field_changes(message.changes),
    )
