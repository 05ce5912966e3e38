"""What each method needs of its caller, in tables.

PERMISSIONS has the permission that it needs: a method that is not in it is refused to everybody. REACH says how the
scope of a caller that is bound to hosts limits it: a method that is not in it is refused to every bound caller, with
the words that UNSCOPED has for it.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar

from tendhost.server.domain.access.roles import CallPermission


class Reach(StrEnum):
    """How a method is limited to the hosts that its caller is bound to."""

    NO_HOST = "no host"
    """It is about no host."""
    HOST = "host"
    """`name`, or `host` in a service of others than hosts, is a host. One that the scope does not have is not found,
    before anything else is looked at."""
    OPERATION = "operation"
    """`id` is an operation. One on a host that the scope does not have is not found, in the same way."""
    ROLLOUT = "rollout"
    """`id` is a rollout. One whose scope is not within the caller's is not found, in the same way."""
    PLAN = "plan"
    """`plan_id`, if given, is a plan of a rollout. It is found as a rollout is."""
    SCHEDULE = "schedule"
    """`name` is a schedule. It is found as a rollout is."""
    NARROWED = "narrowed"
    """Its servicer reads the hosts of the scope only."""


T = TypeVar("T")


def _by_full_name(table: Mapping[T, Mapping[str, tuple[str, ...]]]) -> dict[str, T]:
    return {
        f"/{service}/{method}": needed
        for needed, services in table.items()
        for service, methods in services.items()
        for method in methods
    }


_METHODS: Mapping[CallPermission, Mapping[str, tuple[str, ...]]] = {
    CallPermission.NOTHING: {
        # For load balancers and probes, which have no credentials. It tells that a server serves, no more.
        "grpc.health.v1.Health": ("Check", "Watch"),
    },
    CallPermission.CREDENTIAL: {
        "grpc.reflection.v1.ServerReflection": ("ServerReflectionInfo",),
        "grpc.reflection.v1alpha.ServerReflection": ("ServerReflectionInfo",),
        "tendhost.v1.AccessService": ("GetCaller",),
    },
    CallPermission.READ: {
        "tendhost.v1.EventService": ("WatchEvents",),
        "tendhost.v1.HostService": (
            "ExplainHost",
            "GetCompliance",
            "GetHost",
            "GetInventory",
            "ListGroups",
            "ListHosts",
            "ListPendingUpdates",
            "ListTags",
        ),
        "tendhost.v1.OperationService": (
            "GetOperation",
            "ListOperations",
            "WaitOperation",
            "WatchOperation",
        ),
        "tendhost.v1.PolicyService": ("GetEffectivePolicy", "GetPolicy", "ListPolicies"),
        "tendhost.v1.RolloutService": (
            "GetRollout",
            "GetRolloutReport",
            "ListRollouts",
            "PlanRollout",
            "WatchRollout",
        ),
        "tendhost.v1.ScheduleService": ("GetSchedule", "ListSchedules"),
        "tendhost.v1.SelectionService": ("GetSelection", "ListSelections"),
        "tendhost.v1.SystemService": ("GetServerInfo",),
    },
    CallPermission.OPERATE: {
        "tendhost.v1.HostService": (
            "AcknowledgeHost",
            "RetryHost",
            "RunOsquery",  # it reads any file of the host, as root
            "StartCheck",
            "StartQuery",
            "StartReboot",
            "StartUpdate",
            "TestHost",
        ),
        "tendhost.v1.OperationService": ("CancelOperation",),
        "tendhost.v1.RolloutService": (
            "CancelRollout",
            "PauseRollout",
            "ResumeRollout",
            "RetryRollout",
            "SkipRolloutHost",
            "StartRollout",
        ),
        "tendhost.v1.ScheduleService": (
            "CreateSchedule",
            "DeleteSchedule",
            "PauseSchedule",
            "ResumeSchedule",
            "UpdateSchedule",
        ),
        "tendhost.v1.SelectionService": ("CreateSelection", "DeleteSelection", "UpdateSelection"),
    },
    CallPermission.APPROVE: {
        "tendhost.v1.RolloutService": ("ApproveWave",),
    },
    CallPermission.ADMINISTER: {
        "tendhost.v1.AccessService": (
            "CreateToken",
            "DeleteToken",
            "ListAuditRecords",
            "ListTokens",
        ),
        # What is configured there runs as root on hosts: hooks, addresses, users.
        "tendhost.v1.HostService": (
            "GetLoginFiles",  # for those who set up hosts; it names the hosts behind a jump
            "ReconfigureHost",
            "RegisterHost",
            "UnregisterHost",
        ),
        "tendhost.v1.PolicyService": ("DeletePolicy", "SetPolicy"),
    },
}

