"""apt's status stream: every line becomes progress, however it is cut."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tendhost.server.packages.apt.progress import AptStatusParser
from tendhost.server.packages.compose.progress import ComposeLogParser
from tendhost.server.packages.dnf.progress import DnfLogParser
from tendhost.server.packages.progress import Phase, ProgressParser, TransactionProgress
from tendhost.server.packages.zypper.progress import ZypperLogParser
from tests.unit.packages.recordings import RECORDED, progress

FAILING = (RECORDED / "debian12/upgrade-failing.status").read_bytes()


def test_an_upgrade_goes_through_its_phases_in_order() -> None:
    phases = list(dict.fromkeys(step.phase for step in progress("debian12/upgrade-failing")))
    assert phases == [
        Phase.DOWNLOAD,
        Phase.OTHER,
        Phase.UNPACK,
        Phase.CONFIGURE,
        Phase.CONFFILE,
        Phase.ERROR,
    ]


def test_the_failing_package_is_an_error_with_its_reason() -> None:
    (error,) = [s for s in progress("debian12/upgrade-failing") if s.phase is Phase.ERROR]
    assert error == TransactionProgress(
        phase=Phase.ERROR,
        package="tb-failing",
        percent=83.7838,
        text="installed tb-failing package post-installation script subprocess returned error"
        " exit status 1",
    )


def test_an_error_about_an_archive_names_the_package() -> None:
    (error,) = [s for s in progress("debian12/upgrade-disk-full-unpack") if s.phase is Phase.ERROR]
    assert error.package == "tb-simple"


def test_a_conffile_is_named_by_its_path() -> None:
    (question,) = [s for s in progress("debian12/upgrade-named") if s.phase is Phase.CONFFILE]
    assert question.package == "/etc/tb-conf.conf"


def test_removed_packages_are_seen() -> None:
    removed = {s.package for s in progress("debian12/upgrade-removals") if s.phase is Phase.REMOVE}
    assert removed == {"tb-olddep"}


def test_installing_moves_forward_but_for_small_steps_back() -> None:
    steps = [s for s in progress("ubuntu24.04/upgrade-named") if s.phase is not Phase.DOWNLOAD]
    moves = [later.percent - earlier.percent for earlier, later in pairwise(steps)]
    assert min(moves) > -2
    assert steps[-1].percent > 95


@pytest.mark.parametrize("path", sorted(RECORDED.glob("*/*.status")), ids=lambda p: p.stem)
def test_every_recorded_line_is_progress(path: Path) -> None:
    data = path.read_bytes()
    assert len(AptStatusParser().feed(data)) == data.count(b"\n")


@given(st.lists(st.integers(min_value=0, max_value=len(FAILING))))
def test_it_does_not_matter_where_the_stream_is_cut(cuts: list[int]) -> None:
    parser, found, start = AptStatusParser(), [], 0
    for end in [*sorted(cuts), len(FAILING)]:
        found += parser.feed(FAILING[start:end])
        start = end
    assert found == AptStatusParser().feed(FAILING)


@given(st.lists(st.binary()))
def test_noise_is_passed_over(pieces: list[bytes]) -> None:
    parser = AptStatusParser()
    for piece in pieces:
        for step in parser.feed(piece):
            assert 0 <= step.percent <= 100
    (found,) = [s for s in parser.feed(b"\npmstatus:a:10.5:Unpacking a\n") if s.package == "a"]
    assert found.percent == 10.5


def test_a_line_without_end_does_not_grow_without_bound() -> None:
    parser = AptStatusParser()
    for _ in range(100):
        assert parser.feed(b"x" * 10_000) == []
    (found,) = parser.feed(b"\npmstatus:libc6:amd64:1.0:Configuring libc6:amd64 (amd64)\n")
    assert (found.package, found.phase) == ("libc6:amd64", Phase.CONFIGURE)


@pytest.mark.parametrize(
    ("parser", "line"),
    [
        (AptStatusParser, b"pmstatus:%s:1.0:Unpacking"),
        (AptStatusParser, b"pmstatus:web:1.0:Unpacking %s"),
        (DnfLogParser, b"  Upgrading        : %s  6/15"),
        (DnfLogParser, b"(3/12): %s.rpm   5.9 MB/s"),
        (ZypperLogParser, b"( 3/12) Installing: %s [........done]"),
        (ComposeLogParser, b"compose1\tstep\t%s\tpull"),
    ],
)
def test_line__of_any_length_leaves_little_in_memory(
    parser: Callable[[], ProgressParser], line: bytes
) -> None:
    fresh = parser()
    for found in fresh.feed(line % (b"x" * 1_000_000) + b"\n"):
        assert len(found.package) + len(found.text) <= 64 * 1024
    fresh.feed(line % (b"x" * 1_000_000))
    assert fresh.held <= 64 * 1024
