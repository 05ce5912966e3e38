"""Group policies and effective policies, between messages and domain values."""

from collections.abc import Sequence

from tendhost.server.domain.bounds import text
from tendhost.server.domain.hosts.amendments import WindowChange
from tendhost.server.domain.hosts.group_policy import (
    EffectivePolicy,
    GroupPolicy,
    Source,
    Sourced,
    SourceKind,
)
from tendhost.server.domain.hosts.group_policy_change import FreezeChange, GroupPolicyChange
from tendhost.server.domain.policy.health_checks import HealthChecks
from tendhost.server.domain.policy.hooks import Hook, Hooks
from tendhost.server.domain.request_errors import FieldViolation, InvalidArgument
from tendhost.server.engine.fleet.policies import PolicyView
from tendhost.server.rpc.convert.common import duration, numbers, timestamp
from tendhost.server.rpc.convert.health import check_message, health_checks, health_checks_message
from tendhost.server.rpc.convert.hooks import hook_message, hooks, hooks_message
from tendhost.server.rpc.convert.whole import whole
from tendhost.server.rpc.convert.windows import freeze_message, freezes, window_message, windows
from tendhost.v1 import policy_pb2 as pb
from tendhost.v1 import policy_service_pb2

_SOURCE_KIND = numbers(SourceKind, pb.PolicySourceKind)


def group_policy(message: pb.GroupPolicy) -> GroupPolicy:
    """The policy in a request, without `changed_by` and `changed_at`. Raises InvalidArgument."""
    return GroupPolicy(
        group=message.group,
        windows=windows(message.windows),
        freezes=freezes(message.freezes, "policy.freezes"),
        hooks=hooks(message.hooks),
        health_checks=health_checks(message.health_checks),
    )


def group_policy_change(request: policy_service_pb2.SetPolicyRequest) -> GroupPolicyChange:
    """The change that a request asks for. Raises InvalidArgument."""
    masked = request.HasField("update_mask")
    lists = (
        *(request.add_windows, request.remove_windows),
        *(request.add_freezes, request.remove_freezes),
    )
    if masked and not request.update_mask.paths and not any(lists):
        words = "names no field; expected one, or something to add or remove"
        raise InvalidArgument(FieldViolation("update_mask", words))
    return GroupPolicyChange(
        given=group_policy(request.policy),
        mask=tuple(request.update_mask.paths) if masked else None,
        windows=WindowChange(
            added=windows(request.add_windows), removed=windows(request.remove_windows)
        ),
        freezes=FreezeChange(
            added=freezes(request.add_freezes, "add_freezes"),
            removed=tuple(request.remove_freezes),
        ),
        etag=request.policy.etag,
    )


def _unread_group_policy(value: GroupPolicy | str, why: str) -> pb.GroupPolicy:
    return pb.GroupPolicy(
        group=text(value if isinstance(value, str) else value.group), incomplete=why
    )


@whole(_unread_group_policy)
def group_policy_message(value: GroupPolicy, warnings: Sequence[str] = ()) -> pb.GroupPolicy:
    """A group policy as clients see it."""
    said = value.health_checks
    return pb.GroupPolicy(
        group=value.group,
        windows=map(window_message, value.windows),
        freezes=map(freeze_message, value.freezes),
        hooks=hooks_message(value.hooks) if value.hooks != Hooks() else None,
        health_checks=health_checks_message(said) if said != HealthChecks() else None,
        changed_by=value.changed_by,
        changed_at=timestamp(value.changed_at),
        revision=value.revision,
        etag=value.etag,
        warnings=warnings,
    )


def _unread_policy(view: PolicyView | str, why: str) -> pb.EffectivePolicy:
    host = view if isinstance(view, str) else view.host
    return pb.EffectivePolicy(host=text(host), incomplete=why)


@whole(_unread_policy)
def policy_message(view: PolicyView) -> pb.EffectivePolicy:
    """An effective policy as clients see it."""
    message = _effective_message(view.policy)
    message.host = view.host
    message.update_allowed = view.availability is None
    if view.availability is not None:
        message.detail = view.availability.message
        opens_at = timestamp(view.availability.until)
        if opens_at is not None:
            message.opens_at.CopyFrom(opens_at)
    return message


def _effective_message(policy: EffectivePolicy) -> pb.EffectivePolicy:
    message = pb.EffectivePolicy(pre_hook=_hook(policy.pre_hook), post_hook=_hook(policy.post_hook))
    for set_ in policy.windows:
        message.windows.add(windows=map(window_message, set_.value), source=_source(set_.source))
    for freeze in policy.freezes:
        message.freezes.add(freeze=freeze_message(freeze.value), source=_source(freeze.source))
    for check in policy.checks:
        message.checks.add(check=check_message(check.value), source=_source(check.source))
    if policy.settle is not None:
        message.settle.settle.CopyFrom(duration(policy.settle.value))
        message.settle.source.CopyFrom(_source(policy.settle.source))
    return message


def _hook(part: Sourced[Hook] | None) -> pb.EffectiveHook | None:
    if part is None:
        return None
    return pb.EffectiveHook(hook=hook_message(part.value), source=_source(part.source))


def _source(source: Source) -> pb.PolicySource:
    return pb.PolicySource(kind=_SOURCE_KIND[source.kind], group=source.group)
