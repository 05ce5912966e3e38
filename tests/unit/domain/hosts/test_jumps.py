"""Routes through jumps: each complete route is a walk, and everything else is refused with the jump to blame."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tendhost.server.domain.hosts.host import Host, HostConfig
from tendhost.server.domain.hosts.jumps import MOST_JUMPS, Route, RouteBroken


def config(name: str, jump: str = "", address: str = "192.0.2.1") -> HostConfig:
    return HostConfig(name=name, address=address, jump=jump)


def fleet(*configs: HostConfig) -> dict[str, Host]:
    at = datetime(2026, 9, 1, tzinfo=UTC)
    return {c.name: Host(config=c, host_key="ssh-ed25519 AAAA", registered_at=at) for c in configs}


def route(to: HostConfig, hosts: dict[str, Host]) -> list[str]:
    found = Route(to=to)
    while found.wanted:
        found = found.through(hosts.get(found.wanted))
    return [jump.name for jump in found.jumps]


def broken(to: HostConfig, *others: HostConfig) -> RouteBroken:
    with pytest.raises(RouteBroken) as caught:
        route(to, fleet(*others))
    return caught.value


def test_route__of_a_host_without_a_jump_is_empty():
    assert route(config("a"), {}) == []
    assert route(config("a", address="local"), {}) == []


def test_route__has_the_nearest_jump_first():
    hosts = fleet(config("b", "c"), config("c"))
    assert route(config("a", "b"), hosts) == ["b", "c"]


@pytest.mark.parametrize(
    ("to", "others", "jump", "words"),
    [
        (config("a", "a"), [], "a", "host 'a' cannot be its own jump"),
        (config("a", "b"), [config("b", "b")], "b", "host 'b' cannot be its own jump"),
        (config("a", "b"), [config("b", "a")], "a", "a → b → a"),
        (config("a", "b"), [config("b", "c"), config("c", "b")], "b", "a → b → c → b"),
        (config("a", "b"), [], "b", "jump 'b' is not registered"),
        (config("a", "b"), [config("b", "c")], "c", "jump 'c', the jump of 'b', is not registered"),
        (config("a", "b"), [config("b", address="local")], "b", "the server's own machine"),
        (config("a", "b", address="local"), [config("b")], "b", "is not reached through a jump"),
    ],
)
def test_route__that_does_not_exist_names_the_jump(
    to: HostConfig, others: list[HostConfig], jump: str, words: str
):
    error = broken(to, *others)
    assert error.jump == jump
    assert words in str(error)


def test_route__has_a_bounded_length():
    chain = [config(f"j{n}", f"j{n + 1}") for n in range(MOST_JUMPS)]
    assert len(route(config("a", "j1"), fleet(*chain, config(f"j{MOST_JUMPS}")))) == MOST_JUMPS
    too_long = [*chain, config(f"j{MOST_JUMPS}", "last"), config("last")]
    assert broken(config("a", "j1"), *too_long).jump == "last"


NAMES = ("a", "b", "c", "d", "e")


@given(st.dictionaries(st.sampled_from(NAMES), st.sampled_from(("", *NAMES, "gone")), min_size=1))
def test_route__is_found_where_an_oracle_walks_to_an_end(jumps: dict[str, str]):
    hosts = fleet(*(config(name, jump) for name, jump in jumps.items()))
    for name, first in jumps.items():
        walk, at = [], first
        while at in jumps and at not in walk and at != name:
            walk.append(at)
            at = jumps[at]
        to = hosts[name].config
        if at == "":
            assert route(to, hosts) == walk
        else:
            with pytest.raises(RouteBroken) as caught:
                route(to, hosts)
            assert caught.value.jump == at


def test_endpoint__is_another_one_behind_each_jump():
    near, far = config("a"), config("b", "bastion")
    assert near.endpoint == config("b").endpoint
    assert len({near.endpoint, far.endpoint, replace(far, jump="other").endpoint}) == 3
