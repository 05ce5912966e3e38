"""Between domain values and messages: nothing of the domain is without its word in the contract."""

import typing
from dataclasses import fields
from datetime import UTC, datetime, time, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tendhost.server.domain import events
from tendhost.server.domain.access.certificate_expiry import CertificateUse
from tendhost.server.domain.changes import FieldChange
from tendhost.server.domain.events import Event, EventBody
from tendhost.server.domain.hosts.host import (
    Duplicate,
    Host,
    HostConfig,
    HostStatus,
    Policy,
    Problem,
)
from tendhost.server.domain.hosts.states import HostState
from tendhost.server.domain.inventory.inventory import PendingPackage, RebootNeed, Withheld
from tendhost.server.domain.operations.operation import (
    Operation,
    OperationKind,
    OperationStatus,
    UpdateResult,
)
from tendhost.server.domain.operations.step_traits import StepName
from tendhost.server.domain.policy.windows import MaintenanceWindow, Weekday
from tendhost.server.domain.rollouts.rollout import RolloutProgress, RolloutStatus
from tendhost.server.rpc.convert import events as convert_events
from tendhost.server.rpc.convert import hosts as convert_hosts
from tendhost.server.rpc.convert import operations as convert_operations
from tendhost.server.rpc.convert.common import timestamp
from tendhost.v1 import event_pb2, host_pb2, operation_pb2

NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
CHANGES = (FieldChange(path="tags", old="a", new="b"),)
BODIES: dict[type, EventBody] = {
    events.HostRegistered: events.HostRegistered(by="sam", host_key_fingerprint="SHA256:x"),
    events.HostUnregistered: events.HostUnregistered(
        by="sam", former_labels=events.FormerLabels(groups=("web",), tags=("prod",))
    ),
    events.HostReconfigured: events.HostReconfigured(
        fields=("tags", "policy"), by="sam", changes=CHANGES, former_labels=events.FormerLabels()
    ),
    events.HostAcknowledged: events.HostAcknowledged(by="sam"),
    events.DuplicatesChanged: events.DuplicatesChanged(
        duplicate_of=(Duplicate(host="web2", host_key=True, address=True, machine_id=True),)
    ),
    events.HostDisconnected: events.HostDisconnected(reason="reboot"),
    events.StateChanged: events.StateChanged(
        origin=HostState.IDLE, to=HostState.QUERYING, cause="query"
    ),
    events.UpdateProgress: events.UpdateProgress(package="web", percent=50, phase="unpack"),
    events.UpdateCompleted: events.UpdateCompleted(result=UpdateResult(success=True)),
    events.OperationChanged: events.OperationChanged(
        kind=OperationKind.UPDATE,
        status=OperationStatus.RUNNING,
        step=StepName.REBOOT_CHECK,
        message="words",
    ),
    events.StepRetried: events.StepRetried(
        step=StepName.LIST,
        attempt=2,
        pause=timedelta(seconds=4),
        problem=Problem(reason="REFRESH_FAILED", message="no answer"),
    ),
    events.RolloutChanged: events.RolloutChanged(
        status=RolloutStatus.PAUSED,
        progress=RolloutProgress(total_hosts=5, pending=3, in_progress=2),
        wave=0,
        waves=3,
        message="paused by alex",
        held_up="1 of all 2 hosts are down, and at most 1 may be",
    ),
    events.SelectionChanged: events.SelectionChanged(
        selection="canaries",
        change=events.SelectionChange.UPDATED,
        message="by alex",
        by="alex",
        changes=CHANGES,
    ),
    events.PolicyChanged: events.PolicyChanged(
        group="db", by="alex", deleted=True, changes=CHANGES
    ),
    events.CertificateExpiring: events.CertificateExpiring(
        use=CertificateUse.CLIENT_CA, file="/etc/ca.pem", expires_at=NOW, message="words"
    ),
    events.ScheduleChanged: events.ScheduleChanged(
        schedule="nightly",
        change=events.ScheduleChange.SKIPPED,
        next_at=NOW,
        message="the former rollout has not ended",
        by="alex",
        changes=CHANGES,
    ),
}


