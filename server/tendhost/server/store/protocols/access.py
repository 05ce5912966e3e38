"""Credentials that the server has issued."""

from collections.abc import Sequence
from typing import Protocol

from tendhost.server.domain.access.tokens import Token


class TokenStore(Protocol):
    """Bearer tokens, as digests."""

    async def tokens(self) -> Sequence[Token]:
        """Every token, ordered by id."""
        ...
