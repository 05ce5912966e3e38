"""The watch over certificates: events that are told once, across restarts, and what is shown."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tendhost.server.domain.access.certificate_expiry import CertificateExpiry, CertificateUse
from tendhost.server.domain.events import CertificateExpiring
from tendhost.server.domain.notifications.notices import FollowedRollouts, NoticeKind, noticed
from tendhost.server.domain.notifications.templates import Urgency, message_of
from tests.unit.engine.fake_clock import START
from tests.unit.engine.world import World

DAY = timedelta(days=1)


@pytest.fixture
async def world(tmp_path: Path):
    async with World(tmp_path / "tendhost.db").remembered() as world:
        yield world


def server(expires_at, **how: Any) -> CertificateExpiry:
    return CertificateExpiry(
        use=CertificateUse.SERVER, file="/etc/server.pem", expires_at=expires_at, **how
    )


async def told(world: World) -> Sequence[str]:
    return [e.body.message for e in await world.events() if isinstance(e.body, CertificateExpiring)]


async def looked(world: World, found: CertificateExpiry) -> None:
    """A server that looks at its certificate once, at its start."""
    async with world.running(read_expiries=lambda: [found]) as engine:

        async def seen() -> bool:
            stored = await world.store.told_expiries()
            return bool(engine.certificates.expiries) and (
                stored is not None or not found.expires_at
            )

        await world.until(seen)


async def test_expiry__is_told_once_across_restarts(world: World, caplog):
    found = server(START + 31 * DAY)
    async with world.running(read_expiries=lambda: [found]) as engine:

        async def number(wanted: int) -> None:
            async def reached() -> bool:
                return len(await told(world)) == wanted

            await world.until(reached)

        async def read() -> bool:
            return bool(engine.certificates.expiries)

        await world.until(read)
        assert await told(world) == []
        for wanted, days in ((1, 1), (2, 23), (3, 7)):
            world.clock.advance(days * DAY)
            await number(wanted)
    await looked(world, found)
    assert [" ".join(text.split()[5:9]) for text in await told(world)] == [
        "expires in 30 days,",
        "expires in 7 days,",
        "has expired, at 2026-04-01",
    ]
    assert "a certificate expires or cannot be used" in caplog.text


async def test_certificate_that_cannot_be_read__is_shown_and_logged(world: World, caplog):
    found = server(None, problem="it cannot be read (Permission denied)")
    await looked(world, found)
    assert await told(world) == []
    assert "a certificate expires or cannot be used" in caplog.text
    assert any("Permission denied" in str(vars(record)) for record in caplog.records)


async def test_certificate_that_is_not_valid_yet__is_shown_and_logged_until_it_is(
    world: World, caplog
):
    found = server(START + 100 * DAY, valid_from=START + timedelta(hours=2))
    async with world.running(read_expiries=lambda: [found]) as engine:

        async def shown(problem: bool) -> None:
            async def reached() -> bool:
                seen = engine.certificates.expiries
                return bool(seen) and bool(seen[0].problem) is problem

            await world.until(reached)

        await shown(problem=True)
        (seen,) = engine.certificates.expiries
        assert (
            "not valid before 2026-03-01 14:00 UTC, and the clock of the server says"
            in seen.problem
        )
        assert any("not valid before" in str(vars(record)) for record in caplog.records)
        world.clock.advance(timedelta(hours=3))
        await shown(problem=False)
    assert await told(world) == []


async def test_event__leads_to_a_notice(world: World):
    await looked(world, server(START + 7 * DAY))
    (event,) = await world.events()
    _, (notice,) = noticed(FollowedRollouts(), event)
    assert notice.kind is NoticeKind.CERTIFICATE_EXPIRING
    message = message_of(notice)
    assert message.title == "A certificate of the server expires"
    assert message.urgency is Urgency.WARNING
    assert "expires in 7 days" in message.body