@pytest.mark.parametrize("kind", typing.get_args(EventBody))
def test_every_event_has_a_body_of_its_own_in_the_contract(kind: type):
    body = BODIES.get(kind) or kind()
    message = convert_events.event_message(
        Event(at=NOW, body=body, host="web1", operation="o", rollout="r", revision=7)
    )
    field = message.WhichOneof("body")
    assert field is not None
    assert field.replace("_", "") == kind.__name__.lower()
    assert (message.revision, message.host) == (7, "web1")
    assert (message.operation_id, message.rollout_id) == ("o", "r")
    # Whatever the domain says of it is said on the wire as well.
    filled = {f.name for f, _ in getattr(message, field).ListFields()}
    names = {"origin": "from_state", "to": "to_state", "waves": "wave_count"}
    expected = {names.get(f.name, f.name) for f in fields(body)}
    assert filled == expected


def test_every_body_of_the_contract_is_one_of_the_domains():
    (oneof,) = event_pb2.Event.DESCRIPTOR.oneofs
    assert len(oneof.fields) == len(typing.get_args(EventBody))


@given(
    st.datetimes(
        min_value=datetime(1, 1, 1),  # noqa: DTZ001  # the strategy adds the zone
        timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30))]),
    )
)
def test_a_timestamp_is_the_same_instant(at: datetime):
    message = timestamp(at)
    assert message is not None
    assert message.ToDatetime(tzinfo=UTC) == at


def test_what_has_no_time_has_no_timestamp():
    assert timestamp(None) is None


@pytest.mark.parametrize("auto_reboot", [True, False])
def test_a_configuration_comes_back_as_it_was_sent(auto_reboot: bool):
    window = MaintenanceWindow(
        start=time(22),
        end=time(4, 30),
        days=frozenset({Weekday.SUNDAY, Weekday.FRIDAY}),
        time_zone="Europe/Vienna",
    )
    config = HostConfig(
        name="web1",
        address="192.0.2.1",
        port=2222,
        user="alex",
        ssh_key="/keys/web",
        jump="bastion",
        compose_paths=("/srv/b", "/srv/a"),
        tags=("a", "b"),
        groups=("g",),
        policy=Policy(auto_reboot=auto_reboot, windows=(window,)),
    )
    host = Host(config=config, host_key="ssh-ed25519 AAAA", registered_at=NOW)
    assert convert_hosts.host_config(convert_hosts.host_message(host).config) == config


def test_an_empty_configuration_gets_the_defaults():
    config = convert_hosts.host_config(host_pb2.HostConfig(name="web1", address="192.0.2.1"))
    assert config == HostConfig(name="web1", address="192.0.2.1")


def test_a_host_that_was_never_checked_is_neither_healthy_nor_not():
    for healthy in (None, True, False):
        host = Host(
            config=HostConfig(name="web1", address="a"),
            host_key="",
            registered_at=NOW,
            status=HostStatus(healthy=healthy),
        )
        status = convert_hosts.host_message(host).status
        assert status.HasField("healthy") is (healthy is not None)
        assert status.healthy is bool(healthy)


def test_a_dry_run_shows_what_would_change_and_that_nothing_did():
    planned = (
        PendingPackage(name="web", from_version="1", to_version="2"),
        PendingPackage(name="db", from_version="1", to_version="2", withheld=Withheld.PHASED),
    )
    operation = Operation(
        id="o",
        host="web1",
        kind=OperationKind.UPDATE,
        created_at=NOW,
        dry_run=True,
        update=UpdateResult(success=True, planned=planned, reboot_required=RebootNeed.UNKNOWN),
    )
    update = convert_operations.operation_message(operation).update
    assert [p.name for p in update.packages] == ["web"]
    assert [(p.name, p.withheld) for p in update.withheld] == [("db", host_pb2.WITHHELD_PHASED)]
    assert (update.upgraded_count, update.reboot_required) == (0, False)


def test_every_word_of_the_domain_has_its_number():
    assert (
        convert_operations.operation_message(
            Operation(id="o", host="h", kind=OperationKind.CHECK, created_at=NOW)
        ).kind
        == operation_pb2.OPERATION_KIND_CHECK
    )
    for status in OperationStatus:
        number = operation_pb2.OperationStatus.Value(f"OPERATION_STATUS_{status.name}")
        assert convert_operations.operation_statuses([number]) == (status,)
