"""Between messages and values: every word and every field of the contract has its place in the SDK."""

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest

from tendhost import client
from tendhost.client.convert import events as convert_events
from tendhost.client.convert import hosts as convert_hosts
from tendhost.client.convert import operations as convert_operations
from tendhost.client.convert import policies as convert_policies
from tendhost.client.convert import rollouts as convert_rollouts
from tendhost.client.convert import schedules as convert_schedules
from tendhost.client.convert import selections as convert_selections
from tendhost.v1 import (
    access_service_pb2,
    event_pb2,
    health_pb2,
    hook_pb2,
    host_pb2,
    host_service_pb2,
    operation_pb2,
    policy_pb2,
    rollout_pb2,
    schedule_pb2,
)
from tests.contract.client import messages

ENUMS = [
    (host_pb2.HostState, client.HostState),
    (host_pb2.RebootNeed, client.RebootNeed),
    (host_pb2.Withheld, client.Withheld),
    (host_pb2.Severity, client.Severity),
    (host_pb2.ComposeVersion, client.ComposeVersion),
    (host_pb2.RestartServices, client.RestartServices),
    (host_pb2.Snapshots, client.Snapshots),
    (host_pb2.Rollback, client.Rollback),
    (host_pb2.InventoryPart, client.InventoryPart),
    (host_service_pb2.RootAccess, client.RootAccess),
    (host_service_pb2.PendingGrouping, client.PendingGrouping),
    (operation_pb2.ProjectOutcome, client.ProjectOutcome),
    (operation_pb2.OperationKind, client.OperationKind),
    (operation_pb2.OperationStatus, client.OperationStatus),
    (operation_pb2.StepStatus, client.StepStatus),
    (rollout_pb2.RolloutStatus, client.RolloutStatus),
    (rollout_pb2.RolloutHostStatus, client.RolloutHostStatus),
    (schedule_pb2.MissedRuns, client.MissedRuns),
    (schedule_pb2.ScheduleStatus, client.ScheduleStatus),
    (schedule_pb2.RunOutcome, client.RunOutcome),
    (event_pb2.ScheduleChange, client.ScheduleChange),
    (access_service_pb2.Role, client.Role),
    (access_service_pb2.CredentialKind, client.CredentialKind),
    (event_pb2.SelectionChange, client.SelectionChange),
    (event_pb2.CertificateUse, client.CertificateUse),
    (policy_pb2.PolicySourceKind, client.PolicySourceKind),
]
BODIES = {
    "step_retried": client.StepRetried,
    "host_registered": client.HostRegistered,
    "host_unregistered": client.HostUnregistered,
    "host_reconfigured": client.HostReconfigured,
    "host_acknowledged": client.HostAcknowledged,
    "duplicates_changed": client.DuplicatesChanged,
    "host_connected": client.HostConnected,
    "host_disconnected": client.HostDisconnected,
    "state_changed": client.StateChanged,
    "update_progress": client.UpdateProgress,
    "update_completed": client.UpdateCompleted,
    "operation_changed": client.OperationChanged,
    "rollout_changed": client.RolloutChanged,
    "schedule_changed": client.ScheduleChanged,
    "selection_changed": client.SelectionChanged,
    "policy_changed": client.PolicyChanged,
    "certificate_expiring": client.CertificateExpiring,
}
NEWER = 99
"""A number that no enumeration of the contract has."""


@pytest.mark.parametrize(("wire", "kind"), ENUMS, ids=lambda kind: str(kind.__class__.__name__))
def test_every_word_of_the_contract_is_a_word_of_the_sdk(wire, kind):
    prefix = wire.keys()[0].removesuffix("UNSPECIFIED")
    words = {name.removeprefix(prefix).lower() for name in wire.keys()[1:]}
    ours = {str(member) for member in kind}
    assert words <= ours
    assert ours - words <= {"unrecognized", "no", "unknown"}


def test_words_are_written_as_users_know_them():
    assert str(client.HostState.PENDING_UPDATES) == "pending_updates"
    assert f"{client.OperationStatus.SUCCEEDED}" == "succeeded"


def test_every_step_of_the_contract_has_its_word():
    for name, number in operation_pb2.StepName.items():
        step = convert_operations.operation(
            messages.operation(
                steps=[operation_pb2.Step(name=number, status=operation_pb2.STEP_STATUS_RUNNING)]
            )
        ).steps[0]
        expected = "" if number == 0 else name.removeprefix("STEP_NAME_").lower()
        assert step.name == expected


