"""The permission that each method needs, in one table. A method that is not in it is refused to everybody."""

from collections.abc import Mapping

from tendhost.server.domain.access.roles import CallPermission

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

PERMISSIONS: Mapping[str, CallPermission] = {
    f"/{service}/{method}": permission
    for permission, services in _METHODS.items()
    for service, methods in services.items()
    for method in methods
}
"""By the full name of the method, as gRPC gives it: "/tendhost.v1.HostService/GetHost"."""
