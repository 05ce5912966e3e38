"""Saved selections: created, changed, deleted, and looked up for the requests that name one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from tendhost.server.clock import Clock
from tendhost.server.domain.access.scope import Scope
from tendhost.server.domain.changes import FieldChange, changes_of
from tendhost.server.domain.etags import require_etag
from tendhost.server.domain.events import Event, SelectionChange, SelectionChanged
from tendhost.server.domain.hosts.selection import HostFilter, SavedSelection, is_glob
from tendhost.server.domain.hosts.unmatched import KnownNames, unmatched, warnings_of
from tendhost.server.domain.request_errors import (
    FieldViolation,
    InvalidArgument,
    SelectionInUse,
)
from tendhost.server.engine.requests import MutationContext, retried_on_conflict
from tendhost.server.store.paging import every_schedule
from tendhost.server.store.protocols.access import ScopeStore
from tendhost.server.store.protocols.commits import CommitStore
from tendhost.server.store.protocols.hosts import HostStore
from tendhost.server.store.protocols.policies import ScheduleStore, SelectionStore
from tendhost.server.store.records import Change, Unreadable


class SavedSelectionStore(
    SelectionStore, ScheduleStore, HostStore, ScopeStore, CommitStore, Protocol
):
    """Selections, the schedules that name them, and the hosts that they name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectionView:
    """A saved selection with its warnings."""

    selection: SavedSelection
    warnings: tuple[str, ...] = ()
    """Entries of its filter that match no host."""


class Selections:
    """Every saved selection."""

    def __init__(self, *, store: SavedSelectionStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def resolved(self, asked: HostFilter) -> HostFilter:
        """The filter with the saved selection that it names, as that is now.

        Raises SelectionNotFound.
        """
        if not asked.selection:
            return replace(asked, also=None)
        return replace(asked, also=(await self._store.selection(asked.selection)).filter)

    async def unmatched(
        self, asked: HostFilter, *, scope: Scope | None = None
    ) -> Sequence[FieldViolation]:
        """Entries of `asked`, or of the saved selection that it names, that match no host.

        With a scope, that match none of its hosts; what a saved selection has is not told then. Raises
        SelectionNotFound.
        """
        if scope is not None:
            await self.resolved(asked)
            return list(unmatched(asked, await self._known_within(scope, asked)))
        found = list(unmatched(asked, await self._store.known_names(asked)))
        saved = (await self.resolved(asked)).also
        if saved is not None:
            within = unmatched(saved, await self._store.known_names(saved))
            found += [
                FieldViolation(
                    "selection", f"{asked.selection!r} has {one.field}: {one.description}"
                )
                for one in within
            ]
        return found

    async def _known_within(self, scope: Scope, asked: HostFilter) -> KnownNames:
        """As HostStore.known_names, of the hosts of a scope; of those that a glob matches, one stands for all."""
        entries = {*asked.names, *asked.exclude_hosts}
        globs = set(filter(is_glob, entries))
        names = set(await self._store.hosts_within(scope, entries - globs))
        for glob in globs:
            some = await self._store.hosts(scope.narrow(HostFilter(names=(glob,))), limit=1)
            names.update(row.key if isinstance(row, Unreadable) else row.name for row in some.rows)
        groups, tags = await self._store.scoped_groups(scope), await self._store.scoped_tags(scope)
        return KnownNames(
            names=frozenset(names),
            tags=frozenset(tag for tag, _ in tags),
            groups=frozenset(group for group, _ in groups),
        )

    async def view(self, saved: SavedSelection) -> SelectionView:
        """The selection with its warnings."""
        return SelectionView(
            selection=saved, warnings=warnings_of(await self.unmatched(saved.filter))
        )

    async def create(
        self, name: str, selection: HostFilter, call: MutationContext[SelectionView]
    ) -> SelectionView:
        """Save a new selection. Raises InvalidArgument, SelectionAlreadyExists, AlreadyProcessed."""
        _require_own_hosts(selection)
        made = SavedSelection(
            name=name,
            filter=selection,
            changed_at=self._clock.now(),
            changed_by=call.principal,
        )
        return await self._saved(await self.view(made), SelectionChange.CREATED, call)

    @retried_on_conflict
    async def update(
        self,
        name: str,
        amended: Callable[[HostFilter], HostFilter],
        call: MutationContext[SelectionView],
        *,
        etag: str = "",
    ) -> SelectionView:
        """Change the filter of a selection.

        Later requests and later runs of schedules use the new filter; rollouts that have started keep their
        hosts. Raises SelectionNotFound, InvalidArgument, EtagMismatch, AlreadyProcessed.
        """
        former = await self._store.selection(name)
        require_etag(f"selection {name!r}", wanted=etag, current=former.etag)
        selection = amended(former.filter)
        _require_own_hosts(selection)
        now = self._clock.now()
        if selection == former.filter:
            return await call.commit_unchanged(
                self._store, await self.view(former), now, subject=former.name
            )
        changed = replace(former, filter=selection, changed_at=now, changed_by=call.principal)
        changes = changes_of(former.filter, selection)
        view = await self.view(changed)
        return await self._saved(view, SelectionChange.UPDATED, call, changes=changes)

    @retried_on_conflict
    async def delete(
        self, name: str, call: MutationContext[SelectionView], *, etag: str = ""
    ) -> SelectionView:
        """Delete a selection.

        Raises SelectionNotFound, SelectionInUse (a schedule uses it), EtagMismatch, AlreadyProcessed.
        """
        saved = await self._store.selection(name)
        require_etag(f"selection {name!r}", wanted=etag, current=saved.etag)
        await self._require_unused(name)
        return await self._saved(SelectionView(selection=saved), SelectionChange.DELETED, call)

    async def _require_unused(self, name: str) -> None:
        async for schedule in every_schedule(self._store):
            if schedule.spec.rollout.filter.selection == name:
                raise SelectionInUse(selection=name, schedule=schedule.name)

    async def _saved(
        self,
        view: SelectionView,
        what: SelectionChange,
        call: MutationContext[SelectionView],
        *,
        changes: tuple[FieldChange, ...] = (),
    ) -> SelectionView:
        now, by, saved = self._clock.now(), call.principal, view.selection
        deleted = what is SelectionChange.DELETED
        body = SelectionChanged(
            selection=saved.name, change=what, message=f"by {by}", by=by, changes=changes
        )

        def at_revision(revision: int) -> SelectionView:
            return replace(view, selection=replace(saved, revision=revision))

        change = Change(
            events=(Event(at=now, body=body),),
            selections=() if deleted else (saved,),
            removed_selections=(saved,) if deleted else (),
        )
        return await call.commit(self._store, change, at_revision, subject=saved.name)


def _require_own_hosts(selection: HostFilter) -> None:
    """Raise InvalidArgument where the filter of a saved selection uses another one."""
    if selection.selection:
        words = f"{selection.selection!r}: a saved selection cannot use another saved selection"
        raise InvalidArgument(FieldViolation(field="filter.selection", description=words))
