"""Pending packages of apt: which of them are security updates, downgrades, or kept out by pins."""

import itertools
import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tendhost.server.domain.inventory.inventory import Pending, PendingPackage, Withheld
from tendhost.server.packages.apt.commands import LISTING
from tendhost.server.packages.apt.listing import (
    AptPolicy,
    Available,
    judge_security,
    names_security_archive,
    parse_policy,
    parse_simulation,
    pending_packages,
)

DEBIAN = "http://deb.debian.org/debian bookworm/main amd64 Packages"
VENDOR = "https://apt.example.com stable/main amd64 Packages"
SECURITY = "http://deb.debian.org/debian-security bookworm-security/main amd64 Packages"
ESM = "https://esm.ubuntu.com/apps/ubuntu noble-apps-security/main amd64 Packages"


def policy(installed: str, candidate: str, *newer: tuple[str, str], name: str = "web") -> str:
    """What `apt-cache policy` prints of a package; `newer` has versions and sources, the newest first."""
    rows = "".join(f"     {version} 500\n        500 {source}\n" for version, source in newer)
    return (
        f"{name}:\n  Installed: {installed}\n  Candidate: {candidate}\n  Version table:\n{rows}"
        f" *** {installed} 100\n        100 /var/lib/dpkg/status\n"
    )


def listed(simulation: str, policies: str, held: tuple[str, ...] = ()) -> list[PendingPackage]:
    found = parse_simulation(simulation, part="simulation")
    return list(pending_packages(found, parse_policy(policies), held))


def facts(packages: list[PendingPackage]) -> list[tuple[str, str, bool | None, Withheld]]:
    return [(p.from_version, p.to_version, p.security, p.withheld) for p in packages]


VENDOR_UPDATE = "Inst web [1.0] (1.1 Vendor:stable [amd64])\n"


def test_security__is_no_update_below_the_fix() -> None:
    told = listed(VENDOR_UPDATE, policy("1.0", "1.1", ("2.0", SECURITY), ("1.1", VENDOR)))
    assert facts(told) == [
        ("1.0", "1.1", False, Withheld.NO),
        ("1.0", "2.0", True, Withheld.PINNED),
    ]


def test_security__shows_the_fix_that_pins_keep_out_after_the_update() -> None:
    told = listed("", policy("1.1", "1.1", ("2.0", SECURITY)))
    assert facts(told) == [("1.1", "2.0", True, Withheld.PINNED)]


def test_security__is_an_update_above_a_fix() -> None:
    told = listed(VENDOR_UPDATE, policy("1.0", "1.1", ("1.1", VENDOR), ("1.0+deb12u1", SECURITY)))
    assert facts(told) == [("1.0", "1.1", True, Withheld.NO)]


def test_security__of_a_held_package_is_told_as_held() -> None:
    kept = "The following packages have been kept back:\n  web\n"
    told = listed(kept, policy("1.0", "1.1", ("1.1", SECURITY)), held=("web",))
    assert facts(told) == [("1.0", "1.1", True, Withheld.HELD)]


def test_security__of_a_subscription_that_the_host_does_not_have_is_not_missing() -> None:
    assert listed("", policy("1.0", "1.0", ("1.0+esm1", ESM))) == []


@pytest.mark.parametrize("held", [(), ("web",)])
def test_security__that_pins_keep_out_is_told_below_one_of_a_missing_subscription(
    held: tuple[str, ...],
) -> None:
    versions = (("1.2+esm1", ESM), ("1.1", SECURITY))
    why = Withheld.HELD if held else Withheld.PINNED
    for tables in (versions, (("1.3+esm2", ESM), *versions), (*versions, ("1.0+esm1", ESM))):
        told = listed("", policy("1.0", "1.0", *tables), held=held)
        assert facts(told) == [("1.0", "1.1", True, why)]


def test_downgrade__is_withheld_and_the_rest_goes_on() -> None:
    simulation = (
        "The following packages will be DOWNGRADED:\n  old\n"
        "Inst old [2.0-1] (1.0-1 Debian:12/stable [all])\n"
        "Inst web [1.0] (1.1 Debian:12/stable [all])\n"
    )
    told = listed(simulation, "")
    assert [(p.name, p.withheld, p.security) for p in told] == [
        ("old", Withheld.DOWNGRADE, False),
        ("web", Withheld.NO, False),
    ]
    assert Pending(packages=tuple(told)).count == 1


def test_downgrade__to_a_version_of_a_security_archive_is_no_security_update() -> None:
    told = listed("Inst web [1:1.0] (9.0 Debian-Security:12/stable-security [all])\n", "")
    assert facts(told) == [("1:1.0", "9.0", False, Withheld.DOWNGRADE)]


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(2, 9), st.sampled_from([DEBIAN, VENDOR, SECURITY])),
        max_size=5,
        unique_by=lambda pair: pair[0],
    ),
    st.data(),
)
def test_security__by_the_rule_for_every_table_of_versions(
    archive: list[tuple[int, str]], data: st.DataObject
) -> None:
    newer = sorted(archive, reverse=True)
    target = data.draw(st.sampled_from([version for version, _ in newer] or [1]))
    known = AptPolicy(
        installed="1",
        candidate=str(target),
        newer=tuple(Available(version=str(v), sources=(s,), phased=False) for v, s in newer),
    )
    fixes = [version for version, source in newer if source == SECURITY]
    assert known.fixes_up_to(str(target)) == any(1 < version <= target for version in fixes)
    above = known.fix_above(str(target))
    assert (above is not None) == any(version > target for version in fixes)
    assert above is None or above.version == str(max(fixes))


