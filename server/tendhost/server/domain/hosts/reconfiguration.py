"""Changes of the configuration of a host."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from tendhost.server.domain.hosts.amendments import LabelChange, WindowChange, taken
from tendhost.server.domain.hosts.host import HostConfig
from tendhost.server.domain.policy.health_checks import unusable
from tendhost.server.domain.policy.windows import unsound_windows
from tendhost.server.domain.request_errors import FieldViolation, InvalidArgument

RECONFIGURABLE = (
    "address",
    "port",
    "user",
    "ssh_key",
    "jump",
    "jump_only",
    "compose_paths",
    "tags",
    "groups",
    "policy",
    "policy.auto_reboot",
    "policy.windows",
    "policy.after_interruption",
    "policy.scope",
    "policy.restart_services",
    "policy.snapshots",
    "policy.rollback",
    "policy.hooks",
    "policy.hooks.pre",
    "policy.hooks.post",
    "policy.health_checks",
    "policy.health_checks.checks",
    "policy.health_checks.settle",
    "compose_version",
    "pull_before_update",
    "compose_health_timeout",
    "compose_prune",
)
"""The paths that an update mask may hold."""
MOST_LABELS = 64
"""Tags, and groups, that the contract allows for a host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconfiguration:
    """A change of a host: new values for the fields in `mask`, then changes of lists."""

    name: str
    config: HostConfig
    mask: tuple[str, ...] = ()
    tags: LabelChange = LabelChange()
    groups: LabelChange = LabelChange()
    windows: WindowChange = WindowChange()
    accept_new_host_key: bool = False
    expected_host_key: str = ""
    known_hosts: str = ""
    """Contents of a known_hosts file, with the keys that the host may have."""
    added_host_keys: str = ""
    """Further keys to pin, in the forms of domain/hosts/host_keys."""
    removed_host_keys: tuple[str, ...] = ()
    """Pinned keys to remove, each in one of those forms."""
    allow_duplicate: bool = False
    """Whether another host may have the same address or key."""
    etag: str = ""
    """The etag that the host must have; empty: any."""

    def of(self, config: HostConfig) -> HostConfig:
        """The changed configuration. Raises InvalidArgument, which names every invalid field."""
        unknown = unknown_paths(self.mask)
        if unknown:
            raise InvalidArgument(*unknown)
        former = config.policy.hooks
        for path in self.mask:
            config = taken("address" if path == "address" else path, config, self.config)
        hooks = config.policy.hooks.completed(former)
        config = replace(config, policy=replace(config.policy, hooks=hooks))
        own = config.policy.windows
        wrong = (
            *self.tags.unsound("tags"),
            *self.groups.unsound("groups"),
            *self.windows.unsound(own),
        )
        if wrong:
            raise InvalidArgument(*wrong)
        if self.tags != LabelChange():
            config = replace(config, tags=self.tags.of(config.tags))
        if self.groups != LabelChange():
            config = replace(config, groups=self.groups.of(config.groups))
        if self.windows != WindowChange():
            policy = replace(config.policy, windows=self.windows.of(own))
            config = replace(config, policy=policy)
        require_sound(config)
        return config


def unknown_paths(mask: Iterable[str]) -> tuple[FieldViolation, ...]:
    """A violation for each path of an update mask that cannot be changed."""
    expected = ", ".join(RECONFIGURABLE)
    return tuple(
        FieldViolation("update_mask", f"{path!r} cannot be changed; expected {expected}")
        for path in mask
        if path not in RECONFIGURABLE
    )


def require_sound(config: HostConfig) -> None:
    """Raise InvalidArgument for faults that no rule of the contract covers."""
    violations = tuple(_unsound(config))
    if violations:
        raise InvalidArgument(*violations)


def _unsound(config: HostConfig) -> Iterator[FieldViolation]:
    for field, words in unsound_windows(config.policy.windows):
        yield FieldViolation(f"config.policy.windows{field}", words)
    for field, words in config.policy.hooks.unsound():
        yield FieldViolation(f"config.policy.hooks.{field}", words)
    for field, words in unusable(config.policy.health_checks):
        yield FieldViolation(f"config.policy.health_checks.{field}", words)
    for what, labels in (("tags", config.tags), ("groups", config.groups)):
        if len(labels) > MOST_LABELS:
            words = f"there would be {len(labels)}; expected at most {MOST_LABELS}"
            yield FieldViolation(f"config.{what}", words)
