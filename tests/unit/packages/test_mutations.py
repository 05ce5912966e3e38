"""Recorded outputs that were cut or damaged on their way: understood, or refused in our own words."""

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tendhost.server.packages.apt.failures import diagnose as diagnose_apt
from tendhost.server.packages.compose.image_updates import parse_image_updates
from tendhost.server.packages.compose.inspect import parse_inspection
from tendhost.server.packages.compose.update import parse_update
from tendhost.server.packages.detection import package_manager
from tendhost.server.packages.errors import ParseFailed, PartMissing
from tendhost.server.packages.query import parse_preflight, parse_query
from tendhost.server.packages.script import parse_parts
from tests.unit.packages import mutations
from tests.unit.packages.collector import recordings as collector
from tests.unit.packages.compose import recordings as compose
from tests.unit.packages.mutations import NOISE, ParserCase
from tests.unit.packages.osquery import recordings as osquery
from tests.unit.packages.recordings import ASKED_AT, RECORDED, log, manager_of, names, recorded
from tests.unit.packages.zypper.recordings import PLANS, ZYPPER


def _parse_answer(name: str, output: bytes) -> None:
    system, what = name.split("/")
    if what.startswith(("plan", "dry-run")):
        manager_of(system).parse_plan(output)
    elif what.startswith("preflight"):
        parse_preflight(output)
    else:
        assert what.startswith("query"), what
        parse_query(output, at=ASKED_AT)


def _parse_zypper_plan(_: str, output: bytes) -> None:
    planned = ZYPPER.parse_plan(output)
    assert all(change.name and change.to_version for change in planned.changes)


_PROJECTS = compose.inspect("v2/inspect").projects


def _parse_compose(name: str, output: bytes) -> None:
    match name.partition("/")[2].partition("-")[0]:
        case "inspect":
            parse_inspection(parse_parts(output, expected=()))
        case "update":
            parse_update(output)
        case "images":
            parse_image_updates(output, _PROJECTS)
        case _:
            pytest.fail(f"no parser for {name}")


def _near(alphabet: str) -> st.SearchStrategy[bytes]:
    return st.one_of(NOISE, st.text(alphabet=alphabet, max_size=20).map(str.encode))


CASES = {
    "package managers": ParserCase(
        recordings={name: recorded(name) for name in names("*/*.out")},
        parse=_parse_answer,
    ),
    "zypper's plans": ParserCase(
        recordings={path.stem: path.read_bytes() for path in sorted(PLANS.glob("plan*.out"))},
        parse=_parse_zypper_plan,
    ),
    "collector": ParserCase(
        recordings={name: collector.recorded(name) for name in collector.NAMES},
        parse=lambda _, output: collector.understood(output),
        noise=_near("0123456789:.%/- \n"),
    ),
    "osquery": ParserCase(
        recordings={name: osquery.recorded(name) for name in ("debian12", "whole")},
        parse=lambda _, output: osquery.understood(output),
        noise=_near('0123456789[]{}",: \n'),
    ),
    "compose": ParserCase(
        recordings={
            f"{path.parent.name}/{path.stem}": path.read_bytes()
            for path in sorted(compose.RECORDED.glob("*/*.out"))
        },
        parse=_parse_compose,
        noise=st.one_of(
            NOISE,
            st.sampled_from([b"null", b"[]", b"{}", b'""', b"[[[", b"\t", b"\n.\n", b"-"]),
        ),
    ),
}
TRUNCATED = [(case, name) for case, known in CASES.items() for name in known.recordings]


@pytest.mark.parametrize(("case", "name"), TRUNCATED)
def test_truncated_output__is_missing_a_part(case: str, name: str) -> None:
    known = CASES[case]
    for output in mutations.truncated(known.recordings[name]):
        with pytest.raises(PartMissing):
            known.parse(name, output)


@pytest.mark.parametrize("case", CASES)
@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_damaged_output__is_understood_or_refused(case: str, data: st.DataObject) -> None:
    known = CASES[case]
    name = data.draw(st.sampled_from(sorted(known.recordings)))
    output = mutations.with_noise(known.recordings[name], known.noise, data)
    with suppress(ParseFailed):
        known.parse(name, output)


@pytest.mark.parametrize("case", CASES)
@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_output_with_damaged_lines__is_understood_or_refused(
    case: str, data: st.DataObject
) -> None:
    known = CASES[case]
    name = data.draw(st.sampled_from(sorted(known.recordings)))
    output = mutations.with_damaged_lines(known.recordings[name], data)
    with suppress(ParseFailed):
        known.parse(name, output)


LOG_NAMES = sorted(
    str(path.relative_to(RECORDED).with_suffix("")) for path in RECORDED.glob("*/*.log")
)
LOGS = {
    "apt": [log(path) for path in LOG_NAMES],
    "dnf": [log(path) for path in LOG_NAMES if path.startswith("fedora")],
    "zypper": [log(path) for path in LOG_NAMES if path.startswith("opensuse")],
}
FINE = {"apt": (), "dnf": (0,), "zypper": (0, 100, 101, 102, 103)}
"""Exit statuses with which a command may not have failed; apt's `diagnose` is asked of failures only."""


@pytest.mark.parametrize("name", LOGS)
@settings(deadline=None)
@given(data=st.data(), status=st.integers(0, 255))
def test_log__gives_a_reason_of_one_line_whatever_piece_of_it_is_left(
    name: str, data: st.DataObject, status: int
) -> None:
    manager = package_manager(name)
    assert manager is not None
    piece = mutations.piece(data.draw(st.sampled_from(LOGS[name])), data)
    failure = manager.failure(status, piece) if FINE[name] else diagnose_apt(status, piece)
    assert failure is not None or status in FINE[name]
    if failure is not None:
        assert failure.reason
        assert "\n" not in failure.reason
    manager.kept_conffiles(piece)
    manager.saved_conffiles(piece)
    manager.progress_parser().feed(piece.encode())
