"""Scopes: what a token may be bound to, and which hosts it then has."""

import itertools
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tendhost.server.domain.access.scope import Scope, scope_of
from tendhost.server.domain.hosts.selection import HostFilter
from tendhost.server.domain.hosts.states import HostState
from tendhost.server.domain.request_errors import InvalidArgument
from tests.contract.store.samples import a_host

LABELS = st.lists(st.sampled_from("abc"), max_size=2, unique=True).map(tuple)
SCOPES = st.builds(Scope, all_tags=LABELS, any_tags=LABELS, groups=LABELS)
PLAIN = st.builds(
    HostFilter,
    all_tags=LABELS,
    any_tags=LABELS,
    groups=LABELS,
    names=st.sampled_from([(), ("web1",), ("w*",), ("db1",)]),
    exclude_hosts=st.sampled_from([(), ("web1",), ("d*",)]),
)
FILTERS = st.builds(lambda one, also: replace(one, also=also), PLAIN, st.none() | PLAIN)


@given(FILTERS, SCOPES, LABELS, LABELS, st.sampled_from(["web1", "db1"]))
def test_narrowed_filter__selects_what_both_select_and_nothing_else(
    asked: HostFilter, scope: Scope, tags: tuple[str, ...], groups: tuple[str, ...], name: str
):
    host = a_host(name)
    host = replace(host, config=replace(host.config, tags=tags, groups=groups))
    assert scope.narrow(asked).matches(host) is (asked.matches(host) and scope.has(host))


@pytest.mark.parametrize(
    ("asked", "fields"),
    [
        ({}, ["scope"]),
        ({"names": ("web1",)}, ["scope.names", "scope"]),
        ({"groups": ("web",), "names": ("web*",)}, ["scope.names"]),
        ({"groups": ("web",), "exclude_hosts": ("web1",)}, ["scope.exclude_hosts"]),
        ({"groups": ("web",), "states": (HostState.IDLE,)}, ["scope.states"]),
        ({"groups": ("web",), "reboot_needed": False}, ["scope.reboot_needed"]),
        ({"groups": ("web",), "name_prefix": "w"}, ["scope.name_prefix"]),
        ({"groups": ("web",), "selection": "mine"}, ["scope.selection"]),
    ],
)
def test_scope__is_of_labels_only(asked: dict[str, Any], fields: list[str]):
    with pytest.raises(InvalidArgument) as refused:
        scope_of(HostFilter(**asked))
    assert [violation.field for violation in refused.value.violations] == fields


def test_scope__says_which_hosts_it_has():
    scope = scope_of(HostFilter(groups=("web", "db", "web"), all_tags=("prod",)))
    assert str(scope) == "groups web, db; all of the tags prod"


EVERY_LABELS = [
    tuple(label for label, held in zip("abc", chosen, strict=True) if held)
    for chosen in itertools.product((False, True), repeat=3)
]


@given(SCOPES, SCOPES)
def test_scope_within_another__has_no_host_that_the_other_has_not(some: Scope, other: Scope):
    if some.within(other):
        for groups, tags in itertools.product(EVERY_LABELS, EVERY_LABELS):
            there = other.has_labels(groups=groups, tags=tags)
            assert there or not some.has_labels(groups=groups, tags=tags)


@given(SCOPES)
def test_scope__is_within_itself_and_within_none(scope: Scope):
    assert scope.within(scope)
    assert scope.within(None)


@pytest.mark.parametrize(
    ("some", "other", "within"),
    [
        (Scope(groups=("a",)), Scope(groups=("a", "b")), True),
        (Scope(groups=("a", "b")), Scope(groups=("a",)), False),
        (Scope(groups=("a",), all_tags=("c",)), Scope(groups=("a",)), True),
        (Scope(groups=("a",)), Scope(groups=("a",), all_tags=("c",)), False),
        (Scope(all_tags=("a", "b")), Scope(any_tags=("b", "c")), True),
        (Scope(any_tags=("a", "b")), Scope(any_tags=("b", "c")), False),
        (Scope(all_tags=("a",)), Scope(groups=("a",)), False),
    ],
)
def test_scope__is_within_one_that_asks_for_less(some: Scope, other: Scope, within: bool):
    assert some.within(other) is within
