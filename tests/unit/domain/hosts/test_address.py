"""Addresses as users write them, by the contract's rule and by what a resolver takes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tendhost.server.domain.hosts.address import network_address, plain_address, unusable_address
from tendhost.server.domain.hosts.host import LOCAL, HostConfig
from tendhost.server.rpc.convert.hosts import host_config
from tendhost.server.rpc.rules import violations_of
from tendhost.v1 import host_pb2

# Names and their ASCII forms: RFC 5891, and https://www.unicode.org/reports/tr46, where IDNA 2008 differs from 2003.
ASCII_FORMS = {
    "bücher.example": "xn--bcher-kva.example",
    "BÜCHER.example": "xn--bcher-kva.example",
    "xn--bcher-kva.example": "xn--bcher-kva.example",
    "straße.de": "xn--strae-oqa.de",
    "例え.テスト": "xn--r8jz45g.xn--zckzah",
    "web_1.bücher.example": "web_1.xn--bcher-kva.example",
    "web1.example.org": "web1.example.org",
    "web_1": "web_1",
    "fe80::1%eth0": "fe80::1%eth0",
}


def config(**values: str) -> host_pb2.HostConfig:
    return host_pb2.HostConfig(**{"name": "web1", "address": "web1", **values})  # type: ignore[arg-type]


def problems(**values: str) -> list[str]:
    return [f"{found.field}: {found.description}" for found in violations_of(config(**values))]


@pytest.mark.parametrize(("address", "form"), ASCII_FORMS.items())
def test_address__is_given_to_the_resolver_in_its_ascii_form(address: str, form: str):
    assert problems(address=address) == []
    stored = host_config(config(address=address))
    assert (stored.address, stored.network_address) == (address, form)
    assert stored.endpoint == f"{form.lower()} 22"


@pytest.mark.parametrize("address", ["[2001:db8::1]", "[fe80::1%eth0]", "[::ffff:10.0.0.5]"])
def test_address__is_stored_without_its_brackets(address: str):
    assert problems(address=address) == []
    assert host_config(config(address=address)).address == address[1:-1]


@pytest.mark.parametrize(
    "address",
    [
        *("web1:22", "root@web1", "ssh://web1", "web1/path", "web 1", "web1,web2", "we*b", "-web"),
        *("10.0.0.256", "10.0.0.5/24", "1.2.3.4%eth0", "a..b", ".web1", "web-", "☃.example"),
        *("[web1]", "[10.0.0.5]", "[1::2::3]", "[::1", "::1]", "[]", "", "ü-.example", "℀.example"),
        *("x" * 64, f"{'ü' * 60}.example", "x." * 127, "\N{FULLWIDTH LATIN SMALL LETTER L}ocal"),
    ],
)
def test_what_is_no_address__is_refused_with_the_value(address: str):
    (problem,) = problems(address=address)
    assert problem.startswith("address: ")
    assert repr(address)[:60] in problem


@given(st.text(max_size=30))
def test_any_address__that_is_accepted_is_another_machine_and_a_sound_name(address: str):
    if problems(address=address):
        return
    stored = host_config(config(address=address))
    assert (stored.network_address == LOCAL) is (address == LOCAL)
    assert stored.network_address.isascii()
    assert not set(stored.network_address) & set("/@[] \t\n\0?#")
    assert unusable_address(address) == ""
    assert plain_address(stored.address) == stored.address


def test_two_spellings__of_a_name_are_one_endpoint():
    spellings = ("bücher.example", "BÜCHER.example", "xn--bcher-kva.example")
    assert len({HostConfig(name="a", address=name).endpoint for name in spellings}) == 1
    with pytest.raises(ValueError, match="no host can have this name"):
        network_address("☃.example")


@pytest.mark.parametrize(
    "user",
    [
        *("root", "first.last@corp.example", "CORP\\first.last", "svc$", "web1$@CORP", "_apt"),
        *("müller", "CORP/first.last", "CORP+user", "1234", "first.last", "x" * 256),
    ],
)
def test_user__may_be_one_of_a_directory(user: str):
    assert problems(user=user) == []
    assert host_config(config(user=user)).user == user


@pytest.mark.parametrize(
    "user",
    ["CORP\\domain admins", "first last", "-oProxyCommand=x", "a:b", "a;b", "a\n", "x" * 257],
)
def test_user__with_a_space_or_too_long_is_refused_with_the_value(user: str):
    (problem,) = problems(user=user)
    assert "without spaces" in problem
    assert repr(user)[:60] in problem
