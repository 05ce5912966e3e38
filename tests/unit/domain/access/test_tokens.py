"""Tokens: their form, their checksum, and what is wrong with a text that is none."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tendhost.server.domain.access.roles import Role
from tendhost.server.domain.access.tokens import (
    Token,
    TokenMalformed,
    digest_of,
    id_of,
    mint,
)

NOW = datetime(2026, 11, 30, tzinfo=UTC)


def token_of(text: str, **how: object) -> Token:
    return Token(
        id=id_of(text),
        principal="ci",
        roles=(Role.VIEWER,),
        digest=digest_of(text),
        created_at=NOW,
        created_by="owner",
        **how,  # type: ignore[arg-type]
    )


@given(st.binary(min_size=48, max_size=48))
def test_token__has_its_id_and_all_of_its_secret(random: bytes):
    parts = iter((random[:16], random[16:]))
    id, text = mint(lambda size: next(parts))
    assert id_of(text) == id
    assert text.isascii()
    prefix, shown, secret, checksum = text.split("_")
    assert (prefix, shown, len(secret), len(checksum)) == ("tend", id, 43, 6)
    number = int.from_bytes(random[16:], "big")
    digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    value = 0
    for digit in secret:
        value = value * 62 + digits.index(digit)
    assert value == number


@given(st.data())
def test_token__that_was_altered_anywhere_is_malformed_or_another(data: st.DataObject):
    parts = iter((b"i" * 16, b"s" * 32))
    _, text = mint(lambda size: next(parts))
    position = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.characters(codec="ascii").filter(lambda c: c != text[position]))
    altered = text[:position] + other + text[position + 1 :]
    assert not token_of(text).matches(altered)
    with pytest.raises(TokenMalformed):
        id_of(altered)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text[:-1], "67 characters, and a token has 68"),
        (lambda text: text + text, "136 characters"),
        (lambda text: "", "does not begin with tend_"),
        (lambda text: text[5:], "does not begin with tend_"),
        (lambda text: text.replace("_", "-").replace("tend-", "tend_"), "has not the form"),
        (lambda text: text[:20] + ("a" if text[20] != "a" else "b") + text[21:], "checksum"),
        (lambda text: text + "\n", "69 characters"),
    ],
)
def test_text__that_is_no_token_says_why_without_repeating_it(change, words: str):
    parts = iter((b"i" * 16, b"s" * 32))
    _, text = mint(lambda size: next(parts))
    with pytest.raises(TokenMalformed, match=words) as refused:
        id_of(change(text))
    assert text.split("_")[2] not in str(refused.value)


def test_token__expires_at_its_time():
    parts = iter((b"i" * 16, b"s" * 32))
    _, text = mint(lambda size: next(parts))
    token = token_of(text, expires_at=NOW)
    assert not token.expired(NOW - timedelta(microseconds=1))
    assert token.expired(NOW)
    assert not token_of(text).expired(NOW)
