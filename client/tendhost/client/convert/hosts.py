"""Conversion of hosts and their problems."""

from tendhost.client.convert import health as convert_health
from tendhost.client.convert import policies as convert_policies
from tendhost.client.convert import selections as convert_selections
from tendhost.client.convert.enums import enum_names, instant, numbers, reading, span
from tendhost.client.models.hosts import (
    AfterInterruption,
    ComposeVersion,
    Duplicate,
    Failure,
    Host,
    HostTest,
    LoginFiles,
    Problem,
    Reboot,
    RebootNeed,
    RestartServices,
    Rollback,
    RootAccess,
    Snapshots,
)
from tendhost.v1 import host_pb2, host_service_pb2

_AFTER_INTERRUPTION = enum_names(AfterInterruption, host_pb2.AfterInterruption)


_COMPOSE_VERSION = enum_names(ComposeVersion, host_pb2.ComposeVersion)
_RESTART_SERVICES = enum_names(RestartServices, host_pb2.RestartServices)
_SNAPSHOTS = enum_names(Snapshots, host_pb2.Snapshots)
_ROLLBACK = enum_names(Rollback, host_pb2.Rollback)


_reboot_need = reading(enum_names(RebootNeed, host_pb2.RebootNeed), RebootNeed.UNKNOWN)


_root_access = reading(enum_names(RootAccess, host_service_pb2.RootAccess), RootAccess.UNKNOWN)
_after_interruption = reading(_AFTER_INTERRUPTION, AfterInterruption.UNRECOGNIZED)
_compose_version = reading(_COMPOSE_VERSION, ComposeVersion.UNRECOGNIZED)
_restart_services = reading(_RESTART_SERVICES, RestartServices.UNRECOGNIZED)
_snapshots = reading(_SNAPSHOTS, Snapshots.UNRECOGNIZED)
_rollback = reading(_ROLLBACK, Rollback.UNRECOGNIZED)


AFTER_INTERRUPTION_NUMBERS = numbers(_AFTER_INTERRUPTION)
COMPOSE_VERSION_NUMBERS = numbers(_COMPOSE_VERSION)
RESTART_SERVICES_NUMBERS = numbers(_RESTART_SERVICES)
SNAPSHOTS_NUMBERS = numbers(_SNAPSHOTS)
ROLLBACK_NUMBERS = numbers(_ROLLBACK)


def problem(message: host_pb2.Problem) -> Problem:
    """A problem."""
    return Problem(reason=message.reason, message=message.message, facts=dict(message.facts))


def host(message: host_pb2.Host) -> Host:
    """A host."""
    config, status = message.config, message.status
    return Host(
        name=config.name,
        address=config.address,
        port=config.port,
        user=config.user,
        ssh_key=config.ssh_key,
        jump=config.jump,
        jump_only=config.jump_only,
        compose_paths=tuple(config.compose_paths),
        compose_version=_compose_version(config.compose_version),
        pull_before_update=config.pull_before_update,
        compose_health_timeout=span(config.compose_health_timeout),
        compose_prune=config.compose_prune,
        tags=tuple(config.tags),
        groups=tuple(config.groups),
        auto_reboot=config.policy.auto_reboot,
        windows=tuple(map(convert_policies.window, config.policy.windows)),
        after_interruption=_after_interruption(config.policy.after_interruption),
        scope=convert_selections.scope(config.policy.scope),
        restart_services=_restart_services(config.policy.restart_services),
        snapshots=_snapshots(config.policy.snapshots),
        rollback=_rollback(config.policy.rollback),
        hooks=convert_health.hooks(config.policy.hooks),
        health_checks=convert_health.health_checks(config.policy.health_checks),
        host_key_fingerprint=message.host_key_fingerprint,
        host_key_fingerprints=tuple(message.host_key_fingerprints),
        host_key_certified=message.host_key_certified,
        registered_at=instant(message, "registered_at"),
        state=convert_selections.state(status.state),
        pending_updates=status.pending_updates,
        pending_security_updates=(
            status.pending_security_updates if status.HasField("pending_security_updates") else None
        ),
        last_updated=instant(status, "last_updated"),
        queried_at=instant(status, "queried_at"),
        reboot=Reboot(
            need=_reboot_need(status.reboot.need),
            reason=status.reboot.reason,
            since=instant(status.reboot, "since"),
        ),
        healthy=status.healthy if status.HasField("healthy") else None,
        error=status.error,
        failure=_failure(status.failure) if status.HasField("failure") else None,
        retry_count=status.retry_count,
        os_name=status.os_name,
        machine_id=status.machine_id,
        duplicate_of=tuple(map(duplicate, status.duplicate_of)),
        revision=message.revision,
        incomplete=message.incomplete,
        etag=message.etag,
    )


def login_files(message: host_service_pb2.GetLoginFilesResponse) -> LoginFiles:
    """The files for the login on a host."""
    return LoginFiles(
        user=message.user,
        public_keys=tuple(message.public_keys),
        authorized_keys=message.authorized_keys,
        sudoers=message.sudoers,
    )


def host_test(message: host_service_pb2.TestHostResponse) -> HostTest:
    """A test of the login on a host."""
    return HostTest(
        reachable=message.reachable,
        host_key_fingerprint=message.host_key_fingerprint,
        host_key_pinned=message.host_key_pinned,
        logged_in=message.logged_in,
        user=message.user,
        root_access=_root_access(message.root_access),
        duration=span(message.duration),
        problem=problem(message.problem) if message.HasField("problem") else None,
    )


def duplicate(message: host_pb2.Duplicate) -> Duplicate:
    return Duplicate(
        host=message.host,
        same_host_key=message.same_host_key,
        same_address=message.same_address,
        same_machine_id=message.same_machine_id,
    )


def _failure(message: host_pb2.Failure) -> Failure:
    return Failure(
        previous_state=convert_selections.state(message.previous_state),
        step=message.step,
        problem=problem(message.problem),
        failed_at=instant(message, "failed_at"),
        retry_count=message.retry_count,
        acknowledged_by=message.acknowledged_by,
        acknowledged_at=instant(message, "acknowledged_at"),
    )
