"""Which authorities vouch for which hosts, and how their keys are written."""

import pytest

from tendhost.server.domain.hosts.host_authorities import (
    AuthorityKey,
    HostAuthority,
    authorities_of,
    authority_keys,
)
from tests.unit.domain.hosts.test_host_keys import made_up

FLEET, WEB, NEXT, DOMAIN = (made_up("ssh-ed25519", n) for n in (b"f", b"w", b"n", b"d"))
AUTHORITIES = (
    HostAuthority(name="fleet", keys=(AuthorityKey(key=FLEET),)),
    HostAuthority(
        name="web", keys=(AuthorityKey(key=WEB), AuthorityKey(key=NEXT)), groups=("web", "www")
    ),
    HostAuthority(name="domain", keys=(AuthorityKey(key=DOMAIN, patterns="*.example.org"),)),
)


@pytest.mark.parametrize(
    ("groups", "names", "port", "expected"),
    [
        ((), ("db1",), 22, (FLEET,)),
        (("db",), ("db1",), 22, (FLEET,)),
        (("db",), ("db1", "db1.example.org"), 22, (FLEET, DOMAIN)),
        (("db",), ("db1", "db1.example.org"), 2222, (FLEET,)),
        (("web",), ("web1",), 22, (WEB, NEXT)),
        (("db", "www"), ("web1.example.org",), 22, (WEB, NEXT)),
    ],
)
def test_authorities__of_a_group_go_before_those_of_the_fleet(groups, names, port, expected):
    assert authorities_of(AUTHORITIES, groups=groups, names=names, port=port) == expected


def test_no_authorities__vouch_for_nobody():
    assert authorities_of((), groups=("web",), names=("web1",), port=22) == ()
    assert authorities_of(AUTHORITIES[1:2], groups=(), names=("web1",), port=22) == ()


def test_keys__are_public_keys_or_lines_of_known_hosts():
    text = f"# ours\n\n{FLEET} ca@example\n@cert-authority *.example.org,!x {DOMAIN} comment\n"
    assert authority_keys(text) == (
        AuthorityKey(key=FLEET),
        AuthorityKey(key=DOMAIN, patterns="*.example.org,!x"),
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no key"),
        ("# only a comment\n", "no key"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nsecret\n", "it has a private key"),
        ("-----BEGIN CERTIFICATE-----\nsecret\n", "line 1: "),
        (f"{FLEET}\nsecret", "line 2: "),
        (f"web1 {FLEET}", "line 1: it is not the public key of an authority"),
        (f"@revoked * {FLEET}", "line 1: it is not the public key of an authority"),
        ("SHA256:ahTSbwKRxYDvEY6kRZ3bxFZKOXqPMyPzlThMBG8a1jE", "line 1: it is not the public"),
        (FLEET[:-8], "line 1: "),
        (made_up("ssh-ed25519-cert-v01@openssh.com", b"x"), "no authority has a key of this kind"),
        (made_up("ssh-dss", b"x"), "no authority has a key of this kind"),
    ],
)
def test_file__that_has_no_keys_of_authorities_is_refused(text: str, why: str):
    with pytest.raises(ValueError, match=why) as caught:
        authority_keys(text)
    assert "BEGIN" not in str(caught.value).replace("-----BEGIN CERTIFICATE", "")
