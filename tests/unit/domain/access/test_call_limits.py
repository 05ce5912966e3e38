"""What one principal may ask: never more than its rate, and never nothing for ever."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tendhost.server.domain.access.call_limits import (
    CALL_COST,
    LOCAL_FACTOR,
    LONGEST_DEBT,
    Allowance,
    CallLimits,
    Rate,
    account_of,
)
from tendhost.server.domain.access.principal import CredentialKind, Principal
from tendhost.server.domain.access.roles import Role

RATES = st.builds(Rate, per_second=st.integers(1, 5_000), burst=st.integers(1, 3_000))
PAUSES = st.lists(st.integers(0, 2_000_000), min_size=1, max_size=50)
"""In microseconds."""


def microseconds(count: int) -> timedelta:
    return timedelta(microseconds=count)


def principal(kind: CredentialKind, name: str = "ci", **how) -> Principal:
    given = {"roles": frozenset({Role.ADMIN}), "address": "ipv4:192.0.2.7", **how}
    return Principal(name=name, kind=kind, **given)


@given(RATES, PAUSES)
def test_allowance__lets_no_more_begin_in_any_time_than_the_burst_and_the_rate(rate, pauses):
    allowance, now, begun = Allowance(rate), 0, []
    for pause in pauses:
        now += pause
        for _ in range(3):  # it tries as often as it likes
            if not allowance.wait(microseconds(now)):
                allowance.spend(microseconds(now))
                begun.append(now)
    for first, start in enumerate(begun):
        for last in range(first, len(begun)):
            bound = rate.burst + (begun[last] - start) * rate.per_second / 1_000_000
            assert last - first + 1 <= bound + 1e-6


@given(RATES, PAUSES, st.lists(st.integers(0, 10**11), max_size=50))
def test_allowance__lets_a_call_begin_after_the_wait_that_it_tells(rate, pauses, costs):
    allowance, now = Allowance(rate), 0
    for pause, cost in zip(pauses, [*costs, *[0] * len(pauses)], strict=False):
        now += pause
        allowance.spend(microseconds(now), cost)
        wait = allowance.wait(microseconds(now))
        assert wait <= LONGEST_DEBT + timedelta(seconds=1 / rate.per_second) + microseconds(1)
        now += wait // microseconds(1)
        assert not allowance.wait(microseconds(now))


@given(RATES, PAUSES)
def test_allowance__never_lets_a_caller_wait_longer_that_asks_as_fast_as_it_may(rate, pauses):
    allowance, now = Allowance(rate), timedelta()
    for _ in range(rate.burst):
        allowance.spend(now)
    began = now
    for _ in range(100):
        now += allowance.wait(now)
        allowance.spend(now)
    most = timedelta(seconds=100 / rate.per_second) + microseconds(100)
    assert now - began <= most


def test_allowance__counts_a_long_call_as_several():
    allowance = Allowance(Rate(per_second=100, burst=10))
    allowance.spend(timedelta(), 30 * CALL_COST)
    assert allowance.wait(timedelta()) == timedelta(milliseconds=210)


def test_allowance__is_full_again_after_a_while():
    allowance = Allowance(Rate(per_second=10, burst=10))
    assert allowance.full(timedelta())
    allowance.spend(timedelta())
    assert not allowance.full(timedelta(milliseconds=99))
    assert allowance.full(timedelta(milliseconds=100))


def test_allowance__takes_no_notice_of_a_time_that_goes_back():
    allowance = Allowance(Rate(per_second=10, burst=1))
    allowance.spend(timedelta(seconds=5))
    assert allowance.wait(timedelta(seconds=1)) == timedelta(milliseconds=100)
    assert allowance.wait(timedelta(seconds=5)) == timedelta(milliseconds=100)


@pytest.mark.parametrize(
    ("kind", "roles", "factor"),
    [
        (CredentialKind.TOKEN, {Role.ADMIN}, 1),
        (CredentialKind.CERTIFICATE, {Role.VIEWER}, 1),
        (CredentialKind.SOCKET, {Role.ADMIN}, LOCAL_FACTOR),
        (CredentialKind.NONE, {Role.ADMIN}, LOCAL_FACTOR),
    ],
)
def test_limits__are_higher_for_the_local_admin_alone(kind, roles, factor):
    limits = CallLimits()
    own = limits.of(principal(kind, roles=frozenset(roles)))
    assert own.calls.per_second == limits.calls.per_second * factor
    assert own.mutations.burst == limits.mutations.burst * factor
    assert (own.streams, own.at_once) == (limits.streams * factor, limits.at_once * factor)


# Of a token that is refused the id is known, which its caller may have made up.
@pytest.mark.parametrize("kind", [CredentialKind.NONE, CredentialKind.TOKEN])
@pytest.mark.parametrize(("per_second", "expected"), [(250, 50), (4, 1), (1, 1)])
def test_limits__are_lower_for_an_address_without_a_credential(per_second, expected, kind):
    limits = CallLimits(calls=Rate(per_second=per_second, burst=7))
    own = limits.of(principal(kind, "", roles=frozenset()))
    assert own.calls == Rate(per_second=expected, burst=7)
    assert own.streams == limits.streams


def test_account__is_that_of_a_name_that_is_shown_and_else_of_an_address():
    token = principal(CredentialKind.TOKEN)
    assert account_of(token) == account_of(principal(CredentialKind.TOKEN, address="ipv6:::1"))
    assert account_of(token) == account_of(principal(CredentialKind.CERTIFICATE))
    # Whoever claims a name uses nothing up that belongs to somebody else, and gets nothing by another name.
    claimed = principal(CredentialKind.NONE)
    assert account_of(claimed) == account_of(principal(CredentialKind.NONE, "other"))
    # Nor does whoever makes up the id of a token.
    refused = principal(CredentialKind.TOKEN, "", roles=frozenset())
    assert account_of(refused) == ("address", refused.address)
    kinds = (CredentialKind.TOKEN, CredentialKind.NONE, CredentialKind.SOCKET)
    assert len({account_of(principal(kind)) for kind in kinds}) == len(kinds)
