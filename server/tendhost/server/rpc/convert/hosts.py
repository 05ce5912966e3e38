"""Hosts and their configuration, between messages and domain values."""

from typing import Any

from tendhost.server.domain.bounds import text
from tendhost.server.domain.hosts.address import plain_address
from tendhost.server.domain.hosts.host import (
    COMPOSE_HEALTH_TIMEOUT,
    AfterInterruption,
    Duplicate,
    Failure,
    Host,
    HostConfig,
    HostStatus,
    Policy,
    RestartServices,
    Rollback,
    Snapshots,
)
from tendhost.server.domain.hosts.host_keys import fingerprint
from tendhost.server.domain.inventory.compose import ComposeVersion
from tendhost.server.domain.inventory.inventory import Reboot, RebootNeed
from tendhost.server.domain.inventory.scope import UpdateScope
from tendhost.server.domain.policy.health_checks import HealthChecks
from tendhost.server.domain.policy.hooks import Hooks
from tendhost.server.rpc.convert.common import duration, numbers, problem_message, timestamp
from tendhost.server.rpc.convert.health import health_checks, health_checks_message
from tendhost.server.rpc.convert.hooks import hooks, hooks_message
from tendhost.server.rpc.convert.selections import HOST_STATE, scope_message, update_scope
from tendhost.server.rpc.convert.whole import whole
from tendhost.server.rpc.convert.windows import window_message, windows
from tendhost.v1 import host_pb2

_AFTER_INTERRUPTION = numbers(AfterInterruption, host_pb2.AfterInterruption)
_AFTER_INTERRUPTION_OF = {number: word for word, number in _AFTER_INTERRUPTION.items()}
_COMPOSE_VERSION = numbers(ComposeVersion, host_pb2.ComposeVersion)
_COMPOSE_VERSION_OF = {number: word for word, number in _COMPOSE_VERSION.items()}
_RESTART_SERVICES = numbers(RestartServices, host_pb2.RestartServices)
_RESTART_SERVICES_OF = {number: word for word, number in _RESTART_SERVICES.items()}
_SNAPSHOTS = numbers(Snapshots, host_pb2.Snapshots)
_SNAPSHOTS_OF = {number: word for word, number in _SNAPSHOTS.items()}
_ROLLBACK = numbers(Rollback, host_pb2.Rollback)
_ROLLBACK_OF = {number: word for word, number in _ROLLBACK.items()}


_REBOOT_NEED = numbers(RebootNeed, host_pb2.RebootNeed)


def host_config(message: host_pb2.HostConfig) -> HostConfig:
    """A validated configuration, its defaults filled in."""
    return HostConfig(
        name=message.name,
        address=plain_address(message.address),
        port=message.port or 22,
        user=message.user or "root",
        ssh_key=message.ssh_key,
        jump=message.jump,
        jump_only=message.jump_only,
        compose_paths=tuple(message.compose_paths),
        compose_version=_COMPOSE_VERSION_OF.get(message.compose_version, ComposeVersion.AUTO),
        pull_before_update=_given(message, "pull_before_update", default=True),
        compose_health_timeout=(
            message.compose_health_timeout.ToTimedelta()
            if message.HasField("compose_health_timeout")
            else COMPOSE_HEALTH_TIMEOUT
        ),
        compose_prune=message.compose_prune,
        tags=tuple(sorted(message.tags)),
        groups=tuple(sorted(message.groups)),
        policy=_policy(message.policy),
    )


def _given(message: Any, field: str, *, default: bool) -> bool:
    return bool(getattr(message, field)) if message.HasField(field) else default


def _policy(message: host_pb2.Policy) -> Policy:
    return Policy(
        auto_reboot=message.auto_reboot if message.HasField("auto_reboot") else None,
        windows=windows(message.windows),
        after_interruption=_AFTER_INTERRUPTION_OF.get(
            message.after_interruption, AfterInterruption.UPGRADE
        ),
        scope=update_scope(message.scope),
        restart_services=_RESTART_SERVICES_OF.get(message.restart_services, RestartServices.NEVER),
        snapshots=_SNAPSHOTS_OF.get(message.snapshots, Snapshots.NEVER),
        rollback=_ROLLBACK_OF.get(message.rollback, Rollback.NEVER),
        hooks=hooks(message.hooks),
        health_checks=health_checks(message.health_checks),
    )


