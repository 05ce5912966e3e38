"""Whom to tell of what: one target of notifications, without the secrets of how it is reached."""

from dataclasses import dataclass

from tendhost.server.domain.hosts.selection import HostFilter
from tendhost.server.domain.notifications.notices import CHOOSABLE, Notice, NoticeKind
from tendhost.server.domain.notifications.templates import Message, Template, message_of


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifyTarget:
    """What one target hears, and how it reads."""

    name: str
    kinds: tuple[NoticeKind, ...] = CHOOSABLE
    groups: tuple[str, ...] = ()
    """Only what is about a host in one of them; empty: about any."""
    tags: tuple[str, ...] = ()
    """Only what is about a host with one of them; empty: about any."""
    title: Template | None = None
    """None: as it reads by default."""
    body: Template | None = None
    per_minute: int = 20
    """So many messages are sent in any minute; what is beyond is gathered to one."""

    @property
    def selection(self) -> HostFilter | None:
        """The hosts that this target hears about; None: all of them."""
        if not self.groups and not self.tags:
            return None
        return HostFilter(groups=self.groups, any_tags=self.tags)

    def hears(self, notice: Notice) -> bool:
        """Whether this target wants notices of this kind, whichever host they are about."""
        return notice.kind is NoticeKind.EVENTS_PRUNED or notice.kind in self.kinds

    def message(self, notice: Notice) -> Message:
        """How a notice reads for this target."""
        return message_of(notice, title=self.title, body=self.body)
