"""What `tendhost.client` exports: programs import it from there, so none of it goes away."""

import ast
import dataclasses
import inspect
import re
from pathlib import Path

import pytest
from google.protobuf.message import Message

from tendhost import client

EXPORTS = {
    "CheckResult",
    "HealthCheck",
    "HealthChecks",
    "Hook",
    "Hooks",
    "HttpProbe",
    "TcpProbe",
    "DEFAULT_TARGET",
    "Advisory",
    "Caller",
    "Connection",
    "CertificateExpiring",
    "CertificateUse",
    "CredentialKind",
    "AuditRecord",
    "AuditSink",
    "NewToken",
    "Role",
    "Token",
    "Unauthenticated",
    "AfterInterruption",
    "AlreadyExists",
    "AuthenticationRefused",
    "Client",
    "ComposeProject",
    "ComposeService",
    "ComposeVersion",
    "Conflict",
    "Container",
    "CursorLost",
    "EtagMismatch",
    "Event",
    "EventBody",
    "EventStream",
    "Failure",
    "Hardware",
    "HealthResult",
    "Host",
    "Duplicate",
    "DuplicatesChanged",
    "HostAcknowledged",
    "HostBusy",
    "HostConnected",
    "HostDisconnected",
    "HostFilter",
    "HostKeyChanged",
    "HostProblem",
    "HostReconfigured",
    "HostSettings",
    "HostRegistered",
    "HostState",
    "HostTest",
    "LoginFiles",
    "HostUnreachable",
    "HostUnregistered",
    "Image",
    "Interface",
    "InvalidRequest",
    "Inventory",
    "InventoryPart",
    "LimitReached",
    "LogChunk",
    "MaintenanceWindow",
    "Mount",
    "NotAllowedNow",
    "NotFound",
    "NotImplementedByServer",
    "PermissionDenied",
    "NotificationTarget",
    "Operation",
    "OperationChanged",
    "OperationHandle",
    "OperationKind",
    "OperationProgress",
    "OperationStatus",
    "Package",
    "PackageChange",
    "PendingEntry",
    "PendingGrouping",
    "PendingPackage",
    "PendingUpdates",
    "Problem",
    "Progress",
    "ProjectChange",
    "ProjectOutcome",
    "Reboot",
    "RebootNeed",
    "RebootOutcome",
    "RestartServices",
    "Rollback",
    "RootAccess",
    "Rollout",
    "RolloutChanged",
    "RolloutHost",
    "RolloutHostStatus",
    "RolloutStatus",
    "RolloutUpdate",
    "ServerFailed",
    "ServerFault",
    "EventLoopLag",
    "ServerCertificate",
    "ServerInfo",
    "ServerUnavailable",
    "ServerUnreachable",
    "ServiceChange",
    "Severity",
    "Snapshot",
    "Snapshots",
    "StateChanged",
    "Step",
    "StepRetried",
    "StepStatus",
    "TendhostError",
    "WatcherTooSlow",
    "Unrecognized",
    "UpdateCompleted",
    "UpdateProgress",
    "UndoneChange",
    "UpdateResult",
    "UpdateScope",
    "Violation",
    "Withheld",
    "DisruptionBudget",
    "PlannedHostCondition",
    "Halt",
    "HaltCause",
    "HostOrder",
    "Exclusion",
    "PlannedHost",
    "RolloutDependency",
    "RolloutPlan",
    "RolloutSpec",
    "RolloutStage",
    "RolloutWave",
    "WaitingFor",
    "Compliance",
    "Explanation",
    "OverdueHost",
    "Reason",
    "ReasonKind",
    "ReportCause",
    "ReportPackage",
    "RolloutReport",
    "ScopeOverride",
    "MissedRuns",
    "RunOutcome",
    "Schedule",
    "ScheduleChange",
    "ScheduleChanged",
    "ScheduledRun",
    "ScheduleSpec",
    "ScheduleStatus",
    "Selection",
    "SelectionChange",
    "SelectionChanged",
    "GroupPolicy",
    "PolicyChanged",
    "EffectiveCheck",
    "EffectiveFreeze",
    "EffectiveHook",
    "EffectivePolicy",
    "EffectiveSettle",
    "EffectiveWindows",
    "FieldChange",
    "FormerLabels",
    "FreezePeriod",
    "PolicySource",
    "PolicySourceKind",
    "retry_on_conflict",
}
METHODS = {
    "add_host",
    "get_host",
    "hosts",
    "reconfigure_host",
    "remove_host",
    "login_files",
    "groups",
    "tags",
    "inventory",
    "pending_updates",
    "osquery",
    "test_host",
    "query",
    "update",
    "reboot",
    "change_policy",
    "check",
    "retry",
    "acknowledge",
    "operation",
    "operations",
    "plan_rollout",
    "rollout_report",
    "explain",
    "compliance",
    "planned_hosts",
    "start_rollout",
    "approve_wave",
    "skip_rollout_host",
    "retry_rollout",
    "get_rollout",
    "rollout_hosts",
    "rollouts",
    "pause_rollout",
    "resume_rollout",
    "cancel_rollout",
    "watch_rollout",
    "create_schedule",
    "get_schedule",
    "schedules",
    "update_schedule",
    "pause_schedule",
    "resume_schedule",
    "delete_schedule",
    "caller",
    "create_token",
    "tokens",
    "delete_token",
    "audit_records",
    "create_selection",
    "get_selection",
    "selections",
    "update_selection",
    "delete_selection",
    "get_policy",
    "set_policy",
    "policies",
    "delete_policy",
    "effective_policy",
    "events",
    "info",
}
EXPORTED = [getattr(client, name) for name in sorted(EXPORTS)]
RECORDS = [kind for kind in EXPORTED if dataclasses.is_dataclass(kind)]


def test_exports_are_those_that_programs_rely_on():
    assert set(client.__all__) == EXPORTS
    assert len(client.__all__) == len(EXPORTS)


def test_client_has_the_methods_that_programs_rely_on():
    public = {name for name, _ in inspect.getmembers(client.Client, inspect.isfunction)}
    assert {name for name in public if not name.startswith("_")} == METHODS


@pytest.mark.parametrize("kind", RECORDS, ids=lambda kind: kind.__name__)
def test_records_are_frozen_and_say_what_they_are(kind):
    assert kind.__dataclass_params__.frozen
    assert hasattr(kind, "__slots__")
    assert kind.__doc__
    assert not kind.__doc__.startswith(f"{kind.__name__}(")


def test_every_error_is_a_tendhost_error():
    kinds = [kind for kind in EXPORTED if inspect.isclass(kind) and issubclass(kind, Exception)]
    assert len(kinds) == 22
    assert all(issubclass(kind, client.TendhostError) for kind in kinds)


def test_no_protobuf_reaches_the_hands_of_a_user():
    for kind in EXPORTED:
        assert not (inspect.isclass(kind) and issubclass(kind, Message))
    for name, method in inspect.getmembers(client.Client, inspect.isfunction):
        if name in METHODS:
            told = str(inspect.signature(method))
            assert "pb2" not in told, name


BLOCKS = re.findall(r"```python\n(.*?)```", Path("docs/sdk.md").read_text(), re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.partition("\n")[0])
def test_example_of_the_sdk__imports_what_it_uses(block: str) -> None:
    tree = compile(block, "sdk.md", "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    found = list(ast.walk(tree))
    imported = {
        alias.name for node in found if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    used = {node.id for node in found if isinstance(node, ast.Name)}
    assert {name for name in used if hasattr(client, name)} <= imported
    assert {name for name in imported if not hasattr(client, name)} == set()