SOURCES = """\
Package files:
 100 /var/lib/dpkg/status
     release a=now
 500 {source}
     release v=12,o={origin},a={suite},n=bookworm,l={label},c=main,b=amd64
     origin example.org
"""


@pytest.mark.parametrize(
    ("source", "label", "suite", "tells"),
    [
        (SECURITY, "Debian-Security", "oldstable-security", True),
        ("http://mirror/all bookworm/main amd64 Packages", "Debian-Security", "stable", True),
        (
            "http://ports.ubuntu.com noble-security/main arm64 Packages",
            "Ubuntu",
            "noble-security",
            True,
        ),
        ("http://mirror/own noble/main arm64 Packages", "Ubuntu", "noble-security", True),
        (
            "http://security.debian.org buster/updates/main amd64 Packages",
            "x",
            "oldoldstable",
            True,
        ),
        (
            "http://raspbian.raspberrypi.org bookworm/main armhf Packages",
            "Raspbian",
            "stable",
            False,
        ),
        (DEBIAN, "Debian", "stable", False),
        ("http://deb.debian.org/debian sid/main amd64 Packages", "Debian", "unstable", False),
        (
            "http://http.kali.org/kali kali-rolling/main amd64 Packages",
            "Kali",
            "kali-rolling",
            False,
        ),
    ],
)
def test_archives__tell_what_is_security_by_suite_or_label(
    source: str, label: str, suite: str, tells: bool
) -> None:
    text = SOURCES.format(source=source, origin="x", label=label, suite=suite)
    assert names_security_archive(text) is tells
    assert not names_security_archive("")


def test_security__is_unknown_where_no_archive_tells() -> None:
    update = tuple(listed(VENDOR_UPDATE, policy("1.0", "1.1", ("1.1", VENDOR))))
    (told,) = judge_security(update, known=False)
    assert told.security is None
    assert judge_security(update, known=True) == update
    assert Pending(packages=(), security_known=False).security_count is None
    assert Pending(packages=()).security_count == 0


@pytest.mark.parametrize("shell", [s for s in ("dash", "bash", "busybox") if shutil.which(s)])
def test_listing__keeps_of_five_thousand_packages_those_with_another_version(shell: str) -> None:
    names = [f"lib-with-a-long-name-{number}" for number in range(5000)]
    rows = "".join(f"ii \\t{name}\\tamd64\\t1.0\\n" for name in names)
    blocks = {
        "newest": policy("1.0", "1.0"),
        "pinned": policy("1.0", "1.0", ("2.0", SECURITY), name="pinned"),
        "update": policy("1.0", "1.1", ("1.1", DEBIAN), name="update"),
        "downgrade": policy("1.0", "0.9", name="downgrade"),
    }
    known = "".join(block.replace("\n", "\\n") for block in blocks.values())
    script = f"""set -f; apt_settings='-o a=b'
        part() {{ name=$1; shift; out=$("$@"); echo "== $name"; printf '%s\\n' "$out" | head -n 60; }}
        installed() {{ printf 'amd64\\n{rows}rc \\tgone\\tamd64\\t1\\nii \\tforeign\\ti386\\t1\\n'; }}
        apt-cache() {{
          [ $# -gt 3 ] || return 0
          shift 3; printf '{known}'; printf '%s:\\n  Installed: x\\n  Candidate: y\\n' "$#" "$@" | tail -n 3
        }}
        {LISTING}"""
    words = [shell, *(["sh"] if shell == "busybox" else [])]
    # Not every sh lets a function have a dash in its name.
    script = script.replace("apt-cache", "apt_cache")
    done = subprocess.run(words, input=script, capture_output=True, text=True, check=True)
    told = done.stdout.partition("== policy\n")[2].partition("== sources")[0]
    found = parse_policy(told)
    assert set(found) == {"pinned", "update", "downgrade", "foreign:i386"}
    assert done.stderr == ""


def test_listing__tells_what_the_order_of_packages_does_not_change() -> None:
    texts = [
        policy("1.0", "1.1", ("1.1", SECURITY), name="a"),
        policy("1.0", "1.0", ("2.0", SECURITY), name="b"),
        policy("1.0", "0.9", name="c"),
    ]
    lines = ["Inst a [1.0] (1.1 x [all])", "Inst c [1.0] (0.9 x [all])"]
    told = {
        tuple(facts(listed("\n".join(order), "".join(shown))))
        for order in itertools.permutations(lines)
        for shown in itertools.permutations(texts)
    }
    assert len(told) == 1
