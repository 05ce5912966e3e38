"""OpenSSH certificates as ssh-keygen(1) makes them: what they say, and what they prove."""

import base64
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tendhost.server.domain.hosts.certificates import (
    Certificate,
    NoCertificate,
    Purpose,
    certificate,
    certificate_of,
    host_certificate_problem,
    validity_problem,
)
from tests.tools import needs

NOW = datetime(2026, 7, 1, tzinfo=UTC)
CA, OTHER_CA = "ssh-ed25519 AAAA", "ssh-ed25519 BBBB"
FOREVER = 2**64 - 1


def made_up(**fields) -> Certificate:
    defaults = {
        "key": "ssh-ed25519 CCCC",
        "purpose": Purpose.HOST,
        "key_id": "web1",
        "principals": ("web1",),
        "valid_after": 0,
        "valid_before": FOREVER,
        "authority": CA,
    }
    return Certificate(**{**defaults, **fields})


def keygen(*arguments: str | Path) -> None:
    subprocess.run(["ssh-keygen", "-q", *map(str, arguments)], check=True, capture_output=True)


@needs("ssh-keygen")
@pytest.mark.parametrize("kind", [("ed25519",), ("ecdsa", "-b", "384"), ("rsa", "-b", "2048")])
@pytest.mark.parametrize("purpose", [Purpose.USER, Purpose.HOST])
def test_certificate__says_what_ssh_keygen_put_into_it(tmp_path: Path, kind, purpose):
    keygen("-t", "rsa", "-b", "2048", "-N", "", "-f", tmp_path / "ca")
    keygen("-t", *kind, "-N", "", "-f", tmp_path / "key")
    for_host = ("-h",) if purpose is Purpose.HOST else ()
    period = ("-V", "20260101000000Z:20270101000000Z")
    names = ("-n", "web1,10.0.0.5,*.example.org")
    key = tmp_path / "key.pub"
    keygen("-s", tmp_path / "ca", *for_host, "-I", "its id", "-z", "7", *names, *period, key)
    public = [" ".join((tmp_path / f"{n}.pub").read_text().split()[:2]) for n in ("key", "ca")]
    text = (tmp_path / "key-cert.pub").read_text()
    assert certificate(text) == Certificate(
        key=public[0],
        purpose=purpose,
        key_id="its id",
        principals=("web1", "10.0.0.5", "*.example.org"),
        valid_after=int(datetime(2026, 1, 1, tzinfo=UTC).timestamp()),
        valid_before=int(datetime(2027, 1, 1, tzinfo=UTC).timestamp()),
        authority=public[1],
    )
    blob = base64.b64decode(text.split()[1])
    assert certificate_of(blob) == certificate(text)
    for cut in range(0, len(blob) - 400, 7):  # the signature at the end is not read
        with pytest.raises(NoCertificate):
            certificate_of(blob[:cut])
    with pytest.raises(NoCertificate, match="not an OpenSSH certificate of a known kind"):
        certificate(public[0])


@given(st.binary(max_size=300))
def test_any_bytes__are_no_certificate_and_nothing_worse(data: bytes):
    with pytest.raises(NoCertificate):
        certificate_of(data)


@given(after=st.integers(0, FOREVER), before=st.integers(0, FOREVER))
def test_validity__begins_with_its_first_second_and_ends_before_its_last(after: int, before: int):
    second = int(NOW.timestamp())
    problem = validity_problem(made_up(valid_after=after, valid_before=before), NOW)
    assert (not problem) is (after <= second < before)


def test_validity__is_told_with_its_date():
    past, future = (int((NOW + timedelta(days=d)).timestamp()) for d in (-1, 1))
    assert validity_problem(made_up(valid_before=past), NOW) == "expired at 2026-06-30 00:00:00 UTC"
    assert validity_problem(made_up(valid_after=future), NOW) == (
        "is not valid before 2026-07-02 00:00:00 UTC"
    )
    assert validity_problem(made_up(valid_before=int(NOW.timestamp())), NOW).startswith("expired")
    assert "since 1970" in validity_problem(made_up(valid_after=2**63), NOW)


def problem(found: Certificate, *names: str, authorities: tuple[str, ...] = (CA,)) -> str:
    return host_certificate_problem(
        found, authorities=authorities, names=names or ("web1", "10.0.0.5"), now=NOW
    )


@pytest.mark.parametrize(
    ("principals", "proved"),
    [
        (("web1",), True),
        (("WEB1",), True),
        (("other", "10.0.0.5"), True),
        (("web*",), True),
        (("web?",), True),
        (("*.example.org",), False),
        (("web",), False),
        (("web11",), False),
        (("xweb1",), False),
        (("web1\n",), False),
        (("web1.example.org",), False),
        ((".*",), False),
        (("web[0-9]",), False),
        (("",), False),
        ((), False),
    ],
)
def test_host_certificate__proves_a_host_that_its_principals_name(principals, proved: bool):
    assert (problem(made_up(principals=principals)) == "") is proved


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"authority": OTHER_CA}, "is signed by SHA256:"),
        ({"valid_before": 1}, "its certificate expired at 1970-01-01 00:00:01 UTC"),
        ({"valid_after": 2**40}, "its certificate is not valid before"),
        ({"principals": ("web2", "web3")}, "is for web2, web3, expected web1 or 10.0.0.5"),
        ({"principals": ()}, "is for no host at all, expected web1"),
        ({"purpose": Purpose.USER}, "is for users, not for hosts"),
        ({"purpose": 3}, "is for users, not for hosts"),
    ],
)
def test_host_certificate__that_proves_nothing_says_why(fields, why: str):
    assert why in problem(made_up(**fields))
    assert problem(made_up(**fields), authorities=()) != ""


def test_host_certificate__of_any_of_the_authorities_counts():
    assert problem(made_up(authority=OTHER_CA), authorities=(CA, OTHER_CA)) == ""
