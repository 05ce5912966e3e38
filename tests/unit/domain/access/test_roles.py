"""Roles: what each permits."""

import pytest

from tendhost.server.domain.access.roles import PERMISSIONS, CallPermission, Role, permitted


@pytest.mark.parametrize("role", Role)
def test_role__permits_what_its_row_says_and_nothing_else(role: Role):
    for permission in CallPermission:
        free = permission in (CallPermission.NOTHING, CallPermission.CREDENTIAL)
        assert permitted(permission, {role}) is (free or permission in PERMISSIONS[role])


def test_nobody__has_a_permission_without_a_role():
    assert [p for p in CallPermission if permitted(p, ())] == [
        CallPermission.NOTHING,
        CallPermission.CREDENTIAL,
    ]


def test_admin__has_every_permission_that_any_role_has():
    assert all(PERMISSIONS[role] <= PERMISSIONS[Role.ADMIN] for role in Role)


def test_operator__does_not_approve_its_own_rollouts():
    assert not permitted(CallPermission.APPROVE, {Role.OPERATOR})
    assert permitted(CallPermission.APPROVE, {Role.OPERATOR, Role.APPROVER})
