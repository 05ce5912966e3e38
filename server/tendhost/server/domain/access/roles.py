"""Roles: which permissions a caller has. What no role permits is refused."""

from collections.abc import Collection, Mapping
from enum import StrEnum


class CallPermission(StrEnum):
    """What a method needs of its caller."""

    NOTHING = "nothing"
    """Everybody may call it, also without a credential."""
    CREDENTIAL = "credential"
    """Everybody with a valid credential may call it."""
    READ = "read"
    """See hosts, operations, rollouts, policies and events."""
    OPERATE = "operate"
    """Start, retry and cancel work on hosts, and change rollouts, schedules and selections."""
    APPROVE = "approve"
    """Approve the waves of rollouts."""
    ADMINISTER = "administer"
    """Register and configure hosts, change policies, and create and delete tokens."""


class Role(StrEnum):
    """What a credential is issued for. A credential may have several roles."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    APPROVER = "approver"
    ADMIN = "admin"


PERMISSIONS: Mapping[Role, frozenset[CallPermission]] = {
    Role.VIEWER: frozenset({CallPermission.READ}),
    Role.OPERATOR: frozenset({CallPermission.READ, CallPermission.OPERATE}),
    Role.APPROVER: frozenset({CallPermission.READ, CallPermission.APPROVE}),
    Role.ADMIN: frozenset(
        {
            CallPermission.READ,
            CallPermission.OPERATE,
            CallPermission.APPROVE,
            CallPermission.ADMINISTER,
        }
    ),
}
"""The permissions of each role, beyond those that need no role."""


def permitted(permission: CallPermission, roles: Collection[Role]) -> bool:
    """Whether a caller with a valid credential and these roles has `permission`."""
    if permission in (CallPermission.NOTHING, CallPermission.CREDENTIAL):
        return True
    return any(permission in PERMISSIONS[role] for role in roles)


def roles_with(permission: CallPermission) -> tuple[Role, ...]:
    """The roles that have `permission`, the least powerful first."""
    return tuple(role for role in Role if permission in PERMISSIONS[role])
