"""Members of a rollout that wait for their windows are looked at anew: other ones may hold by now."""

from collections.abc import Iterable

from tendhost.server.domain.rollouts.progress_update import Tally
from tendhost.server.domain.rollouts.rollout import Member, MemberStatus, WaitingFor
from tendhost.server.engine.admission import HoldUp, LeaveOut, Turn


async def look_at_windows(members: Iterable[Member], turn: Turn, tally: Tally) -> None:
    """Move those whose windows, or freeze periods, say something else than when they began to wait."""
    for member in members:
        if member.waiting is not WaitingFor.WINDOW:
            continue
        match await turn.window(member):
            case None:
                tally.move(member, MemberStatus.PENDING, detail="")
            case LeaveOut(detail=detail):
                tally.move(member, MemberStatus.SKIPPED, detail=detail)
            case HoldUp(detail=detail, not_before=at):
                if (detail, at) != (member.detail, member.not_before):
                    tally.move(
                        member,
                        MemberStatus.WAITING,
                        waiting=WaitingFor.WINDOW,
                        not_before=at,
                        detail=detail,
                    )
