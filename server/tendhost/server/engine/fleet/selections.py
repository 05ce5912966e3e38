"""Saved selections: kept, forgotten, and looked up for the requests that name one."""

from collections.abc import Sequence
from dataclasses import replace

from tendhost.server.clock import Clock
from tendhost.server.domain.changes import FieldChange, changes_of
from tendhost.server.domain.etags import require_etag
from tendhost.server.domain.events import Event, SelectionChange, SelectionChanged
from tendhost.server.domain.hosts.selection import HostFilter, SavedSelection
from tendhost.server.domain.hosts.unmatched import unmatched
from tendhost.server.domain.request_errors import (
    FieldViolation,
    InvalidArgument,
    SelectionInUse,
    SelectionNotFound,
)
from tendhost.server.engine.requests import MutationContext, at_revision, retried_on_conflict
from tendhost.server.store.protocol import Store
from tendhost.server.store.records import Change

PAGE = 1000


class Selections:
    """Every saved selection."""

    def __init__(self, *, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def resolved(self, asked: HostFilter) -> HostFilter:
        """The filter with what the saved selection that it names stands for now.

        Raises SelectionNotFound.
        """
        if not asked.selection:
            return replace(asked, also=None)
        return replace(asked, also=(await self._store.selection(asked.selection)).filter)

    async def unmatched(self, asked: HostFilter) -> Sequence[FieldViolation]:
        """What `asked`, or the saved selection that it names, names and no host has.

        Raises SelectionNotFound.
        """
        found = list(unmatched(asked, await self._store.known(asked)))
        saved = (await self.resolved(asked)).also
        if saved is not None:
            within = unmatched(saved, await self._store.known(saved))
            found += [
                FieldViolation(
                    "selection", f"{asked.selection!r} has {one.field}: {one.description}"
                )
                for one in within
            ]
        return found

    @retried_on_conflict
    async def save(
        self,
        name: str,
        selection: HostFilter,
        call: MutationContext[SavedSelection],
        *,
        etag: str = "",
    ) -> SavedSelection:
        """Keep a selection under a name, in place of the one that had it.

        Whoever names it from now on gets the new one, schedules included; rollouts that have begun keep
        their hosts. Raises InvalidArgument, EtagMismatch, AlreadyProcessed.
        """
        if selection.selection:
            raise InvalidArgument(
                FieldViolation(
                    field="filter.selection",
                    description=f"{selection.selection!r}: a saved selection names no other one",
                )
            )
        now = self._clock.now()
        former = await self._former(name)
        current = former.etag if former is not None else ""
        require_etag(f"selection {name!r}", wanted=etag, current=current)
        if former is not None and former.filter == selection:
            return await call.commit_unchanged(self._store, former, now)
        saved = SavedSelection(
            name=name,
            filter=selection,
            saved_at=now,
            saved_by=call.principal,
            revision=former.revision if former is not None else 0,
        )
        changes = changes_of(former.filter, selection) if former is not None else ()
        return await self._stored(saved, SelectionChange.SAVED, call, changes=changes)

    @retried_on_conflict
    async def delete(
        self, name: str, call: MutationContext[SavedSelection], *, etag: str = ""
    ) -> SavedSelection:
        """Forget a selection.

        Raises SelectionNotFound, SelectionInUse (a schedule names it), EtagMismatch, AlreadyProcessed.
        """
        saved = await self._store.selection(name)
        require_etag(f"selection {name!r}", wanted=etag, current=saved.etag)
        await self._require_unused(name)
        return await self._stored(saved, SelectionChange.DELETED, call)

    async def _former(self, name: str) -> SavedSelection | None:
        try:
            return await self._store.selection(name)
        except SelectionNotFound:
            return None

    async def _require_unused(self, name: str) -> None:
        after, more = "", True
        while more:
            page = await self._store.schedules(after=after, limit=PAGE)
            for schedule in page.items:
                if schedule.spec.rollout.filter.selection == name:
                    raise SelectionInUse(selection=name, schedule=schedule.name)
            more = page.more
            after = page.items[-1].name if page.items else after

    async def _stored(
        self,
        saved: SavedSelection,
        what: SelectionChange,
        call: MutationContext[SavedSelection],
        *,
        changes: tuple[FieldChange, ...] = (),
    ) -> SavedSelection:
        now = self._clock.now()
        deleted = what is SelectionChange.DELETED
        by = call.principal
        body = SelectionChanged(
            selection=saved.name, change=what, message=f"by {by}", by=by, changes=changes
        )
        change = Change(
            events=(Event(at=now, body=body),),
            selections=() if deleted else (saved,),
            removed_selections=(saved,) if deleted else (),
        )
        return await call.commit(self._store, change, at_revision(saved), subject=saved.name)
