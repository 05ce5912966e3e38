"""JWTs of configured issuers, recognised in calls; the keys of each issuer are read beside them.

A call with a key that is known waits for nothing. One with an unknown key has the keys read again, at most once in
KEY_PAUSE whoever asks, and waits for that alone: an issuer that does not answer delays its own new keys only.
"""

import asyncio
import hashlib
import logging
from collections.abc import Sequence
from datetime import timedelta

from tendhost.server.clock import Clock
from tendhost.server.domain.access.issuers import (
    ClaimsRefused,
    Identity,
    TrustedIssuer,
    identity_of,
)
from tendhost.server.domain.request_errors import CredentialInvalid
from tendhost.server.engine.tasks import TaskSet
from tendhost.server.json_web_tokens import (
    JwtRefused,
    KeySet,
    KeySetUnusable,
    UnverifiedJwt,
    is_jwt,
    key_set,
    read,
    verified_claims,
)
from tendhost.server.outbound.key_sets import KeySetSource, KeySetUnread

logger = logging.getLogger(__name__)

CREDENTIAL = "JWT"
KEY_PAUSE = timedelta(minutes=1)
"""Between two readings of the keys of an issuer: anybody can name a key that there is not."""
KEYS_LAST = timedelta(days=1)
"""For which keys are used that could not be read again: an issuer's outage locks out nobody, and keys that were
revoked are not good for ever."""
REMEMBERED = 1024
"""Tokens of an issuer whose signature is not verified again at each call."""


class IssuerKeys:
    """One issuer, its keys, and the tokens that they have verified."""

    def __init__(self, issuer: TrustedIssuer, source: KeySetSource, *, clock: Clock) -> None:
        self.issuer = issuer
        self._source = source
        self._clock = clock
        self._keys: KeySet | None = None
        self._verified: dict[bytes, Identity] = {}
        """By the SHA-256 of the token, with the present keys."""
        self._read_at = timedelta()
        self._asked_at: timedelta | None = None
        self._problem = ""
        self._readings: TaskSet[None] = TaskSet()
        self._reading: asyncio.Task[None] | None = None

    async def keep(self) -> None:
        """Read the keys now and again and again, until cancelled."""
        while True:
            await self._read_again()
            failed = bool(self._problem)
            await self._clock.sleep(KEY_PAUSE if failed else self._source.refreshed_every)

    async def close(self) -> None:
        """End a reading that is under way."""
        await self._readings.cancel()

    async def identity(self, token: UnverifiedJwt) -> Identity:
        """Whom a token of this issuer stands for. Raises JwtRefused and ClaimsRefused."""
        if token.algorithm not in self.issuer.algorithms:
            raise JwtRefused(
                f"its algorithm is none of those that oidc_issuer {self.issuer.name!r} names"
            )
        digest = hashlib.sha256(token.text.encode()).digest()
        identity = self._verified.get(digest) if self._current() is not None else None
        if identity is None:
            identity = await self._verify(token)
            if len(self._verified) >= REMEMBERED:
                self._verified.pop(next(iter(self._verified)))
            self._verified[digest] = identity
        identity.require_current(self._clock.now(), self.issuer.leeway)
        return identity

    async def _verify(self, token: UnverifiedJwt) -> Identity:
        keys = self._current()
        key = None if keys is None else keys.key_for(token)
        if key is None and self._may_ask():
            await self._read_again()
            keys = self._current()
            key = None if keys is None else keys.key_for(token)
        if keys is None:
            raise JwtRefused(
                f"the keys of oidc_issuer {self.issuer.name!r} cannot be read at present, so its signature cannot be"
                " verified; try again, and see the server's log"
            )
        if key is None:
            named = "names no key" if token.key_id is None else "names a key that is unknown"
            raise JwtRefused(
                f"it {named}; the keys of oidc_issuer {self.issuer.name!r} are read again once a minute at most"
            )
        return identity_of(self.issuer, verified_claims(token, key))

    def _current(self) -> KeySet | None:
        too_old = self._clock.elapsed() - self._read_at >= KEYS_LAST
        return None if too_old else self._keys

    def _may_ask(self) -> bool:
        if self._reading is not None and not self._reading.done():
            return True
        return self._asked_at is None or self._clock.elapsed() - self._asked_at >= KEY_PAUSE

    async def _read_again(self) -> None:
        """Read the keys, together with everybody who waits for them. A failure leaves the former ones."""
        if self._reading is None or self._reading.done():
            self._asked_at = self._clock.elapsed()
            self._reading = self._readings.start(self._read())
        # Who waits may go away: the others still want the keys.
        await asyncio.shield(self._reading)

    async def _read(self) -> None:
        try:
            keys = key_set(await self._source.read())
        except (KeySetUnread, KeySetUnusable) as error:
            self._note(str(error))
        except Exception:
            logger.exception("the keys of an issuer were not read", extra=self._fields())
            self._problem = "an unexpected fault"
        else:
            self._keys, self._verified, self._read_at = keys, {}, self._clock.elapsed()
            self._note("")

    def _note(self, problem: str) -> None:
        if problem and problem != self._problem:
            fields = {**self._fields(), "cause": problem}
            logger.warning("the keys of an issuer were not read", extra=fields)
        elif self._problem and not problem:
            logger.info("the keys of an issuer were read again", extra=self._fields())
        self._problem = problem

    def _fields(self) -> dict[str, str]:
        return {"issuer": self.issuer.name}


class Issuers:
    """Every configured issuer."""

    def __init__(
        self, issuers: Sequence[tuple[TrustedIssuer, KeySetSource]], *, clock: Clock
    ) -> None:
        self.keys = [IssuerKeys(issuer, source, clock=clock) for issuer, source in issuers]
        self._by_issuer = {keys.issuer.issuer: keys for keys in self.keys}

    def recognises(self, text: str) -> bool:
        """Whether `text` is to be looked at as a JWT, rather than as a token of this server."""
        return is_jwt(text)

    async def identity(self, text: str) -> Identity:
        """Whom a JWT stands for. Raises CredentialInvalid, which never repeats the text."""
        try:
            if not self._by_issuer:
                raise JwtRefused(
                    "it does not begin with tend_, and the server's configuration has no [[oidc_issuer]] for JWTs"
                )
            token = read(text)
            keys = self._by_issuer.get(token.issuer)
            if keys is None:
                raise JwtRefused("no [[oidc_issuer]] of the server's configuration has its issuer")
            return await keys.identity(token)
        except (JwtRefused, ClaimsRefused) as error:
            raise CredentialInvalid(credential=CREDENTIAL, problem=str(error)) from None

    async def close(self) -> None:
        """End the readings that are under way."""
        for keys in self.keys:
            await keys.close()
