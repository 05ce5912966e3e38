"""Claims of JWTs: which are refused, and whom the others stand for."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tendhost.server.domain.access.issuers import ClaimsRefused, identity_of
from tendhost.server.domain.access.roles import Role
from tendhost.server.domain.access.scope import Scope
from tests.unit.jwt_issuer import ISSUER, NOW, claims, trusted

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)
NAMES = ("iss", "aud", "sub", "jti", "roles", "iat", "nbf", "exp", "hosts", "tags")
TOKENS = st.dictionaries(
    st.sampled_from(NAMES), JSON | st.sampled_from([ISSUER, "tendhost", "ops", "root", "web"])
)
BOUND = trusted(groups_claim="hosts", any_tags_claim="tags", unbound=frozenset({"root"}))


@given(TOKENS)
def test_claims__of_any_kind_lead_to_an_identity_or_a_refusal(changed: dict[str, Any]):
    given = {**claims(), **changed}
    try:
        found = identity_of(BOUND, given)
    except ClaimsRefused:
        return
    assert given["iss"] == ISSUER
    assert given["aud"] == "tendhost" or "tendhost" in given["aud"]
    assert found.name == f"company+{given['sub']}"
    assert found.roles
    # Bound to no hosts is only who has a value that says so.
    assert (found.scope is None) is ("root" in given["roles"])
    if found.scope is not None:
        assert found.scope.groups
        assert found.scope.any_tags


@pytest.mark.parametrize(
    "value", [None, True, "soon", [1], -1, float("nan"), float("inf"), 10**400, 253402300800]
)
@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
def test_time__that_is_none_is_refused(name: str, value: object):
    if value is None and name != "exp":
        return
    with pytest.raises(ClaimsRefused, match=name):
        identity_of(trusted(), {**claims(), name: value})


@pytest.mark.parametrize(
    ("at", "words"),
    [
        (timedelta(minutes=10, seconds=29), ""),
        (timedelta(minutes=10, seconds=30), "it expired at 2026-03-01 12:10:00 UTC"),
        (timedelta(seconds=-30), ""),
        (timedelta(seconds=-31), "it is not valid before 2026-03-01 12:00:00 UTC"),
    ],
)
def test_leeway__is_given_at_both_ends(at: timedelta, words: str):
    found = identity_of(trusted(), claims())
    if not words:
        found.require_current(NOW + at, timedelta(seconds=30))
        return
    with pytest.raises(ClaimsRefused, match=words):
        found.require_current(NOW + at, timedelta(seconds=30))


def test_times__may_have_fractions_and_the_later_start_counts():
    later = NOW.timestamp() + 1.5
    found = identity_of(trusted(), claims(nbf=later, exp=later + 1))
    assert found.not_before == datetime.fromtimestamp(later, UTC)


@pytest.mark.parametrize(
    ("name", "given", "values"),
    [
        ("groups", {"groups": ["ops", "x"]}, {Role.OPERATOR}),
        ("groups", {"groups": "ops"}, {Role.OPERATOR}),
        ("groups", {"groups": ["ops", "root", 7, None]}, {Role.OPERATOR, Role.ADMIN}),
        ("scope", {"scope": "openid ops"}, {Role.OPERATOR}),
        ("/realm_access/roles", {"realm_access": {"roles": ["root"]}}, {Role.ADMIN}),
        ("https://a.example/roles", {"https://a.example/roles": ["root"]}, {Role.ADMIN}),
        ("/https:~1~1a.example~1roles", {"https://a.example/roles": "root"}, {Role.ADMIN}),
        ("groups", {"groups": "openid ops"}, set()),
        ("groups", {"groups": {"ops": True}}, set()),
        ("/realm_access/roles", {"realm_access": ["ops"]}, set()),
        ("groups", {"roles": ["ops"]}, set()),
        ("groups", {"groups": ["OPS", " ops", "op"]}, set()),
    ],
)
def test_roles__are_those_that_the_values_of_the_claim_give(
    name: str, given: dict[str, Any], values: set[Role]
):
    issuer = trusted(roles_claim=name)
    if values:
        assert identity_of(issuer, {**claims(roles=None), **given}).roles == values
        return
    with pytest.raises(ClaimsRefused, match="maps to a role"):
        identity_of(issuer, {**claims(roles=None), **given})


def test_scope__has_all_claims_that_bind():
    issuer = trusted(groups_claim="hosts", all_tags_claim="all", any_tags_claim="any")
    found = identity_of(issuer, claims(hosts=["web", "web", "db"], all="prod", any=["a", "b"]))
    assert found.scope == Scope(groups=("web", "db"), all_tags=("prod",), any_tags=("a", "b"))
    with pytest.raises(ClaimsRefused, match="'any' names no hosts"):
        identity_of(issuer, claims(hosts=["web"], all="prod"))


@pytest.mark.parametrize("id", [None, 7, "", "a b", "a\nb", "é"])
def test_credential__is_the_issuers_name_where_the_token_has_no_id(id: object):
    assert identity_of(trusted(), claims(jti=id)).credential == "company"


def test_credential__is_bounded():
    assert len(identity_of(trusted(), claims(jti="x" * 500)).credential) == 64


@pytest.mark.parametrize("name", ["", "a b", "kim\n", "k\u0456m", "x" * 60, 7, None, ["kim"]])
def test_name__that_no_principal_can_have_is_refused(name: object):
    with pytest.raises(ClaimsRefused, match="gives no name"):
        identity_of(trusted(), {**claims(), "sub": name})
