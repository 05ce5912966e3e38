"""The bounds of what a host says: whatever is beyond them comes out within, and nothing else changes."""

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tendhost.server.domain.bounds import (
    LARGEST_COUNT,
    LARGEST_SIZE,
    LONGEST_NAME,
    LONGEST_SPAN,
    LONGEST_TEXT,
    MOST_ITEMS,
    MOST_PACKAGES,
    bounded,
    size_in_bytes,
    text,
    whole_number,
)
from tendhost.server.domain.inventory.hardware import Cpu, Interface, Memory, Mount
from tendhost.server.domain.inventory.inventory import Inventory, SystemFacts
from tendhost.server.domain.operations.operation import HealthResult

MOUNT = Mount(path="/", device="/dev/vda1", type="ext4", size_bytes=10, free_bytes=5)


@pytest.mark.parametrize(
    ("digits", "number"),
    [
        ("0", 0),
        ("2000000000", LARGEST_COUNT),
        ("2000000001", None),
        ("007", 7),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("٣", None),
        ("²", None),
        ("9" * 5000, None),
    ],
)
def test_whole_number__is_unknown_beyond_the_range(digits: str, number: int | None):
    assert whole_number(digits) == number


@pytest.mark.parametrize(
    ("size", "known"),
    [
        (0, 0),
        (1.4, 1),
        (LARGEST_SIZE, LARGEST_SIZE),
        (LARGEST_SIZE + 1, None),
        (1e19, None),
        (-1, None),
        (math.inf, None),
        (math.nan, None),
    ],
)
def test_size__is_unknown_beyond_the_range(size: float, known: int | None):
    assert size_in_bytes(size) == known


@given(st.text(st.characters(), max_size=40), st.integers(2, 50))
def test_text__is_short_and_can_be_sent(words: str, most: int):
    clean = text(words, most=most)
    assert len(clean) <= most
    clean.encode()
    assert not any(ord(c) < 0x20 and c not in "\t\n" for c in clean)
    if words.isprintable() and len(words) <= most:
        assert clean == words
    assert text(clean, most=most) == clean


def test_text__keeps_lines_and_letters_of_every_script():
    words = "naïve Straße\n\t日本 🐧 NO-BREAK\u00a0SPACE"
    assert text(words) == words


def test_record__within_the_bounds_is_the_same_one():
    inventory = Inventory(
        system=SystemFacts(os_name="Debian", uptime=timedelta(days=400)),
        installed=(("web", "1.0"), ("db", "2.0")),
        mounts=(MOUNT,),
        sources={"mounts": "native"},
        collected_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    assert bounded(inventory) is inventory


def test_record__has_unknown_in_place_of_a_number_that_cannot_be():
    inventory = Inventory(
        system=SystemFacts(uptime=LONGEST_SPAN + timedelta(seconds=1)),
        cpu=Cpu(sockets=-1, cores=2**31, threads=4),
        memory=Memory(total_bytes=2**63, available_bytes=2**63),
        mounts=(replace(MOUNT, size_bytes=2**70, free_bytes=-5),),
        interfaces=(Interface(name="eth0", mtu=2**32),),
    )
    kept = bounded(inventory)
    assert kept.system.uptime is None
    assert kept.cpu == Cpu(sockets=None, cores=None, threads=4)
    assert kept.memory == Memory(total_bytes=LARGEST_SIZE, available_bytes=None)
    assert (kept.mounts[0].size_bytes, kept.mounts[0].free_bytes) == (LARGEST_SIZE, 0)
    assert kept.interfaces[0].mtu is None


def test_record__has_its_texts_cut_and_cleaned():
    inventory = Inventory(
        system=SystemFacts(os_name="a\x1b[2J\ud800b" + "x" * 5000),
        installed=(("n" * 600, "\x00"),),
        sources={"k" * 600: "v" * 5000},
    )
    kept = bounded(inventory)
    assert kept.system.os_name.startswith("a\ufffd[2J\ufffdbx")
    assert len(kept.system.os_name) == LONGEST_TEXT
    assert kept.installed == (("n" * (LONGEST_NAME - 1) + "…", "\ufffd"),)
    ((key, value),) = kept.sources.items()
    assert (len(key), len(value)) == (LONGEST_NAME, LONGEST_TEXT)


def test_record__says_what_was_left_out_of_its_lists():
    left_out: list[str] = []
    inventory = Inventory(
        installed=(("web", "1.0"),) * (MOST_PACKAGES + 3), mounts=(MOUNT,) * (MOST_ITEMS + 1)
    )
    kept = bounded(inventory, left_out=left_out)
    assert len(kept.installed) == MOST_PACKAGES
    assert len(kept.mounts) == MOST_ITEMS
    assert left_out == [
        "installed: 3 of 50003, more than 50000 are not kept",
        "mounts: 1 of 5001, more than 5000 are not kept",
    ]


@pytest.mark.parametrize(
    ("zone", "at"),
    [
        (timezone(timedelta(hours=14)), datetime(1, 1, 1)),  # noqa: DTZ001  # the zone follows
        (timezone(timedelta(hours=-14)), datetime(9999, 12, 31, 23)),  # noqa: DTZ001
    ],
)
def test_record__has_its_dates_within_the_years_that_protobuf_knows(zone: timezone, at: datetime):
    kept = bounded(Inventory(collected_at=at.replace(tzinfo=zone))).collected_at
    assert kept is not None
    assert kept.tzinfo is UTC
    assert kept.year == at.year


def test_record__without_a_bounded_part_is_the_same_one():
    health = HealthResult(healthy=True, message="3 checks hold")
    assert bounded(health) is health
