"""Hosts are added, changed and removed here."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from tendhost.server.clock import Clock
from tendhost.server.domain.errors import (
    ConfigurationError,
    FieldViolation,
    HostAlreadyExists,
    HostBusy,
    HostNotFound,
    InvalidArgument,
)
from tendhost.server.domain.events import (
    Event,
    EventBody,
    HostAcknowledged,
    HostReconfigured,
    HostRegistered,
    HostUnregistered,
)
from tendhost.server.domain.health import unusable
from tendhost.server.domain.host import Host, HostConfig
from tendhost.server.domain.window import unsound_windows
from tendhost.server.engine.calls import Call, carried_out
from tendhost.server.engine.policies import Policies
from tendhost.server.engine.retrying import on_conflict_again
from tendhost.server.remote.hostkey import matches
from tendhost.server.remote.protocol import Connector
from tendhost.server.store.protocol import Change, Store

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

RECONFIGURABLE = (
    "addr",
    "port",
    "user",
    "ssh_key",
    "compose_paths",
    "tags",
    "groups",
    "policy",
    "policy.auto_reboot",
    "policy.maintenance_windows",
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """A host that is registered no more."""

    revision: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconfiguration:
    """What to change of a host: new values for the fields that `mask` names."""

    name: str
    config: HostConfig
    mask: tuple[str, ...]
    repin: bool = False
    expected_host_key: str = ""


class Registry:
    """The hosts of the fleet."""

    def __init__(
        self, *, store: Store, connector: Connector, clock: Clock, policies: Policies
    ) -> None:
        self._store = store
        self._connector = connector
        self._clock = clock
        self._policies = policies

    async def register(self, config: HostConfig, expected_key: str, call: Call[Host]) -> Host:
        """Add a host and pin the key that it shows.

        Raises HostAlreadyExists, Unreachable, WorkTimeout, ConfigurationError, InvalidArgument.
        """
        _check(config)
        await self._refuse_known(config.name)
        host_key = await self._enrolled(config, expected_key)
        now = self._clock.now()
        host = Host(config=config, host_key=host_key, registered_at=now)
        change = Change(
            events=(Event(at=now, body=HostRegistered(), host=host.name),),
            hosts=(host,),
            audit=call.audit(host.name, now),
            request=call.record(lambda revision: replace(host, revision=revision)),
        )
        registered = await carried_out(
            self._store, change, lambda revision: replace(host, revision=revision)
        )
        self._policies.host_changed(host.name)  # one of that name may have been waited for
        return registered

    @on_conflict_again
    async def reconfigure(self, wanted: Reconfiguration, call: Call[Host]) -> Host:
        """Change a host's configuration, and with `repin` the key that it must show.

        Raises HostNotFound, HostBusy, InvalidArgument, ConfigurationError, Unreachable.
        """
        unknown = unknown_paths(wanted.mask)
        if unknown:
            raise InvalidArgument(*unknown)
        host = await self._idle_host(wanted.name)
        config = merged(host.config, wanted)
        _check(config)
        changed = replace(host, config=config)
        if wanted.repin:
            key = await self._enrolled(config, wanted.expected_host_key)
            changed = replace(changed, host_key=key)
        fields = (*wanted.mask, "host_key") if wanted.repin else wanted.mask
        saved = await self._saved(changed, HostReconfigured(fields=fields), call)
        if (config.groups, config.policy) != (host.config.groups, host.config.policy):
            self._policies.host_changed(host.name)
        return saved

    @on_conflict_again
    async def unregister(self, name: str, call: Call[Removed]) -> Removed:
        """Forget a host; what was done on it stays. Raises HostNotFound, HostBusy."""
        host = await self._idle_host(name)
        now = self._clock.now()
        change = Change(
            events=(Event(at=now, body=HostUnregistered(), host=name),),
            removed_hosts=(host,),
            audit=call.audit(name, now),
            request=call.record(lambda revision: Removed(revision=revision)),
        )
        removed = await carried_out(
            self._store, change, lambda revision: Removed(revision=revision)
        )
        self._policies.host_changed(name)  # nobody is to wait for its windows any more
        return removed

    @on_conflict_again
    async def acknowledge(self, name: str, call: Call[Host]) -> Host:
        """Record who has seen a host's failure. Raises HostNotFound, InvalidTransition."""
        host = await self._store.host(name)
        seen = host.acknowledged(by=call.principal, now=self._clock.now())
        return await self._saved(seen, HostAcknowledged(by=call.principal), call)

    async def _saved(self, host: Host, told: EventBody, call: Call[Host]) -> Host:
        now = self._clock.now()
        change = Change(
            events=(Event(at=now, body=told, host=host.name),),
            hosts=(host,),
            audit=call.audit(host.name, now),
            request=call.record(lambda revision: replace(host, revision=revision)),
        )
        return await carried_out(
            self._store, change, lambda revision: replace(host, revision=revision)
        )

    async def _refuse_known(self, name: str) -> None:
        # Said before the network is asked: a second `host add` is answered at once.
        try:
            await self._store.host(name)
        except HostNotFound:
            return
        raise HostAlreadyExists(host=name)

    async def _idle_host(self, name: str) -> Host:
        host = await self._store.host(name)
        running = await self._store.running_operation(name)
        if running is not None:
            raise HostBusy(host=name, operation=running.id)
        return host

    async def _enrolled(self, config: HostConfig, expected: str) -> str:
        shown = await self._connector.enrol(
            host=config.name, address=config.address, port=config.port
        )
        if expected and not matches(shown, expected):
            raise ConfigurationError(
                field="expected_host_key", value=expected, expected=f"the key it shows: {shown}"
            )
        return shown


def unknown_paths(mask: Iterable[str]) -> tuple[FieldViolation, ...]:
    """What is wrong with an update mask: a violation for each path that cannot be changed."""
    expected = ", ".join(RECONFIGURABLE)
    return tuple(
        FieldViolation("update_mask", f"{path!r} cannot be changed; expected {expected}")
        for path in mask
        if path not in RECONFIGURABLE
    )


def merged(config: HostConfig, wanted: Reconfiguration) -> HostConfig:
    """`config` with the masked fields, all of them RECONFIGURABLE, taken from `wanted`."""
    new = wanted.config
    for path in wanted.mask:
        config = _taken("address" if path == "addr" else path, config, new)
    return config


V = TypeVar("V", bound="DataclassInstance")


def _taken(path: str, value: V, new: V) -> V:
    """`value` with the field at `path` taken from `new`."""
    field, _, rest = path.partition(".")
    changed = getattr(new, field)
    if rest:
        changed = _taken(rest, getattr(value, field), changed)
    return replace(value, **{field: changed})


def _check(config: HostConfig) -> None:
    """Raise InvalidArgument for what no rule of the contract can see."""
    violations = (*_windows(config), *_health_checks(config))
    if violations:
        raise InvalidArgument(*violations)


def _health_checks(config: HostConfig) -> Iterable[FieldViolation]:
    for field, words in unusable(config.policy.health_checks):
        yield FieldViolation(f"config.policy.health_checks.{field}", words)


def _windows(config: HostConfig) -> Iterable[FieldViolation]:
    for field, words in unsound_windows(config.policy.maintenance_windows):
        yield FieldViolation(f"config.policy.maintenance_windows{field}", words)
