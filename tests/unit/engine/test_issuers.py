"""The keys of issuers: read together, kept through outages, and not for ever."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from tendhost.server.domain.request_errors import CredentialInvalid
from tendhost.server.engine.issuers import KEYS_LAST, REMEMBERED, Issuers
from tendhost.server.outbound.key_sets import KeySetUnread
from tests.unit.engine.fake_clock import FakeClock
from tests.unit.jwt_issuer import public_jwk, published, token, trusted

LONG: dict[str, Any] = {"exp": 4_000_000_000}


class Source:
    """Keys that a test holds back, or has not."""

    refreshed_every = timedelta(hours=1)

    def __init__(self) -> None:
        self.body: bytes | None = published()
        self.asked = 0
        self.held = asyncio.Event()
        self.held.set()

    async def read(self) -> bytes:
        self.asked += 1
        await self.held.wait()
        if self.body is None:
            raise KeySetUnread("status 503")
        return self.body


class Setting:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.source = Source()
        self.issuers = Issuers([(trusted(), self.source)], clock=self.clock)

    async def name(self, text: str) -> str:
        return (await self.issuers.identity(text)).name


@pytest.fixture
def setting():
    return Setting()


async def test_keys__are_read_once_for_all_who_wait(setting: Setting):
    setting.source.held.clear()
    waiting = [asyncio.ensure_future(setting.name(token())) for _ in range(100)]
    await asyncio.sleep(0)
    gone = waiting.pop()
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    setting.source.held.set()
    assert set(await asyncio.gather(*waiting)) == {"company+kim"}
    assert setting.source.asked == 1


async def test_unknown_key__holds_up_no_token_with_a_known_one(setting: Setting):
    await setting.name(token())
    setting.clock.advance(timedelta(minutes=1))
    setting.source.held.clear()
    waiting = asyncio.ensure_future(setting.name(token("ES256", 1)))
    await asyncio.sleep(0)
    assert await setting.name(token()) == "company+kim"
    assert not waiting.done()
    setting.source.held.set()
    with pytest.raises(CredentialInvalid, match="names a key that is unknown"):
        await waiting


async def test_keys__that_cannot_be_read_again_are_used_for_a_day(
    setting: Setting, caplog: pytest.LogCaptureFixture
):
    await setting.name(token(**LONG))
    setting.source.body = None
    keeping = asyncio.ensure_future(setting.issuers.keys[0].keep())
    for _ in range(3):
        await asyncio.sleep(0)
    setting.clock.advance(KEYS_LAST - timedelta(seconds=1))
    assert await setting.name(token(**LONG)) == "company+kim"
    setting.clock.advance(timedelta(seconds=1))
    with pytest.raises(CredentialInvalid, match="cannot be read at present"):
        await setting.name(token(**LONG))
    # Told once, not each minute.
    told = [r for r in caplog.records if r.getMessage() == "the keys of an issuer were not read"]
    assert len(told) == 1
    setting.source.body = published()
    setting.clock.advance(timedelta(minutes=2))
    assert await setting.name(token(**LONG)) == "company+kim"
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    await setting.issuers.close()


async def test_token__that_was_verified_expires_all_the_same(setting: Setting):
    await setting.name(token())
    setting.clock.advance(timedelta(minutes=11))
    with pytest.raises(CredentialInvalid, match="it expired at"):
        await setting.name(token())


async def test_token__that_was_verified_ends_with_its_key(setting: Setting):
    await setting.name(token())
    setting.source.body = published(public_jwk("ES256", 1))
    setting.clock.advance(timedelta(minutes=1))
    await setting.name(token("ES256", 1))
    with pytest.raises(CredentialInvalid, match="names a key that is unknown"):
        await setting.name(token())


async def test_remembered_tokens__are_bounded(setting: Setting, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tendhost.server.engine.issuers.REMEMBERED", 3)
    for number in range(5):
        await setting.name(token("EdDSA" if number > 9 else "ES256", jti=str(number)))
    assert len(setting.issuers.keys[0]._verified) == 3
    assert REMEMBERED > 3


async def test_algorithm__that_the_issuer_may_not_use_is_refused():
    issuers = Issuers([(trusted(algorithms=frozenset({"RS256"})), Source())], clock=FakeClock())
    with pytest.raises(CredentialInvalid, match="none of those that oidc_issuer 'company' names"):
        await issuers.identity(token())
