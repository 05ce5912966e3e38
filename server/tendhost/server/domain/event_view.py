"""What a caller that is bound to hosts sees of an event."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from tendhost.server.domain.access.scope import Scope
from tendhost.server.domain.events import (
    DuplicatesChanged,
    Event,
    FormerLabels,
    HostReconfigured,
    HostRegistered,
    HostUnregistered,
)
from tendhost.server.domain.hosts.selection import HostFilter


@dataclass(frozen=True, slots=True, kw_only=True)
class EventView:
    """Whose events a bound caller sees: those of the hosts of its scope that it asks for.

    A host that leaves the scope is told as removed, one that joins it as registered, in the words of one that
    really is: whether it is elsewhere is not to be learnt.
    """

    scope: Scope
    asked: HostFilter
    """What the caller asks for, within the scope."""
    since: datetime | None
    """When the credential was issued: of hosts that had left by then nothing is told. None: not known."""

    def seen(
        self, event: Event, *, inside: Collection[str], selected: Collection[str]
    ) -> Event | None:
        """The event as the caller sees it; None: not at all.

        `inside` are those hosts of `mentioned(event)` that the scope has now, `selected` those that `asked` selects.
        """
        if not event.host:
            return None
        if event.host in selected:
            return self._of_its_host(event, inside)
        if event.host in inside or not self._left(event):
            return None
        return Event(at=event.at, body=HostUnregistered(), host=event.host, revision=event.revision)

    def _of_its_host(self, event: Event, inside: Collection[str]) -> Event:
        body = event.body
        if isinstance(body, DuplicatesChanged):
            alike = tuple(one for one in body.duplicate_of if one.host in inside)
            return replace(event, body=DuplicatesChanged(duplicate_of=alike))
        former = body.former_labels if isinstance(body, HostReconfigured) else None
        joined = former is not None and not self._had(former)
        return replace(event, body=HostRegistered()) if joined else event

    def _left(self, event: Event) -> bool:
        body = event.body
        if not isinstance(body, HostReconfigured | HostUnregistered) or body.former_labels is None:
            return False
        issued = self.since is None or event.at >= self.since
        return issued and self._had(body.former_labels) and self.asked.may_match(event.host)

    def _had(self, labels: FormerLabels) -> bool:
        return self.scope.has_labels(groups=labels.groups, tags=labels.tags)


def mentioned(event: Event) -> Iterator[str]:
    """The hosts that an event of a host names."""
    if event.host:
        yield event.host
        if isinstance(event.body, DuplicatesChanged):
            yield from (one.host for one in event.body.duplicate_of)
