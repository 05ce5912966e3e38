"""Messages of the contract for the mock to answer with."""

from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from tendhost.v1 import (
    event_pb2,
    event_service_pb2,
    host_pb2,
    operation_pb2,
    operation_service_pb2,
    rollout_pb2,
    rollout_service_pb2,
    schedule_pb2,
    selection_service_pb2,
)

AT = Timestamp(seconds=1_800_000_000)
LATER = Timestamp(seconds=1_800_000_090)


def host(name: str = "web1", **status: Any) -> host_pb2.Host:
    """A registered host."""
    status.setdefault("state", host_pb2.HOST_STATE_IDLE)
    status.setdefault("reboot", host_pb2.Reboot(need=host_pb2.REBOOT_NEED_UNKNOWN))
    return host_pb2.Host(
        config=host_pb2.HostConfig(
            name=name,
            address="10.0.0.5",
            port=22,
            user="root",
            tags=["web"],
            groups=["production"],
            policy=host_pb2.Policy(auto_reboot=True),
        ),
        status=host_pb2.HostStatus(name=name, tags=["web"], **status),
        host_key_fingerprint="SHA256:abc",
        registered_at=AT,
        revision=7,
    )


def operation(status: str = "RUNNING", **fields: Any) -> operation_pb2.Operation:
    """An update of web1."""
    fields.setdefault("id", "op1")
    fields.setdefault("host", "web1")
    fields.setdefault("kind", operation_pb2.OPERATION_KIND_UPDATE)
    if status in ("SUCCEEDED", "FAILED", "CANCELLED"):
        fields.setdefault("ended_at", LATER)
    return operation_pb2.Operation(
        status=operation_pb2.OperationStatus.Value(f"OPERATION_STATUS_{status}"),
        created_at=AT,
        started_at=AT,
        **fields,
    )


def step(name: str, status: str = "SUCCEEDED", detail: str = "") -> operation_pb2.Step:
    """A step that has ended."""
    return operation_pb2.Step(
        name=operation_pb2.StepName.Value(f"STEP_NAME_{name}"),
        status=operation_pb2.StepStatus.Value(f"STEP_STATUS_{status}"),
        started_at=AT,
        ended_at=LATER,
        detail=detail,
    )


def upgraded(**fields: Any) -> operation_pb2.UpdateResult:
    """An update that changed a package."""
    change = operation_pb2.PackageChange(name="libc6", from_version="2.36-9", to_version="2.36-10")
    return operation_pb2.UpdateResult(success=True, upgraded_count=1, packages=[change], **fields)


def problem(message: str, reason: str = "PACKAGE_FAILED") -> host_pb2.Problem:
    """What went wrong on a host."""
    return host_pb2.Problem(reason=reason, message=message)


def waited(answer: operation_pb2.Operation) -> operation_service_pb2.WaitOperationResponse:
    """What WaitOperation answers."""
    return operation_service_pb2.WaitOperationResponse(operation=answer)


def watched(answer: operation_pb2.Operation) -> operation_service_pb2.WatchOperationResponse:
    """A message of WatchOperation that says how the operation stands."""
    return operation_service_pb2.WatchOperationResponse(operation=answer)


def logged(offset: int, data: bytes) -> operation_service_pb2.WatchOperationResponse:
    """A message of WatchOperation with a part of the log."""
    chunk = operation_service_pb2.LogChunk(offset=offset, data=data)
    return operation_service_pb2.WatchOperationResponse(log=chunk)


def rollout(status: str = "RUNNING", **progress: int) -> rollout_pb2.Rollout:
    """A rollout over two hosts."""
    made = rollout_pb2.Rollout(
        id="ro1",
        spec=rollout_pb2.RolloutSpec(waves=("2",)),
        status=rollout_pb2.RolloutStatus.Value(f"ROLLOUT_STATUS_{status}"),
        progress=rollout_pb2.RolloutProgress(**{"total_hosts": 2, **progress}),
        wave=1,
        wave_count=1,
        created_at=AT,
    )
    made.spec.delay_between_waves.FromSeconds(30)
    if status in ("COMPLETED", "CANCELLED"):
        made.ended_at.CopyFrom(LATER)
    return made


def member(name: str, status: str, detail: str = "") -> rollout_pb2.RolloutHost:
    """A host of the rollout."""
    return rollout_pb2.RolloutHost(
        host=name,
        wave=1,
        status=rollout_pb2.RolloutHostStatus.Value(f"ROLLOUT_HOST_STATUS_{status}"),
        detail=detail,
    )


def advanced(
    answer: rollout_pb2.Rollout, *members: rollout_pb2.RolloutHost
) -> rollout_service_pb2.WatchRolloutResponse:
    """A message of WatchRollout."""
    return rollout_service_pb2.WatchRolloutResponse(rollout=answer, hosts=members)


def schedule(status: str = "ACTIVE", **fields: Any) -> schedule_pb2.Schedule:
    """A schedule of every Saturday at 3."""
    made = schedule_pb2.Schedule(
        spec=schedule_pb2.ScheduleSpec(
            name="weekly",
            cron="0 3 * * 6",
            time_zone="Europe/Berlin",
            starts_at=AT,
            missed=schedule_pb2.MISSED_RUNS_SKIP,
            rollout=rollout_pb2.RolloutSpec(waves=("2",)),
        ),
        status=schedule_pb2.ScheduleStatus.Value(f"SCHEDULE_STATUS_{status}"),
        created_by="alex",
        created_at=AT,
        revision=7,
        **fields,
    )
    made.spec.grace.FromSeconds(900)
    if status == "ACTIVE":
        made.next_runs.extend(Timestamp(seconds=AT.seconds + week * 604_800) for week in (1, 2))
    return made


def selection(name: str = "canaries", **filter: Any) -> selection_service_pb2.Selection:
    """A saved selection."""
    return selection_service_pb2.Selection(
        name=name,
        filter=host_pb2.HostFilter(**(filter or {"all_tags": ["canary"]})),
        changed_by="alex",
        changed_at=AT,
        revision=7,
    )


def hello(current: int, *, log_id: str = "log1", oldest: int = 1) -> Any:
    """The first message of an event stream."""
    return event_service_pb2.WatchEventsResponse(
        phase=event_service_pb2.WATCH_PHASE_OPENED,
        log_id=log_id,
        oldest_revision=oldest,
        current_revision=current,
    )


def event(revision: int, **fields: Any) -> event_pb2.Event:
    """An event."""
    fields.setdefault("host", "web1")
    if len(fields) == 1:
        fields["host_registered"] = event_pb2.HostRegistered()
    return event_pb2.Event(revision=revision, at=AT, **fields)


def batch(*revisions: int) -> event_service_pb2.WatchEventsResponse:
    """A message with these events."""
    return event_service_pb2.WatchEventsResponse(
        events=[event(revision) for revision in revisions], revision=revisions[-1]
    )


def bookmark(revision: int) -> event_service_pb2.WatchEventsResponse:
    """A message without events."""
    return event_service_pb2.WatchEventsResponse(revision=revision)


def snapshot(revision: int, *names: str, at_once: int = 2) -> list[Any]:
    """The messages of a snapshot of these hosts."""
    parts = [
        event_service_pb2.WatchEventsResponse(
            phase=event_service_pb2.WATCH_PHASE_SNAPSHOT,
            hosts=[host(name) for name in names[start : start + at_once]],
        )
        for start in range(0, len(names), at_once)
    ]
    end = event_service_pb2.WatchEventsResponse(
        phase=event_service_pb2.WATCH_PHASE_SNAPSHOT_END, revision=revision
    )
    return [*parts, end]
