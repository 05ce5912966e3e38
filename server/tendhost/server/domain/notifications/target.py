"""Targets of notifications: which notices each gets, and with which texts, without the secrets of its services."""

from dataclasses import dataclass

from tendhost.server.domain.hosts.selection import HostFilter
from tendhost.server.domain.notifications.notices import CHOOSABLE, Notice, NoticeKind
from tendhost.server.domain.notifications.templates import Message, Template, message_of


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifyTarget:
    """One target of notifications."""

    name: str
    kinds: tuple[NoticeKind, ...] = CHOOSABLE
    groups: tuple[str, ...] = ()
    """Groups of which a notice must concern a host; empty: any host."""
    tags: tuple[str, ...] = ()
    """Tags of which a notice must concern a host; empty: any host."""
    title: Template | None = None
    """None: the default text."""
    body: Template | None = None
    per_minute: int = 20
    """Number of messages in any minute; further notices are sent as one summary."""

    @property
    def selection(self) -> HostFilter | None:
        """The hosts whose notices the target gets; None: all hosts."""
        if not self.groups and not self.tags:
            return None
        return HostFilter(groups=self.groups, any_tags=self.tags)

    def wants(self, notice: Notice) -> bool:
        """Whether the target gets notices of this kind, whatever host they are about."""
        return notice.kind is NoticeKind.EVENTS_PRUNED or notice.kind in self.kinds

    def message(self, notice: Notice) -> Message:
        """The message of a notice for this target."""
        return message_of(notice, title=self.title, body=self.body)
