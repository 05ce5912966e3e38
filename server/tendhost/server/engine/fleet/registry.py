"""The hosts of the fleet: registered, reconfigured, acknowledged and unregistered."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tendhost.server.clock import Clock
from tendhost.server.domain.changes import FieldChange, changes_of
from tendhost.server.domain.etags import require_etag
from tendhost.server.domain.events import (
    Event,
    EventBody,
    FormerLabels,
    HostAcknowledged,
    HostReconfigured,
    HostRegistered,
    HostUnregistered,
    StateChanged,
)
from tendhost.server.domain.hosts.host import Host, HostConfig
from tendhost.server.domain.hosts.host_keys import fingerprint
from tendhost.server.domain.hosts.reconfiguration import Reconfiguration, require_sound
from tendhost.server.domain.request_errors import HostAlreadyExists, HostBusy
from tendhost.server.engine.connection import HostConnector
from tendhost.server.engine.fleet.enrolment import Enrolment
from tendhost.server.engine.requests import MutationContext, at_revision, retried_on_conflict
from tendhost.server.store.protocols.operations import HostWorkStore
from tendhost.server.store.records import Change


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovedHost:
    """A host that has been unregistered."""

    revision: int


class Registry:
    """The hosts of the fleet."""

    def __init__(self, *, store: HostWorkStore, connector: HostConnector, clock: Clock) -> None:
        self._store = store
        self._connector = connector
        self._enrolment = Enrolment(connector)
        self._clock = clock

    async def register(
        self,
        config: HostConfig,
        expected_key: str,
        call: MutationContext[Host],
        *,
        known_hosts: str = "",
        allow_duplicate: bool = False,
    ) -> Host:
        """Add a host and pin its keys.

        Raises HostAlreadyExists, HostDuplicate (unless that is allowed), HostUnreachable, Timeout,
        HostKeyMismatch, InvalidArgument.
        """
        require_sound(config)
        await self._refuse_known(config.name)
        await self._enrolment.require_usable_key(config)
        await self._connector.require_route(config)
        pins = await self._enrolment.pins_of_new_host(config, expected_key, known_hosts)
        now = self._clock.now()
        host = Host(config=config, host_key="", registered_at=now).pinned(pins)
        told = ", ".join(map(fingerprint, pins.keys))
        body = HostRegistered(by=call.principal, host_key_fingerprint=told)
        change = Change(
            events=(Event(at=now, body=body, host=host.name),),
            hosts=(host,),
            distinct_hosts=() if allow_duplicate else (host.name,),
            routed_hosts=(host.name,),
        )
        return await call.commit(self._store, change, at_revision(host), subject=host.name)

    @retried_on_conflict
    async def reconfigure(self, wanted: Reconfiguration, call: MutationContext[Host]) -> Host:
        """Change a host's configuration, and the keys that it may show.

        Raises HostNotFound, HostBusy, HostDuplicate, EtagMismatch, InvalidArgument, HostKeyMismatch, HostUnreachable.
        """
        host = await self._idle_host(wanted.name)
        require_etag(f"host {host.name!r}", wanted=wanted.etag, current=host.etag)
        config = wanted.of(host.config)
        changed = replace(host, config=config)
        rerouted = _way(config) != _way(host.config)
        if rerouted or wanted.accept_new_host_key:
            await self._connector.require_route(config)
        if "ssh_key" in wanted.mask:
            await self._enrolment.require_usable_key(config)
        changed = changed.pinned(await self._enrolment.pins_after(wanted, config, host.pins))
        if changed == host:
            return await call.commit_unchanged(
                self._store, host, self._clock.now(), subject=host.name
            )
        changes = _changes(host, changed)
        bodies: list[EventBody] = [
            HostReconfigured(
                fields=tuple(change.path for change in changes),
                by=call.principal,
                changes=changes,
                former_labels=None
                if _labels(config) == _labels(host.config)
                else _labels(host.config),
            )
        ]
        freed = changed.reconfigured(host)
        if changed.mends_login(host):
            origin, to = host.status.state, freed.status.state
            bodies.append(StateChanged(origin=origin, to=to, cause="the login has other settings"))
        moved = (config.endpoint, changed.host_keys) != (host.config.endpoint, host.host_keys)
        distinct = moved and not wanted.allow_duplicate
        return await self._saved(freed, bodies, call, distinct=distinct, rerouted=rerouted)

    @retried_on_conflict
    async def unregister(
        self, name: str, call: MutationContext[RemovedHost], *, etag: str = ""
    ) -> RemovedHost:
        """Remove a host; its operations stay. Raises HostNotFound, HostBusy, JumpInUse, EtagMismatch."""
        host = await self._idle_host(name)
        require_etag(f"host {name!r}", wanted=etag, current=host.etag)
        now = self._clock.now()
        body = HostUnregistered(by=call.principal, former_labels=_labels(host.config))
        change = Change(
            events=(Event(at=now, body=body, host=name),),
            removed_hosts=(host,),
        )
        return await call.commit(
            self._store, change, lambda revision: RemovedHost(revision=revision), subject=name
        )

    @retried_on_conflict
    async def acknowledge(self, name: str, call: MutationContext[Host]) -> Host:
        """Record who has seen a host's failure. Raises HostNotFound, InvalidTransition."""
        host = await self._store.host(name)
        seen = host.acknowledged(by=call.principal, now=self._clock.now())
        return await self._saved(seen, [HostAcknowledged(by=call.principal)], call)

    async def _saved(
        self,
        host: Host,
        bodies: Sequence[EventBody],
        call: MutationContext[Host],
        *,
        distinct: bool = False,
        rerouted: bool = False,
    ) -> Host:
        now = self._clock.now()
        change = Change(
            events=tuple(Event(at=now, body=body, host=host.name) for body in bodies),
            hosts=(host,),
            distinct_hosts=(host.name,) if distinct else (),
            routed_hosts=(host.name,) if rerouted else (),
        )
        return await call.commit(self._store, change, at_revision(host), subject=host.name)

    async def _refuse_known(self, name: str) -> None:
        # Checked before the connection: a second `host add` fails at once.
        if await self._store.find_host(name) is not None:
            raise HostAlreadyExists(host=name)

    async def _idle_host(self, name: str) -> Host:
        host = await self._store.host(name)
        running = await self._store.running_operation(name)
        if running is not None:
            raise HostBusy(host=name, operation=running.id)
        return host


def _labels(config: HostConfig) -> FormerLabels:
    return FormerLabels(groups=config.groups, tags=config.tags)


def _way(config: HostConfig) -> tuple[str, str]:
    """What decides about the way to a host: its machine, and its jump."""
    return config.endpoint, config.jump


def _changes(old: Host, new: Host) -> tuple[FieldChange, ...]:
    """Changes of a host's configuration and pinned keys."""
    found = changes_of(old.config, new.config)
    if old.pins == new.pins:
        return found
    before, after = (
        ", ".join(map(fingerprint, host.host_keys)) + (" (certified)" if host.certified else "")
        for host in (old, new)
    )
    return (*found, FieldChange(path="host_key", old=before, new=after))
