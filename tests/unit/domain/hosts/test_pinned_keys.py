"""Which keys are pinned for a host: at its enrolment, and after changes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tendhost.server.domain.hosts.host_keys import KINDS, expected_keys, fingerprint
from tendhost.server.domain.hosts.pinned_keys import (
    MOST_PINNED,
    changed_keys,
    enrolled_keys,
    require_few,
    usable_keys,
)
from tests.unit.domain.hosts.test_host_keys import made_up

keys = st.builds(made_up, st.sampled_from(KINDS), st.binary(min_size=1, max_size=40))
some_keys = st.lists(keys, max_size=5, unique=True)
OWN, OTHER, NEXT = (made_up("ssh-ed25519", text) for text in (b"own", b"other", b"next"))
DSA = made_up("ssh-dss", b"old")


@given(expected=some_keys, revoked=some_keys, shown=some_keys)
def test_enrolled_keys__are_those_given_if_the_host_shows_one_of_them(expected, revoked, shown):
    lines = [*expected, *(f"@revoked * {key}" for key in revoked)]
    try:
        wanted = expected_keys("\n".join(lines))
    except ValueError:
        return  # no key that can be pinned
    trusted = set(expected) - set(revoked)
    pinned = enrolled_keys(wanted, shown)
    if trusted & set(shown):
        assert set(pinned) == trusted
        assert pinned[0] in shown, "a login asks for the first one first"
    else:
        assert pinned == ()
    assert len(pinned) == len(set(pinned))


def test_enrolled_keys__of_fingerprints_are_the_keys_that_match() -> None:
    wanted = expected_keys(f"{fingerprint(OWN)}\n{fingerprint(OTHER)}")
    assert enrolled_keys(wanted, [OWN]) == (OWN,)
    assert enrolled_keys(wanted, [NEXT]) == ()


def test_usable_keys__are_of_a_kind_that_a_login_accepts_and_have_no_comment() -> None:
    lines = f"{DSA}\nweb1 {OWN} root@web1\n{OWN}\n{NEXT}\n@revoked * {NEXT}"
    wanted = expected_keys(lines, ["web1"])
    assert usable_keys(wanted) == (OWN,)


@given(pinned=st.lists(keys, min_size=1, max_size=5, unique=True), added=some_keys)
def test_changed_keys__keep_the_pinned_ones_in_front_and_have_each_once(pinned, added):
    after = changed_keys(pinned, added, ())
    assert after[: len(pinned)] == tuple(pinned)
    assert set(after) == {*pinned, *added}
    assert len(after) == len(set(after))
    assert changed_keys(after, added, ()) == after


@pytest.mark.parametrize("form", [str, fingerprint, lambda key: f"web1 {key} comment"])
def test_changed_keys__are_without_the_one_that_is_removed_in_any_form(form) -> None:
    assert changed_keys([OWN, NEXT], (), [form(OWN)]) == (NEXT,)
    assert changed_keys([OWN], [NEXT], [form(OWN)]) == (NEXT,)


@pytest.mark.parametrize(
    ("removed", "why"),
    [
        ([OTHER], "is not pinned; expected one of SHA256:"),
        ([fingerprint(OTHER)], "is not pinned"),
        ([OWN, NEXT], "no pinned key would be left"),
        ([OWN, OWN], "is not pinned"),
        (["nonsense"], "expected a fingerprint"),
    ],
)
def test_changed_keys__refuse_a_removal_that_means_nothing(removed, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        changed_keys([OWN, NEXT], (), removed)


def test_require_few__counts_the_keys() -> None:
    require_few([OWN] * MOST_PINNED)
    with pytest.raises(ValueError, match="these are 17 keys; expected at most 16"):
        require_few([OWN] * (MOST_PINNED + 1))