def test_words_of_a_newer_server_do_not_break_anything():
    reboot = host_pb2.Reboot(need=NEWER)  # type: ignore[arg-type]
    host = convert_hosts.host(messages.host(state=NEWER, reboot=reboot))
    assert host.state is client.HostState.UNRECOGNIZED
    assert host.reboot.need is client.RebootNeed.UNKNOWN
    newer = operation_pb2.Operation(kind=NEWER, status=NEWER)  # type: ignore[arg-type]
    newer.steps.add(name=NEWER, status=NEWER)
    operation = convert_operations.operation(newer)
    assert operation.kind is client.OperationKind.UNRECOGNIZED
    assert operation.status is client.OperationStatus.UNRECOGNIZED
    assert not operation.ended
    assert (operation.steps[0].name, operation.steps[0].status) == ("99", "unrecognized")
    rollout = convert_rollouts.rollout(rollout_pb2.Rollout(status=NEWER))  # type: ignore[arg-type]
    assert rollout.status is client.RolloutStatus.UNRECOGNIZED
    member = convert_rollouts.rollout_host(rollout_pb2.RolloutHost(status=NEWER))  # type: ignore[arg-type]
    assert member.status is client.RolloutHostStatus.UNRECOGNIZED
    event = convert_events.event(event_pb2.Event(revision=7))
    assert (event.kind, event.body) == ("unrecognized", client.Unrecognized())


def test_every_event_of_the_contract_is_typed():
    fields = event_pb2.Event.DESCRIPTOR.oneofs_by_name["body"].fields
    assert {field.name for field in fields} == set(BODIES)


@pytest.mark.parametrize("kind", BODIES)
def test_event_is_of_the_class_that_its_kind_names(kind):
    message = event_pb2.Event(revision=7, host="web1", operation_id="op1", rollout_id="ro1")
    getattr(message, kind).SetInParent()
    event = convert_events.event(message)
    assert type(event.body) is BODIES[kind]
    assert event.kind == kind
    assert (event.revision, event.host, event.operation_id, event.rollout_id) == (
        *(7, "web1", "op1", "ro1"),
    )


def test_state_change_keeps_its_direction():
    states = {"from_state": host_pb2.HOST_STATE_IDLE, "to_state": host_pb2.HOST_STATE_QUERYING}
    change = event_pb2.StateChanged(cause="query", **states)
    body = convert_events.event(event_pb2.Event(state_changed=change)).body
    assert body == client.StateChanged(
        from_state=client.HostState.IDLE, to_state=client.HostState.QUERYING, cause="query"
    )


FIELDS = [
    (operation_pb2.Operation, client.Operation, set(), set()),
    (operation_pb2.UpdateResult, client.UpdateResult, set(), set()),
    (operation_pb2.HealthResult, client.HealthResult, set(), set()),
    (health_pb2.CheckResult, client.CheckResult, set(), set()),
    (health_pb2.HealthChecks, client.HealthChecks, set(), set()),
    (health_pb2.HealthCheck, client.HealthCheck, set(), set()),
    (health_pb2.TcpProbe, client.TcpProbe, set(), set()),
    (health_pb2.HttpProbe, client.HttpProbe, set(), set()),
    (hook_pb2.Hooks, client.Hooks, set(), set()),
    (hook_pb2.Hook, client.Hook, set(), set()),
    (operation_pb2.PackageChange, client.PackageChange, set(), set()),
    (operation_pb2.Step, client.Step, set(), set()),
    (host_pb2.PendingPackage, client.PendingPackage, set(), set()),
    (host_pb2.Advisory, client.Advisory, set(), set()),
    (host_pb2.Container, client.Container, set(), set()),
    (host_pb2.Image, client.Image, set(), set()),
    (host_pb2.ComposeProject, client.ComposeProject, set(), set()),
    (host_pb2.ComposeService, client.ComposeService, set(), set()),
    (host_pb2.Hardware, client.Hardware, set(), set()),
    (host_pb2.Mount, client.Mount, set(), set()),
    (host_pb2.Interface, client.Interface, set(), set()),
    (host_pb2.UpdateScope, client.UpdateScope, set(), set()),
    (host_service_pb2.PendingEntry, client.PendingEntry, set(), set()),
    (operation_pb2.ProjectChange, client.ProjectChange, set(), set()),
    (operation_pb2.ServiceChange, client.ServiceChange, set(), set()),
    (
        host_pb2.Inventory,
        client.Inventory,
        {"system", "outdated_services_known"},
        {field.name for field in host_pb2.SystemFacts.DESCRIPTOR.fields},
    ),
    (host_pb2.InstalledPackage, client.Package, set(), set()),
    (host_pb2.MaintenanceWindow, client.MaintenanceWindow, set(), set()),
    (host_pb2.Failure, client.Failure, set(), set()),
    (host_pb2.Problem, client.Problem, set(), set()),
    (host_pb2.Reboot, client.Reboot, set(), set()),
    (event_pb2.FieldChange, client.FieldChange, set(), set()),
    (event_pb2.HostReconfigured, client.HostReconfigured, set(), set()),
    (event_pb2.PolicyChanged, client.PolicyChanged, set(), set()),
    (event_pb2.CertificateExpiring, client.CertificateExpiring, set(), set()),
    (host_pb2.HostFilter, client.HostFilter, set(), set()),
    (policy_pb2.GroupPolicy, client.GroupPolicy, set(), set()),
    (policy_pb2.FreezePeriod, client.FreezePeriod, set(), set()),
    (policy_pb2.PolicySource, client.PolicySource, set(), set()),
    (policy_pb2.EffectivePolicy, client.EffectivePolicy, set(), set()),
    (policy_pb2.EffectiveWindows, client.EffectiveWindows, set(), set()),
    (policy_pb2.EffectiveFreeze, client.EffectiveFreeze, set(), set()),
    (policy_pb2.EffectiveHook, client.EffectiveHook, set(), set()),
    (policy_pb2.EffectiveCheck, client.EffectiveCheck, set(), set()),
    (policy_pb2.EffectiveSettle, client.EffectiveSettle, set(), set()),
    (rollout_pb2.RolloutHost, client.RolloutHost, set(), set()),
    (rollout_pb2.RolloutProgress, client.Progress, set(), set()),
    (rollout_pb2.Rollout, client.Rollout, set(), set()),
    (host_pb2.ScopeOverride, client.ScopeOverride, set(), set()),
    (rollout_pb2.RolloutSpec, client.RolloutSpec, set(), set()),
    (rollout_pb2.RolloutStage, client.RolloutStage, set(), set()),
    (rollout_pb2.RolloutDependency, client.RolloutDependency, set(), set()),
    (rollout_pb2.DisruptionBudget, client.DisruptionBudget, set(), set()),
    (rollout_pb2.RolloutWave, client.RolloutWave, set(), set()),
    (rollout_pb2.RolloutPlan, client.RolloutPlan, set(), set()),
    (rollout_pb2.PlannedHost, client.PlannedHost, set(), set()),
    (rollout_pb2.Halt, client.Halt, set(), set()),
]


