"""Policies of groups and the fleet: changes, of which running rollouts are told, and the effective policy of a host.

The stored policies are few and are kept in memory, since every rollout asks for every host. Listeners are
called when other policies may apply to a host.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from tendhost.server.clock import Clock
from tendhost.server.domain.changes import FieldChange, changes_of
from tendhost.server.domain.etags import require_etag
from tendhost.server.domain.events import Event, PolicyChanged
from tendhost.server.domain.hosts.group_policy import (
    EffectivePolicy,
    GroupPolicy,
    effective,
    open_times,
)
from tendhost.server.domain.hosts.group_policy_change import GroupPolicyChange
from tendhost.server.domain.hosts.host import HostConfig
from tendhost.server.domain.hosts.selection import HostFilter
from tendhost.server.domain.hosts.unmatched import unmatched
from tendhost.server.domain.policy.availability import Availability, ChangeWindows
from tendhost.server.domain.policy.windows import MaintenanceWindow
from tendhost.server.domain.request_errors import PolicyNotFound, StoreUnavailable
from tendhost.server.engine.requests import MutationContext, at_revision, retried_on_conflict
from tendhost.server.engine.waiting import CEILING, sleep_until_called
from tendhost.server.store.protocols.commits import CommitStore
from tendhost.server.store.protocols.hosts import HostStore
from tendhost.server.store.protocols.policies import PolicyStore
from tendhost.server.store.records import Change, PoliciesVersion, Touched

logger = logging.getLogger(__name__)

POLICY_CHANGED = "policy_changed"
HOST_KINDS = frozenset({"host_registered", "host_reconfigured", "host_unregistered"})
"""Kinds of the events after which other windows may apply to a host, or none."""
Key = tuple[tuple[MaintenanceWindow, ...], tuple[str, ...]]
"""What the change windows of a host depend on: its own windows, and its groups."""


class GroupPolicyStore(PolicyStore, HostStore, CommitStore, Protocol):
    """Policies, and the hosts that they hold for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyView:
    """The effective policy of a host, and when it may be updated; no availability: now."""

    host: str
    policy: EffectivePolicy
    availability: Availability | None