PERMISSIONS: Mapping[str, CallPermission] = _by_full_name(_METHODS)
"""By the full name of the method, as gRPC gives it: "/tendhost.v1.HostService/GetHost"."""

_REACH: Mapping[Reach, Mapping[str, tuple[str, ...]]] = {
    Reach.NO_HOST: {
        "grpc.reflection.v1.ServerReflection": ("ServerReflectionInfo",),
        "grpc.reflection.v1alpha.ServerReflection": ("ServerReflectionInfo",),
        "tendhost.v1.AccessService": ("GetCaller",),
    },
    Reach.HOST: {
        "tendhost.v1.HostService": (
            "AcknowledgeHost",
            "ExplainHost",
            "GetHost",
            "GetInventory",
            "RetryHost",
            "RunOsquery",
            "StartCheck",
            "StartQuery",
            "StartReboot",
            "StartUpdate",
            "TestHost",
        ),
        "tendhost.v1.PolicyService": ("GetEffectivePolicy",),
    },
    Reach.OPERATION: {
        "tendhost.v1.OperationService": (
            "CancelOperation",
            "GetOperation",
            "WaitOperation",
            "WatchOperation",
        ),
    },
    Reach.ROLLOUT: {
        "tendhost.v1.RolloutService": (
            "ApproveWave",
            "CancelRollout",
            "GetRollout",
            "GetRolloutReport",
            "PauseRollout",
            "ResumeRollout",
            "RetryRollout",
            "SkipRolloutHost",
            "WatchRollout",
        ),
    },
    Reach.SCHEDULE: {
        "tendhost.v1.ScheduleService": (
            "DeleteSchedule",
            "GetSchedule",
            "PauseSchedule",
            "ResumeSchedule",
            "UpdateSchedule",
        ),
    },
    Reach.PLAN: {
        "tendhost.v1.RolloutService": ("PlanRollout", "StartRollout"),
    },
    Reach.NARROWED: {
        "tendhost.v1.EventService": ("WatchEvents",),
        "tendhost.v1.HostService": (
            "GetCompliance",
            "ListGroups",
            "ListHosts",
            "ListPendingUpdates",
            "ListTags",
        ),
        "tendhost.v1.OperationService": ("ListOperations",),
        "tendhost.v1.RolloutService": ("ListRollouts",),
        "tendhost.v1.ScheduleService": ("CreateSchedule", "ListSchedules"),
        "tendhost.v1.SystemService": ("GetServerInfo",),
    },
}

REACH: Mapping[str, Reach] = _by_full_name(_REACH)
"""By the full name of the method, as PERMISSIONS."""

_UNSCOPED: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "saved selections are shared by all callers and may name any host": {
        "tendhost.v1.SelectionService": (
            "CreateSelection",
            "DeleteSelection",
            "GetSelection",
            "ListSelections",
            "UpdateSelection",
        ),
    },
    "policies are for all hosts of a group, or for the whole fleet": {
        "tendhost.v1.PolicyService": (
            "DeletePolicy",
            "GetPolicy",
            "ListPolicies",
            "SetPolicy",
        ),
    },
    "tokens and audit records are about all hosts": {
        "tendhost.v1.AccessService": (
            "CreateToken",
            "DeleteToken",
            "ListAuditRecords",
            "ListTokens",
        ),
    },
    "it decides which hosts there are, how they are labelled, and so which of them tokens are bound to": {
        "tendhost.v1.HostService": ("ReconfigureHost", "RegisterHost", "UnregisterHost"),
    },
    "it names the hosts behind a jump": {
        "tendhost.v1.HostService": ("GetLoginFiles",),
    },
}

UNSCOPED: Mapping[str, str] = _by_full_name(_UNSCOPED)
"""Why each method that is in PERMISSIONS and not in REACH is refused to bound callers, by its full name."""
