"""Conversion of hooks, health checks and their results."""

from datetime import timedelta

from google.protobuf.duration_pb2 import Duration

from tendhost.client.convert.enums import span
from tendhost.client.models import health as values
from tendhost.v1 import health_pb2, hook_pb2, operation_pb2


def hooks(message: hook_pb2.Hooks) -> values.Hooks:
    """Hooks."""
    return values.Hooks(
        pre=hook(message.pre) if message.HasField("pre") else None,
        post=hook(message.post) if message.HasField("post") else None,
    )


def hook(message: hook_pb2.Hook) -> values.Hook:
    """A hook."""
    return values.Hook(
        script=message.script,
        timeout=span(message.timeout),
        allowed_exit_codes=tuple(message.allowed_exit_codes),
        secret=message.secret,
    )


def hook_message(value: values.Hook) -> hook_pb2.Hook:
    """A hook for a request."""
    return hook_pb2.Hook(
        script=value.script,
        timeout=_duration(value.timeout),
        allowed_exit_codes=value.allowed_exit_codes,
        secret=value.secret,
    )


def hooks_message(value: values.Hooks) -> hook_pb2.Hooks:
    """Hooks for a request."""
    return hook_pb2.Hooks(
        pre=hook_message(value.pre) if value.pre else None,
        post=hook_message(value.post) if value.post else None,
    )


def health_checks(message: health_pb2.HealthChecks) -> values.HealthChecks:
    """Health checks."""
    settle = span(message.settle) if message.HasField("settle") else None
    return values.HealthChecks(checks=tuple(map(health_check, message.checks)), settle=settle)


def health_check(message: health_pb2.HealthCheck) -> values.HealthCheck:
    """A health check."""
    http = message.http
    return values.HealthCheck(
        command=message.command,
        tcp=values.TcpProbe(port=message.tcp.port) if message.HasField("tcp") else None,
        http=values.HttpProbe(url=http.url, statuses=tuple(http.statuses), body=http.body)
        if message.HasField("http")
        else None,
        units=tuple(message.units.units),
        timeout=span(message.timeout),
        attempts=message.attempts,
        interval=span(message.interval),
    )


def health_checks_message(value: values.HealthChecks) -> health_pb2.HealthChecks:
    """Health checks for a request. Raises ValueError for a check that looks at nothing, or at several."""
    settle = None if value.settle is None else _duration(value.settle)
    return health_pb2.HealthChecks(checks=map(_check_message, value.checks), settle=settle)


def _check_message(value: values.HealthCheck) -> health_pb2.HealthCheck:
    given = [bool(value.command), value.tcp is not None, value.http is not None, bool(value.units)]
    if sum(given) != 1:
        raise ValueError("a check has exactly one of command, tcp, http and units")
    message = health_pb2.HealthCheck(
        timeout=_duration(value.timeout),
        attempts=value.attempts,
        interval=_duration(value.interval),
    )
    if value.command:
        message.command = value.command
    if value.tcp is not None:
        message.tcp.port = value.tcp.port
        message.tcp.SetInParent()
    if value.http is not None:
        http = value.http
        message.http.MergeFrom(
            health_pb2.HttpProbe(url=http.url, statuses=http.statuses, body=http.body)
        )
        message.http.SetInParent()
    if value.units:
        message.units.units.extend(value.units)
    return message


def _duration(span: timedelta) -> Duration:
    message = Duration()
    message.FromTimedelta(span)
    return message


def health(message: operation_pb2.HealthResult) -> values.HealthResult:
    """What the checks found."""
    return values.HealthResult(
        healthy=message.healthy,
        message=message.message,
        checks=tuple(
            values.CheckResult(
                name=check.name,
                healthy=check.healthy,
                message=check.message,
                attempts=check.attempts,
                failures=check.failures,
            )
            for check in message.checks
        ),
    )
