"""JSON web tokens and key sets: what is refused before and by the verification."""

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st
from jwt import get_algorithm_by_name

from tendhost.server.json_web_tokens import (
    ALGORITHMS,
    LONGEST_TOKEN,
    MOST_KEYS,
    JwtRefused,
    KeySetUnusable,
    key_set,
    read,
    verified_claims,
)
from tests.unit.jwt_issuer import claims, part, private_key, public_jwk, published, token

HEADERS = st.dictionaries(
    st.sampled_from(["alg", "kid", "typ", "crit", "b64", "jwk", "jku", "x5c"]),
    st.none() | st.integers() | st.text(max_size=5) | st.sampled_from([*ALGORITHMS, "none"]),
)


@given(st.text() | st.lists(st.text("eyJ.A-_=", max_size=9), max_size=6).map(".".join))
def test_text__of_any_kind_is_read_or_refused(text: str):
    with pytest.raises(JwtRefused):
        read(text)


@given(HEADERS, st.binary(max_size=80))
def test_header__of_any_kind_gives_no_claims_without_the_key(header: dict[str, Any], end: bytes):
    keys = key_set(published(public_jwk("ES256"), public_jwk("EdDSA"), public_jwk("RS256")))
    try:
        found = read(f"{part(header)}.{part(claims())}.{part(end)}")
    except JwtRefused:
        return
    assert found.algorithm in ALGORITHMS
    for key in keys.keys:
        with pytest.raises(JwtRefused):
            verified_claims(found, key)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_algorithm__verifies_with_keys_of_its_kind_only(algorithm: str):
    found = read(token(algorithm))
    for other in ALGORITHMS:
        (key,) = key_set(published(public_jwk(other))).keys
        same = private_key(other) is private_key(algorithm)
        if same:
            assert verified_claims(found, key) == claims()
            continue
        with pytest.raises(JwtRefused):
            verified_claims(found, key)


def test_key__that_is_for_one_algorithm_is_used_with_no_other():
    keys = key_set(published(public_jwk("RS256", alg="RS256")))
    assert keys.key_for(read(token("RS256"))) is not None
    other = get_algorithm_by_name("PS256").sign(b"", private_key("RS256"))
    text = f"{part({'alg': 'PS256', 'kid': 'RS256-0'})}.{part(claims())}.{part(other)}"
    assert keys.key_for(read(text)) is None


def test_token_without_a_kid__is_verified_where_one_key_alone_fits():
    text = token(headers={"kid": None})
    assert key_set(published(public_jwk())).key_for(read(text)) is not None
    assert key_set(published(public_jwk(), public_jwk("RS256"))).key_for(read(text)) is not None
    assert key_set(published(public_jwk(), public_jwk("ES256", 1))).key_for(read(text)) is None


def small_rsa() -> dict[str, Any]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=1024).public_key()
    return get_algorithm_by_name("RS256").to_jwk(key, as_dict=True)


def private() -> dict[str, Any]:
    return get_algorithm_by_name("ES256").to_jwk(private_key("ES256"), as_dict=True)


OCT = {"kty": "oct", "k": "c2VjcmV0", "kid": "shared"}
OF_CURVES = ("EC", "P-256")


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "it is no JSON"),
        (b"\xff\xfe", "it is no JSON"),
        (b"[" * 100_000, "it is no JSON"),
        (b"[]", "it is no JWK set"),
        (b'{"keys": {}}', "it is no JWK set"),
        (b'{"keys": [1]}', "it is no JWK set"),
        (b'{"keys": []}', "it has no key"),
        (published(OCT), "it has no key"),
        (published(public_jwk(use="enc")), "it has no key"),
        (published(public_jwk(key_ops=["sign"])), "it has no key"),
        (published(public_jwk(crv="P-384")), "it has no key"),
        (published(public_jwk(crv=["P-256"])), "it has no key"),
        (published(public_jwk(x="AA")), "it has no key"),
        (published(public_jwk(x=7)), "it has no key"),
        (published(public_jwk(kid=7)), "it has no key"),
        (published({"kty": "EC"}), "it has no key"),
        (published(small_rsa()), "it has no key"),
        (published(public_jwk(), private()), "it has a private key"),
        (published(*[public_jwk()] * (MOST_KEYS + 1)), "more than 100"),
    ],
)
def test_key_set__without_a_usable_key_is_refused(raw: bytes, words: str):
    with pytest.raises(KeySetUnusable, match=words):
        key_set(raw)


def test_key_set__leaves_out_what_it_cannot_use():
    (key,) = key_set(published(OCT, small_rsa(), public_jwk(), public_jwk(use="enc"))).keys
    assert (key.key_id, key.kind) == ("ES256-0", OF_CURVES)


def test_token__is_bounded():
    text = token(padding="x" * LONGEST_TOKEN)
    with pytest.raises(JwtRefused, match="more than 16384 characters"):
        read(text)
    assert json.loads(published())["keys"]