class Policies:
    """The policies of all groups and of the fleet, and the effective policies of hosts."""

    def __init__(self, *, store: GroupPolicyStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._lock = asyncio.Lock()
        self._group_policies: Mapping[str, GroupPolicy] = {}
        self._open_times: dict[Key, ChangeWindows] = {}
        self._changed = asyncio.Event()
        """Set when a policy was changed, on whichever replica."""
        self._stop_listening = store.listen(self._hear)
        self._listeners: list[Callable[[str], None]] = []

    def on_change(self, listener: Callable[[str], None]) -> None:
        """Call `listener` whenever another policy may apply to a host, with its name; empty: to any host."""
        self._listeners.append(listener)

    # --- effective policies -------------------------------------------------------------------------------

    async def load(self) -> None:
        """Read the stored policies. Call this before anything else. Raises StoreUnavailable."""
        self._use(await self._stored())

    async def keep(self) -> None:
        """Read the stored policies whenever a replica has changed one, and every CEILING, until cancelled."""
        while True:
            await sleep_until_called(self._clock, CEILING, self._changed)
            self._changed.clear()
            try:
                await self._reload()
            except StoreUnavailable as error:
                logger.warning("policies were not read again", extra={"cause": error.cause})
            except Exception:
                logger.exception("policies were not read again")

    def close(self) -> None:
        """Hear of no further commits."""
        self._stop_listening()

    def _hear(self, touched: Touched) -> None:
        """Read the policies again, or have rollouts decide again about hosts, after a commit of any replica."""
        if POLICY_CHANGED in touched.kinds:
            self._changed.set()
        if touched.kinds & HOST_KINDS:
            for name in touched.hosts:
                self._notify(name)

    async def refreshed(self) -> PoliciesVersion:
        """The version of the policies in use, which are the stored ones. Raises StoreUnavailable."""
        if await self._store.policies_version() != self.version:
            await self._reload()
        return self.version

    @property
    def version(self) -> PoliciesVersion:
        """The version of the policies in use."""
        revisions = [policy.revision for policy in self._group_policies.values()]
        return len(revisions), max(revisions, default=0)

    async def _reload(self) -> None:
        async with self._lock:
            former = self._group_policies
            stored = await self._stored()
            if stored != former:
                self._use(stored)
        if stored != former:
            self._notify("")

    async def _stored(self) -> Mapping[str, GroupPolicy]:
        return {found.group: found for found in await self._store.group_policies()}

    def _use(self, group_policies: Mapping[str, GroupPolicy]) -> None:
        self._group_policies = group_policies
        self._open_times.clear()

    def of(self, config: HostConfig) -> EffectivePolicy:
        """The effective policy of a host now."""
        return effective(config, self._group_policies)

    def open_times(
        self, windows: tuple[MaintenanceWindow, ...], groups: tuple[str, ...]
    ) -> ChangeWindows:
        """When a host with these windows of its own and in these groups may be changed."""
        key = (windows, groups)
        if key not in self._open_times:
            self._open_times[key] = open_times(windows, groups, self._group_policies)
        return self._open_times[key]

    def open_times_now(self) -> Callable[..., ChangeWindows]:
        """`open_times` with the policies of now, for a thread."""
        policies = self._group_policies  # never changed, only replaced
        return lambda windows, groups: open_times(windows, groups, policies)

    def group_policy(self, group: str) -> GroupPolicy:
        """The policy of a group, or of the fleet; an empty one where none is set."""
        return self._group_policies.get(group, GroupPolicy(group=group))

    def all_group_policies(self) -> Sequence[GroupPolicy]:
        """The policies of the fleet and of groups, by group."""
        return sorted(self._group_policies.values(), key=lambda policy: policy.group)

    async def view(self, name: str) -> PolicyView:
        """The effective policy of a host, and when it may be updated. Raises HostNotFound."""
        host = await self._store.host(name)
        policy = self.of(host.config)
        availability = policy.open_times.availability(self._clock.now(), host.planned_update)
        return PolicyView(host=name, policy=policy, availability=availability)

    # --- changes by users ---------------------------------------------------------------------------

    async def warnings(self, group: str) -> tuple[str, ...]:
        """Warnings about a policy of this group: that no host is in it. Empty for the fleet."""
        if not group:
            return ()
        named = HostFilter(groups=(group,))
        found = unmatched(named, await self._store.known_names(named))
        return tuple(one.description for one in found)

    @retried_on_conflict
    async def change(
        self, wanted: GroupPolicyChange, call: MutationContext[GroupPolicy]
    ) -> GroupPolicy:
        """Change the policy of a group or of the fleet.

        Raises InvalidArgument, EtagMismatch, AlreadyProcessed.
        """
        async with self._lock:
            await self.load()
            former = self.group_policy(wanted.given.group)
            require_etag(_whose(former.group), wanted=wanted.etag, current=former.etag)
            now = self._clock.now()
            policy = wanted.of(former, now)
            if policy == former:
                return await call.commit_unchanged(
                    self._store, former, now, subject=_subject(former.group)
                )
            changed = replace(policy, changed_by=call.principal, changed_at=now)
            return await self._saved(changed, call, changes=changes_of(former, policy))

    @retried_on_conflict
    async def delete(
        self, group: str, call: MutationContext[GroupPolicy], *, etag: str = ""
    ) -> GroupPolicy:
        """Delete the policy of a group or of the fleet.

        Raises PolicyNotFound, EtagMismatch, AlreadyProcessed.
        """
        async with self._lock:
            await self.load()
            former = self._group_policies.get(group)
            if former is None:
                raise PolicyNotFound(group=group)
            require_etag(_whose(group), wanted=etag, current=former.etag)
            return await self._saved(former, call, deleted=True)

    async def _saved(
        self,
        policy: GroupPolicy,
        call: MutationContext[GroupPolicy],
        *,
        deleted: bool = False,
        changes: tuple[FieldChange, ...] = (),
    ) -> GroupPolicy:
        now = self._clock.now()
        body = PolicyChanged(
            group=policy.group, by=call.principal, deleted=deleted, changes=changes
        )
        change = Change(
            events=(Event(at=now, body=body),),
            group_policies=() if deleted else (policy,),
            removed_group_policies=(policy,) if deleted else (),
        )
        saved = await call.commit(
            self._store, change, at_revision(policy), subject=_subject(policy.group)
        )
        # Not read again: the policy applies from now on, even if the store becomes unavailable.
        others = {
            group: other for group, other in self._group_policies.items() if group != saved.group
        }
        self._use(others if deleted else {**others, saved.group: saved})
        self._notify("")
        return saved

    def _notify(self, host: str) -> None:
        for listener in self._listeners:
            listener(host)


def _subject(group: str) -> str:
    return f"group {group}" if group else "fleet"


def _whose(group: str) -> str:
    return f"the policy of group {group!r}" if group else "the policy of the fleet"