@pytest.mark.parametrize(
    ("wire", "kind", "unpacked", "from_them"),
    FIELDS,
    ids=lambda kind: getattr(kind, "__name__", ""),
)
def test_every_field_of_the_contract_is_a_field_of_the_value(wire, kind, unpacked, from_them):
    said = {field.name for field in wire.DESCRIPTOR.fields} - unpacked | from_them
    assert {field.name for field in dataclasses.fields(kind)} == said


def test_a_host_is_its_configuration_and_its_status_in_one():
    said = {"host_key_fingerprint", "registered_at", "revision", "etag", "auto_reboot"}
    said |= {"host_key_fingerprints", "host_key_certified", "incomplete"}
    said |= {field.name for field in host_pb2.HostConfig.DESCRIPTOR.fields} - {"policy"}
    said |= {field.name for field in host_pb2.Policy.DESCRIPTOR.fields}
    said |= {field.name for field in host_pb2.HostStatus.DESCRIPTOR.fields}
    assert {field.name for field in dataclasses.fields(client.Host)} == said


def test_what_is_absent_is_none_and_not_the_beginning_of_time():
    host = convert_hosts.host(messages.host())
    assert (host.last_updated, host.queried_at, host.healthy, host.failure) == (None,) * 4
    assert host.windows == ()
    assert host.registered_at == datetime(2027, 1, 15, 8, tzinfo=UTC)
    operation = convert_operations.operation(messages.operation())
    assert (operation.ended_at, operation.problem, operation.update) == (None, None, None)


def test_unhealthy_is_not_the_same_as_never_checked():
    assert convert_hosts.host(messages.host(healthy=False)).healthy is False


def test_window_survives_the_way_there_and_back():
    window = client.MaintenanceWindow(
        start="22:00",
        end="04:00",
        days=("sat", "sun"),
        time_zone="Europe/Vienna",
        cutoff=timedelta(minutes=30),
    )
    message = messages.host()
    message.config.policy.windows.append(convert_policies.window_message(window))
    assert convert_hosts.host(message).windows == (window,)


def test_day_that_there_is_not_is_refused():
    window = client.MaintenanceWindow(start="22:00", end="04:00", days=("saturday",))
    with pytest.raises(ValueError, match="'saturday' is no day: expected one of mon, tue"):
        convert_policies.window_message(window)


@pytest.mark.parametrize(
    "send",
    [
        lambda: convert_selections.filter_message(
            client.HostFilter(states=(client.HostState.UNRECOGNIZED,))
        ),
        lambda: convert_rollouts.spec_message(
            client.RolloutSpec(order=client.HostOrder.UNRECOGNIZED)
        ),
        lambda: convert_schedules.spec_message(
            client.ScheduleSpec(name="n", cron="0 3 * * *", missed=client.MissedRuns.UNRECOGNIZED)
        ),
    ],
)
def test_value_of_a_newer_server__cannot_be_sent_back_and_says_so(send):
    with pytest.raises(ValueError, match="UNRECOGNIZED: 'unrecognized'> cannot be sent"):
        send()
