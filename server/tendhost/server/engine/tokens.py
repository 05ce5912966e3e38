"""Bearer tokens: created, listed and deleted by admins, and recognised in calls."""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Protocol

from tendhost.server.clock import Clock
from tendhost.server.domain.access.roles import Role
from tendhost.server.domain.access.scope import Scope
from tendhost.server.domain.access.tokens import (
    Token,
    TokenMalformed,
    digest_of,
    id_of,
    id_part,
    mint,
)
from tendhost.server.domain.hosts.unmatched import unmatched
from tendhost.server.domain.request_errors import (
    CredentialInvalid,
    FieldViolation,
    InvalidArgument,
    TokenNotFound,
)
from tendhost.server.engine.requests import MutationContext
from tendhost.server.engine.waiting import CEILING, repeat_every
from tendhost.server.store.protocols.access import ScopeStore, TokenStore
from tendhost.server.store.protocols.commits import CommitStore
from tendhost.server.store.protocols.hosts import HostStore
from tendhost.server.store.records import Change, Page

logger = logging.getLogger(__name__)

_USED_APART = timedelta(minutes=1)
"""The last use of a token is noted no more often than this: a call must not cost a write."""
CREDENTIAL = "token"


class IssuedTokenStore(TokenStore, ScopeStore, HostStore, CommitStore, Protocol):
    """Tokens, changes of them, and the hosts that they are bound to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewToken:
    """A token that was just created."""

    token: Token
    text: str = field(repr=False)
    """What its user presents; it is stored nowhere, and cannot be shown again."""


class Tokens:
    """Every token. They are kept in memory, since every call looks for one."""

    def __init__(
        self,
        *,
        store: IssuedTokenStore,
        clock: Clock,
        reread: timedelta = CEILING,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        """`reread`: interval at which the tokens are read again that other replicas have created and deleted."""
        self._store = store
        self._clock = clock
        self._reread = reread
        self._random = random
        self._tokens: Mapping[str, Token] = {}
        self._changes = 0
        """How many tokens were created and deleted: what was read meanwhile is out of date."""
        self._under_way: dict[asyncio.Timeout, Callable[[], None]] = {}
        """What is done with credentials, to be ended with them, and what raises CredentialInvalid then."""
        self._used: dict[str, datetime] = {}
        """Uses that are not stored yet."""

    async def load(self) -> None:
        """Read the stored tokens. Call this before anything else. Raises StoreUnavailable."""
        changes = self._changes
        stored = await self._store.tokens()
        if changes == self._changes:
            self._tokens = {token.id: token for token in stored}
        self._end_work()

    async def keep(self) -> None:
        """Store when tokens were used, read all of them again, and end what is done with those that have ended.

        This happens every `reread`, until cancelled.
        """
        await self._clock.sleep(self._reread)
        failed = "the last use of tokens was not stored"
        await repeat_every(
            self._reread, self._store_uses, clock=self._clock, logger=logger, failed=failed
        )

    async def _store_uses(self) -> None:
        used, self._used = self._used, {}
        if used:
            try:
                await self._store.commit(Change(events=(), used_tokens=used, at=self._clock.now()))
            except BaseException:
                self._used = used | self._used
                raise
        await self.load()

    def recognised(self, text: str) -> Token:
        """The token that `text` is. Raises CredentialInvalid: it is none, is deleted, or has expired."""
        token = self._tokens.get(id_part(text))
        if token is None or not token.matches(text):
            raise _not_known(text)
        now = self._clock.now()
        _refuse_expired(token, now)
        former = self._used.get(token.id, token.last_used_at)
        if former is None or abs(now - former) >= _USED_APART:
            self._used[token.id] = now
        return token

    def while_valid(self, id: str) -> AbstractAsyncContextManager[None]:
        """End what is done within once the token is deleted, or within CEILING of its expiry.

        Raises CredentialInvalid then.
        """
        return self._while(lambda: self._require(id))

    def while_before(self, end: datetime, *, credential: str) -> AbstractAsyncContextManager[None]:
        """End what is done within CEILING of `end`, and raise CredentialInvalid then: `credential` has expired."""
        return self._while(lambda: self.require_before(end, credential=credential))

    @asynccontextmanager
    async def _while(self, require: Callable[[], None]) -> AsyncIterator[None]:
        """End what is done within once `require` raises CredentialInvalid, and raise it."""
        deadline = asyncio.timeout(None)
        try:
            async with deadline:
                self._under_way[deadline] = require
                require()
                yield
        except Exception:
            # A blocked write that is cancelled ends with an error of grpc's own.
            if deadline.expired():
                require()
            raise
        finally:
            self._under_way.pop(deadline, None)

    def _require(self, id: str) -> None:
        """Raise CredentialInvalid: the token is deleted, or has expired."""
        token = self._tokens.get(id)
        if token is None:
            raise CredentialInvalid(credential=CREDENTIAL, problem="it was deleted")
        _refuse_expired(token, self._clock.now())

    def require_before(self, end: datetime, *, credential: str) -> None:
        """Raise CredentialInvalid from `end` on: `credential` has expired."""
        if self._clock.now() >= end:
            raise CredentialInvalid(credential=credential, problem="it has expired")

    def _end_work(self) -> None:
        for deadline, require in self._under_way.items():
            try:
                require()
            except CredentialInvalid:
                if not deadline.expired():
                    deadline.reschedule(asyncio.get_running_loop().time())

    def page(self, *, after: str = "", limit: int) -> Page[Token]:
        """Tokens whose id follows `after`, ordered by id; at most `limit`."""
        ids = sorted(id for id in self._tokens if id > after)
        return Page(
            rows=tuple(self._with_use(self._tokens[id]) for id in ids[:limit]),
            more=len(ids) > limit,
        )

    def _with_use(self, token: Token) -> Token:
        return replace(token, last_used_at=self._used.get(token.id, token.last_used_at))

    async def create(
        self,
        *,
        principal: str,
        description: str,
        roles: tuple[Role, ...],
        scope: Scope | None = None,
        expires_at: datetime | None,
        call: MutationContext[NewToken],
    ) -> NewToken:
        """Issue a new token. Raises InvalidArgument (it has expired already; its scope has no host), AlreadyProcessed.

        A repeated request gets the answer of the first, without the text, which nobody stores.
        """
        now = self._clock.now()
        if expires_at is not None and expires_at <= now:
            words = f"must be in the future, which {expires_at:%Y-%m-%d %H:%M:%S} UTC is not"
            raise InvalidArgument(FieldViolation(field="expires_at", description=words))
        if scope is not None:
            await self._require_hosts(scope)
        id, text = mint(self._random)
        token = Token(
            id=id,
            principal=principal,
            description=description,
            roles=roles,
            scope=scope,
            digest=digest_of(text),
            created_at=now,
            created_by=call.principal,
            expires_at=expires_at,
        )
        made = NewToken(token=token, text=text)
        change = Change(events=(), tokens=(token,), at=now)
        await call.commit(self._store, change, lambda _: made, subject=id)
        self._changes += 1
        self._tokens = {**self._tokens, id: token}
        logger.info("a token was created", extra={"token": id, "by": call.principal})
        return made

    async def _require_hosts(self, scope: Scope) -> None:
        """Raise InvalidArgument for a scope, or a part of one, that no host has: most likely it is misspelt."""
        known = await self._store.known_names(scope.filter)
        found = [
            FieldViolation(f"scope.{one.field}", one.description)
            for one in unmatched(scope.filter, known)
        ]
        if not found and not await self._store.scoped_host_count(scope):
            found.append(FieldViolation("scope", f"no host has all of it: {scope}"))
        if found:
            raise InvalidArgument(*found)

    async def delete(self, id: str, call: MutationContext[Token]) -> Token:
        """Revoke a token. Streams and waits that are under way with it end, mutations do not.

        Raises TokenNotFound, AlreadyProcessed.
        """
        token = self._tokens.get(id)
        if token is None:
            raise TokenNotFound(token=id)
        change = Change(events=(), removed_tokens=(id,), at=self._clock.now())
        await call.commit(self._store, change, lambda _: token, subject=id)
        self._changes += 1
        self._tokens = {other: kept for other, kept in self._tokens.items() if other != id}
        self._end_work()
        logger.info("a token was deleted", extra={"token": id, "by": call.principal})
        return token


def _not_known(text: str) -> CredentialInvalid:
    try:
        id_of(text)
    except TokenMalformed as error:
        return CredentialInvalid(credential=CREDENTIAL, problem=str(error))
    problem = "this server has no such token: it was deleted, or is another server's"
    return CredentialInvalid(credential=CREDENTIAL, problem=problem)


def _refuse_expired(token: Token, now: datetime) -> None:
    if token.expired(now):
        problem = f"it expired at {token.expires_at:%Y-%m-%d %H:%M:%S} UTC"
        raise CredentialInvalid(credential=CREDENTIAL, problem=problem)
