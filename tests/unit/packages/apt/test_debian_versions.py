"""The order of Debian versions, against dpkg itself."""

import itertools
import shutil
import subprocess

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tendhost.server.packages.apt.versions import DebianVersion

KNOWN = (
    *(
        "0",
        "0~",
        "0~~1",
        "0-0~",
        "0.~",
        "00~a",
        "1",
        "1.0",
        "1.0-0",
        "1.0-1",
        "1.0~rc1-1",
        "1.0~~-1",
        "1.0+b1",
        "1.0a",
        "1.00",
        "01.0",
    ),
    *(
        "1:0.1",
        "0:1.0",
        "2:1",
        "1.0-1~deb12u1",
        "1.0-1+deb12u1",
        "1.0-1+deb12u10",
        "1.0-1-1",
        "1.0.",
    ),
    *(
        "6.8.9",
        "6.8.10",
        "9.9",
        "10",
        "1.2.3ubuntu1",
        "1.2.3ubuntu1.2",
        "1.a",
        "1.+",
        "1.~",
        "1~",
        "1~~a",
    ),
)
DIGITS_FIRST = st.from_regex(
    r"(?:[0-3]:)?[0-9][0-9a-c.+~]{0,6}(?:-[0-9a-c.+~]{1,4})?", fullmatch=True
)


def by_dpkg(left: str, relation: str, right: str) -> bool:
    words = ["dpkg", "--compare-versions", left, relation, right]
    return subprocess.run(words, check=False, capture_output=True).returncode == 0


@pytest.mark.skipif(shutil.which("dpkg") is None, reason="no dpkg")
@pytest.mark.may_skip
def test_debian_versions__compare_as_dpkg_compares_them() -> None:
    for left, right in itertools.combinations(KNOWN, 2):
        relation = "lt" if DebianVersion(left) < DebianVersion(right) else "ge"
        assert by_dpkg(left, relation, right), (left, right)


@pytest.mark.skipif(shutil.which("dpkg") is None, reason="no dpkg")
@pytest.mark.may_skip
@given(DIGITS_FIRST, DIGITS_FIRST)
@example("1.0", "1.0-0")
@example("0", "0~")
@example("0-0", "0-0~1")
@settings(max_examples=60, deadline=None)
def test_debian_versions__drawn_compare_as_dpkg_compares_them(left: str, right: str) -> None:
    assert (DebianVersion(left) < DebianVersion(right)) == by_dpkg(left, "lt", right)
    assert (DebianVersion(left) == DebianVersion(right)) == by_dpkg(left, "eq", right)


@given(st.text(), st.text(), st.text())
@example("1" * 5000, "1" * 5001, "0" * 6000 + "1")
def test_debian_versions__have_one_order_whatever_a_host_prints(a: str, b: str, c: str) -> None:
    one, two, three = sorted(map(DebianVersion, (a, b, c)))
    assert one <= two <= three
    assert one <= three


def test_version__with_an_epoch_of_any_length_is_compared() -> None:
    long = "9" * 5000
    assert DebianVersion(f"{long}:1") > DebianVersion("9:2")
    assert DebianVersion(f"{long}8:1") < DebianVersion(f"{long}9:0")
    assert DebianVersion("00:1") == DebianVersion("1")
    assert DebianVersion("x:1") == DebianVersion("0:1")
