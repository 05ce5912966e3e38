"""Hosts that print what no host should: numbers of any length, controls, half surrogates, endless names."""

import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tendhost.server import packages
from tendhost.server.domain.bounds import bounded
from tendhost.server.domain.inventory.hardware import InventoryPart
from tendhost.server.packages import osquery_rows
from tendhost.server.packages.apt.commands import parse_sizes
from tendhost.server.packages.detection import PACKAGE_MANAGERS
from tendhost.server.packages.dnf import listing
from tendhost.server.packages.errors import PackageError
from tendhost.server.packages.kernels import KernelOwners
from tendhost.server.packages.progress import Phase, TransactionProgress
from tendhost.server.packages.query import QueryOptions, parse_preflight, parse_query
from tendhost.server.packages.reboot import RebootEvidence, decide_reboot
from tests.unit.packages.recordings import ASKED_AT, manager_of, names, recorded

RECORDINGS = {name: recorded(name) for name in names("*/*.out")}
EVERYTHING = QueryOptions(parts=frozenset(InventoryPart), osquery=True)
NUMBERS = st.sampled_from(
    [b"0", b"-1", b"99999", b"2147483648", b"9223372036854775808", b"9" * 30, b"1" * 5000, b"1e999"]
)
WORDS = st.one_of(
    NUMBERS,
    st.binary(min_size=1, max_size=8),
    st.sampled_from([b"\xed\xa0\x80", b"\\ud800", b"\x1b[2J", b"\xe2\x80\xae", b"x" * 70_000]),
)
_WORD = re.compile(rb"[A-Za-z_-]+|[0-9]+")


def parsed(name: str, output: bytes) -> Any:
    """What the parser of this recording makes of `output`; None where it refuses it."""
    system, what = name.split("/")
    try:
        if what.startswith(("plan", "dry-run")):
            return manager_of(system).parse_plan(output)
        if what.startswith("preflight"):
            return parse_preflight(output)
        return parse_query(output, at=ASKED_AT)
    except PackageError:
        return None


@settings(max_examples=300, deadline=None)
@given(name=st.sampled_from(sorted(RECORDINGS)), data=st.data())
def test_parsers__give_values_within_the_bounds_whatever_a_host_prints(
    name: str, data: st.DataObject
):
    output = RECORDINGS[name]
    words = list(_WORD.finditer(output))
    for _ in range(data.draw(st.integers(1, 4))):
        word = words[data.draw(st.integers(0, len(words) - 1))]
        strange = data.draw(NUMBERS if word[0].isdigit() else WORDS)
        if data.draw(st.booleans()):
            # The same word wherever it stands, so that what belongs together stays together.
            # Bounded, for a short word in a long one multiplies.
            output = output.replace(word[0], strange, 30)
        else:
            output = output[: word.start()] + strange + output[word.end() :]
    found = parsed(name, output)
    if found is None:
        return
    if hasattr(found, "inventory"):
        msgspec.json.encode((found.inventory, found.pending, found.reboot))
    assert bounded(found) is found or bounded(found) == found


def test_parsers__are_bounded_wherever_the_output_of_a_host_comes_in():
    """A function of packages that takes what a host printed, as bytes, ends with the bounds."""
    own = {"parse_query", "parse_parts", "parse_rows"}
    # parse_query bounds by itself, to tell what it left out; parse_parts only takes apart; and
    # what somebody asked osquery is answered as it is, and stored nowhere.
    found = set()
    for name, function in _functions():
        takes = inspect.signature(function).parameters.get("output")
        if takes is not None and takes.annotation in (bytes, "bytes") and name not in own:
            assert getattr(function, "bounded", False) or name.startswith("_"), name
            found.add(name)
    assert {"parse_plan", "parse_units", "parse_image_updates", "parse_update"} <= found


@pytest.mark.parametrize("method", ["parse_plan", "failure", "kept_conffiles", "saved_conffiles"])
def test_package_managers__bound_what_they_parse(method: str):
    """`failure` and the conffiles take the log of a job, which is text already."""
    for manager in PACKAGE_MANAGERS:
        assert getattr(getattr(manager, method), "bounded", False), f"{manager.name}.{method}"


def _functions() -> list[tuple[str, Callable[..., Any]]]:
    found: list[tuple[str, Callable[..., Any]]] = []
    for module in pkgutil.walk_packages(packages.__path__, f"{packages.__name__}."):
        loaded = importlib.import_module(module.name)
        for name, value in vars(loaded).items():
            if inspect.isfunction(value) and value.__module__ == module.name:
                found.append((name, value))
            if inspect.isclass(value) and value.__module__ == module.name:
                if getattr(value, "_is_protocol", False):
                    continue
                found += [(n, f) for n, f in vars(value).items() if inspect.isfunction(f)]
    return found


@pytest.mark.parametrize(
    ("said", "size"), [("20.0 MB", 20_000_000), ("10.0 EB", None), ("999 YB", None)]
)
def test_apt__names_a_download_that_no_disk_holds_and_it_is_unknown(said: str, size: int | None):
    text = (
        f"Need to get {said} of archives.\nAfter this operation, {said} disk space will be freed.\n"
    )
    assert parse_sizes(text) == (size, None if size is None else -size)


@pytest.mark.parametrize(
    ("said", "size"), [("55 k", 56_320), ("9" * 30 + " T", None), ("9" * 400, None)]
)
def test_dnf__names_a_download_that_no_disk_holds_and_it_is_unknown(said: str, size: int | None):
    assert listing.parse_sizes(f"Total download size: {said}\n")[0] == size


def test_osquery__numbers_beyond_the_range_are_unknown():
    huge = "9" * 19
    row = {"path": "/", "device": "/dev/vda1", "type": "ext4"}
    sizes = {"blocks_size": huge, "blocks": huge, "blocks_available": huge}
    assert osquery_rows.mounts_of([{**row, **sizes}]) is None
    sizes = {"blocks_size": "4096", "blocks": "10", "blocks_available": "99"}
    (mount,) = osquery_rows.mounts_of([{**row, **sizes}]) or ()
    assert (mount.size_bytes, mount.free_bytes) == (40_960, 40_960)
    system = osquery_rows.system_of(
        {
            "os_version": [{"arch": "x86_64"}],
            "kernel_info": [{"version": "6.1"}],
            "uptime": [{"total_seconds": "9" * 18}],
        }
    )
    assert system is not None
    assert system.uptime is None


def test_kernels__are_compared_whatever_the_length_of_their_numbers():
    long = "9" * 5000
    evidence = RebootEvidence(
        required=False,
        running="6.1.0-17-amd64",
        kernels=(("6.1.0-17-amd64", "6.1.1"), (f"6.1.0-{long}-amd64", "6.1.2")),
        owners=KernelOwners(kernels=(), running_has_modules=False),
    )
    found = decide_reboot(evidence)
    assert found.need.name == "NEEDED"
    older = replace(evidence, kernels=(("6.1.0-17-amd64", "6.1.1"), ("6.1.0-9-amd64", "6.1.0")))
    assert decide_reboot(older).need.name == "NOT_NEEDED"


def test_progress__is_short_whatever_a_package_manager_says():
    step = TransactionProgress(
        phase=Phase.UNPACK, package="p" * 70_000, percent=1.0, text="\x1b[2J" * 9_000
    )
    assert len(step.package) <= 512
    assert len(step.text) <= 512
    assert "\x1b" not in step.text
