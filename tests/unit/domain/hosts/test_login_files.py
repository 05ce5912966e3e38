"""The files for the login on a host: nothing in them that tendhost can do without, and no name that means another."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tendhost.server.domain.hosts.host import HostConfig
from tendhost.server.domain.hosts.login_files import MOST_FORWARDS, login_files, sudoers_name

KEY = "ssh-ed25519 AAAA"


def config(name: str = "web1", **settings: Any) -> HostConfig:
    return HostConfig(name=name, **{"address": "192.0.2.1", **settings})


def test_files__of_a_user_have_one_restricted_key_and_one_rule():
    files = login_files(config(user="tend"), [KEY], ())
    assert files.authorized_keys == f"restrict {KEY} tendhost\n"
    (rule,) = [line for line in files.sudoers.splitlines() if not line.startswith("#")]
    assert rule == "tend ALL=(root) NOPASSWD: /bin/sh, /usr/bin/sh"


def test_files__of_root_need_no_rule():
    assert login_files(config(), [KEY, "ssh-rsa BBBB"], ()).sudoers == ""
    assert login_files(config(), [KEY, "ssh-rsa BBBB"], ()).authorized_keys == (
        f"restrict {KEY} tendhost\nrestrict ssh-rsa BBBB tendhost\n"
    )


def test_files__of_a_jump_forward_to_the_hosts_behind_it_alone():
    behind = [
        config("a", address="10.0.0.5"),
        config("b", address="[2001:db8::1]"),
        config("c", address="db1.example.org"),
        config("d", address="10.0.0.5"),
    ]
    (line,) = login_files(config(), [KEY], behind).authorized_keys.splitlines()
    assert line == (
        'restrict,port-forwarding,permitopen="10.0.0.5:22",permitopen="[2001:db8::1]:22",'
        f'permitopen="db1.example.org:22" {KEY} tendhost'
    )


def test_files__of_a_jump_of_many_hosts_name_none_of_them():
    behind = [config(f"h{n}", address=f"10.0.0.{n}") for n in range(MOST_FORWARDS + 1)]
    line = login_files(config(), [KEY], behind).authorized_keys
    assert line == f"restrict,port-forwarding {KEY} tendhost\n"


@pytest.mark.parametrize(
    ("user", "name"),
    [
        ("tend", "tend"),
        ("first.last-2", "first.last-2"),
        ("ALL", r"\x41\x4c\x4c"),
        ("CORP\\first.last", r"\x43\x4f\x52\x50\x5cfirst.last"),
        ("first.last@corp.example", r"first.last\x40corp.example"),
        ("svc$", r"svc\x24"),
        ("müller", r"m\xc3\xbcller"),
    ],
)
def test_sudoers_name__has_no_character_with_a_meaning(user: str, name: str):
    assert sudoers_name(user) == name


def test_files__of_a_host_that_is_only_a_jump_run_no_command():
    files = login_files(config(user="tend", jump_only=True), [KEY], [config(address="10.0.0.5")])
    assert files.sudoers == ""
    assert files.authorized_keys == (
        f'restrict,command="/bin/false",port-forwarding,permitopen="10.0.0.5:22" {KEY} tendhost\n'
    )


@given(st.text(min_size=1))
def test_sudoers_name__is_one_word_that_stands_for_the_user(user: str):
    name = sudoers_name(user.encode("utf-8", "ignore").decode())
    assert name.isascii()
    assert not set(name) & set(" \t\n,=:!%+#@\"'()*?[]ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    decoded = name.encode().decode("unicode_escape").encode("latin-1")
    assert decoded == user.encode("utf-8", "ignore")
