"""Health checks and their results, between messages and domain values."""

from datetime import timedelta
from typing import Any

from tendhost.server.domain.operations.operation import CheckResult, HealthResult
from tendhost.server.domain.policy.health_checks import (
    CHECK_ATTEMPTS,
    CHECK_INTERVAL,
    CHECK_TIMEOUT,
    HealthCheck,
    HealthChecks,
    HttpProbe,
    TcpProbe,
)
from tendhost.server.rpc.convert.common import duration
from tendhost.v1 import health_pb2, operation_pb2


def health_checks(message: health_pb2.HealthChecks) -> HealthChecks:
    """Validated checks, their defaults filled in."""
    settle = message.settle.ToTimedelta() if message.HasField("settle") else None
    return HealthChecks(checks=tuple(map(_check, message.checks)), settle=settle)


def _check(message: health_pb2.HealthCheck) -> HealthCheck:
    http = message.http
    probe = HttpProbe(url=http.url, statuses=tuple(sorted(http.statuses)), body=http.body)
    return HealthCheck(
        command=message.command,
        tcp=TcpProbe(port=message.tcp.port) if message.HasField("tcp") else None,
        http=probe if message.HasField("http") else None,
        units=tuple(message.units.units),
        timeout=_span(message, "timeout", CHECK_TIMEOUT),
        attempts=message.attempts or CHECK_ATTEMPTS,
        interval=_span(message, "interval", CHECK_INTERVAL),
    )


def _span(message: Any, field: str, default: timedelta) -> timedelta:
    given: timedelta = getattr(message, field).ToTimedelta()
    return given if message.HasField(field) else default


def health_checks_message(value: HealthChecks) -> health_pb2.HealthChecks:
    """Checks as clients see them."""
    settle = None if value.settle is None else duration(value.settle)
    return health_pb2.HealthChecks(checks=map(check_message, value.checks), settle=settle)


def check_message(value: HealthCheck) -> health_pb2.HealthCheck:
    """A check as clients see it."""
    message = health_pb2.HealthCheck(
        timeout=duration(value.timeout),
        attempts=value.attempts,
        interval=duration(value.interval),
    )
    if value.tcp is not None:
        message.tcp.port = value.tcp.port
    elif value.http is not None:
        http = value.http
        message.http.MergeFrom(
            health_pb2.HttpProbe(url=http.url, statuses=http.statuses, body=http.body)
        )
    elif value.units:
        message.units.units.extend(value.units)
    else:
        message.command = value.command
    return message


def health_message(result: HealthResult | None) -> operation_pb2.HealthResult | None:
    """The result of the checks, as clients see it."""
    if result is None:
        return None
    return operation_pb2.HealthResult(
        healthy=result.healthy, message=result.message, checks=map(_result_message, result.checks)
    )


def _result_message(result: CheckResult) -> health_pb2.CheckResult:
    return health_pb2.CheckResult(
        name=result.name,
        healthy=result.healthy,
        message=result.message,
        attempts=result.tries,
        failures=result.failures,
    )