def _unread_host(host: Host | str, why: str) -> host_pb2.Host:
    named = host_pb2.HostConfig(name=text(host if isinstance(host, str) else host.name))
    return host_pb2.Host(config=named, incomplete=why)


@whole(_unread_host)
def host_message(host: Host) -> host_pb2.Host:
    """A host as clients see it."""
    return host_pb2.Host(
        config=_config_message(host.config),
        status=_status_message(host),
        host_key_fingerprint=fingerprint(host.host_key),
        host_key_fingerprints=map(fingerprint, host.host_keys),
        host_key_certified=host.certified,
        registered_at=timestamp(host.registered_at),
        revision=host.revision,
        etag=host.etag,
    )


def _config_message(config: HostConfig) -> host_pb2.HostConfig:
    policy = host_pb2.Policy(
        auto_reboot=config.may_reboot,
        after_interruption=_AFTER_INTERRUPTION[config.policy.after_interruption],
        restart_services=_RESTART_SERVICES[config.policy.restart_services],
        snapshots=_SNAPSHOTS[config.policy.snapshots],
        rollback=_ROLLBACK[config.policy.rollback],
        windows=map(window_message, config.policy.windows),
    )
    if config.policy.scope != UpdateScope():
        policy.scope.CopyFrom(scope_message(config.policy.scope))
    if config.policy.hooks != Hooks():
        policy.hooks.CopyFrom(hooks_message(config.policy.hooks))
    if config.policy.health_checks != HealthChecks():
        policy.health_checks.CopyFrom(health_checks_message(config.policy.health_checks))
    return host_pb2.HostConfig(
        name=config.name,
        address=config.address,
        port=config.port,
        user=config.user,
        ssh_key=config.ssh_key,
        jump=config.jump,
        jump_only=config.jump_only,
        compose_paths=config.compose_paths,
        compose_version=_COMPOSE_VERSION[config.compose_version],
        pull_before_update=config.pull_before_update,
        compose_health_timeout=duration(config.compose_health_timeout),
        compose_prune=config.compose_prune,
        tags=config.tags,
        groups=config.groups,
        policy=policy,
    )


def _status_message(host: Host) -> host_pb2.HostStatus:
    status: HostStatus = host.status
    return host_pb2.HostStatus(
        name=host.name,
        state=HOST_STATE[status.state],
        last_updated=timestamp(status.last_updated),
        pending_updates=status.pending_count,
        pending_security_updates=status.pending_security_count,
        error=status.last_problem.message if status.last_problem else "",
        tags=host.config.tags,
        queried_at=timestamp(status.queried_at),
        reboot=_reboot_message(status.reboot),
        healthy=status.healthy,
        failure=_failure_message(status.failure),
        retry_count=status.retry_count,
        os_name=status.os_name,
        machine_id=status.machine_id,
        duplicate_of=map(duplicate_message, status.duplicate_of),
    )


def duplicate_message(duplicate: Duplicate) -> host_pb2.Duplicate:
    return host_pb2.Duplicate(
        host=duplicate.host,
        same_host_key=duplicate.host_key,
        same_address=duplicate.address,
        same_machine_id=duplicate.machine_id,
    )


def _reboot_message(reboot: Reboot) -> host_pb2.Reboot:
    return host_pb2.Reboot(
        need=_REBOOT_NEED[reboot.need], reason=reboot.reason, since=timestamp(reboot.since)
    )


def _failure_message(failure: Failure | None) -> host_pb2.Failure | None:
    if failure is None:
        return None
    return host_pb2.Failure(
        previous_state=HOST_STATE[failure.previous_state],
        step=failure.step,
        problem=problem_message(failure.problem),
        failed_at=timestamp(failure.failed_at),
        retry_count=failure.retry_count,
        acknowledged_by=failure.acknowledged_by,
        acknowledged_at=timestamp(failure.acknowledged_at),
    )
