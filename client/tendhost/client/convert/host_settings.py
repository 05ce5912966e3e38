"""Conversion of a host's settings to its configuration and the update mask that names them."""

from collections.abc import Callable, Mapping
from typing import Any

from tendhost.client.convert import health as convert_health
from tendhost.client.convert import hosts as convert_hosts
from tendhost.client.convert import policies as convert_policies
from tendhost.client.convert import selections as convert_selections
from tendhost.client.models.hosts import HostSettings
from tendhost.v1 import host_pb2

_POLICY: Mapping[str, Callable[[Any], Any]] = {
    "auto_reboot": lambda value: value,
    "windows": lambda value: map(convert_policies.window_message, value),
    "after_interruption": convert_hosts.AFTER_INTERRUPTION_NUMBERS.__getitem__,
    "scope": convert_selections.scope_message,
    "restart_services": convert_hosts.RESTART_SERVICES_NUMBERS.__getitem__,
    "snapshots": convert_hosts.SNAPSHOTS_NUMBERS.__getitem__,
    "rollback": convert_hosts.ROLLBACK_NUMBERS.__getitem__,
    "hooks": convert_health.hooks_message,
}
"""The settings that are fields of the policy, and how each is converted."""
_FIELDS = frozenset({"address", *HostSettings.__annotations__})


def config_message(name: str, settings: Mapping[str, Any]) -> tuple[host_pb2.HostConfig, list[str]]:
    """The configuration of a host with those settings that are not None, and the mask that names them.

    Raises TypeError for a name that is no setting, as of a keyword that a function does not have, and
    ValueError for a health check without exactly one kind.
    """
    for unknown in settings.keys() - _FIELDS:
        raise TypeError(f"{unknown!r} is not a setting of a host")
    config = host_pb2.HostConfig(name=name)
    mask: list[str] = []
    for field, value in settings.items():
        if value is not None:
            mask += _put(config, field, value)
    return config, mask


def _put(config: host_pb2.HostConfig, field: str, value: Any) -> list[str]:
    """Put `value` into its place; the paths of an update mask that name that place."""
    policy = config.policy
    match field:
        case "pre_hook" | "post_hook":
            part = field.removesuffix("_hook")
            if value != "none":
                getattr(policy.hooks, part).CopyFrom(convert_health.hook_message(value))
            return [f"policy.hooks.{part}"]
        case "health_checks":
            policy.health_checks.MergeFrom(convert_health.health_checks_message(value))
            paths = ["policy.health_checks.checks"]
            return paths if value.settle is None else [*paths, "policy.health_checks.settle"]
        case "settle":
            policy.health_checks.settle.FromTimedelta(value)
            return ["policy.health_checks.settle"]
        case "compose_version":
            config.compose_version = convert_hosts.COMPOSE_VERSION_NUMBERS[value]
        case "compose_health_timeout":
            config.compose_health_timeout.FromTimedelta(value)
        case _ if field in _POLICY:
            policy.MergeFrom(host_pb2.Policy(**{field: _POLICY[field](value)}))
            return [f"policy.{field}"]
        case _:
            config.MergeFrom(host_pb2.HostConfig(**{field: value}))
    return [field]
