"""Framing: what a host prints between the marks comes back unchanged, and a cut is noticed."""

import subprocess
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tendhost.server.packages.errors import ParseFailed, PartMissing
from tendhost.server.packages.script import framed_script, parse_parts, require


def run(script: str) -> bytes:
    return subprocess.run(["sh"], input=script.encode(), capture_output=True, check=True).stdout


def test_a_part_has_its_status_output_and_errors_apart() -> None:
    script = framed_script(
        "say() { echo out; echo err >&2; echo more; return 3; }",
        "part talk say",
        "part silent true",
    )
    parts = parse_parts(run(script), expected=("talk", "silent"))
    assert (parts["talk"].status, parts["talk"].stdout, parts["talk"].stderr) == (
        3,
        "out\nmore",
        "err\n",
    )
    assert parts["talk"].message == "err"
    assert (parts["silent"].status, parts["silent"].stdout, parts["silent"].stderr) == (0, "", "")


def test_a_command_that_does_not_exist_is_a_part_that_failed() -> None:
    parts = parse_parts(run(framed_script("part gone /no/such/command")), expected=("gone",))
    assert parts["gone"].status == 127
    assert "not found" in parts["gone"].message


def test_output_that_looks_like_an_option_or_a_format_is_kept() -> None:
    script = framed_script(r"part odd printf '%s\n' '-n %s \t' '*'")
    assert parse_parts(run(script), expected=())["odd"].stdout == "-n %s \\t\n*"


def test_no_part_reads_the_input() -> None:
    parts = parse_parts(run(framed_script("part input cat", "part after echo yes")), expected=())
    assert parts["input"].stdout == ""
    assert parts["after"].stdout == "yes"


def test_a_banner_before_the_first_part_is_left_out() -> None:
    output = b"Welcome!\r\n" + run(framed_script("part one echo 1"))
    assert parse_parts(output, expected=("one",))["one"].stdout == "1"


def test_bytes_that_are_no_text_do_not_stop_the_parser() -> None:
    parts = parse_parts(run(framed_script(r"part raw printf 'a\377b'")), expected=("raw",))
    assert parts["raw"].stdout == "a\ufffdb"


@pytest.mark.parametrize("missing", ["first", "second"])
def test_a_part_that_is_not_there_is_named(missing: str) -> None:
    kept = {"first": "second", "second": "first"}[missing]
    output = run(framed_script(f"part {kept} true"))
    with pytest.raises(PartMissing) as caught:
        parse_parts(output, expected=("first", "second"))
    assert caught.value.part == missing
    assert str(caught.value) == f"the output ends without the part {missing!r}"


def test_require_names_the_first_missing_part() -> None:
    with pytest.raises(PartMissing, match="'b'"):
        require({}, "b", "c")


def test_an_output_that_ends_within_a_part_is_missing_that_part() -> None:
    output = run(framed_script("part one echo 1", "part two echo 22"))
    with pytest.raises(PartMissing) as caught:
        parse_parts(output[: output.index(b"22") + 1], expected=("one", "two"))
    assert caught.value.part == "two"


def test_an_output_that_ends_after_the_expected_parts_is_missing_its_end() -> None:
    output = run(framed_script("part one echo 1", "part two echo 22"))
    with pytest.raises(PartMissing) as caught:
        parse_parts(output[: output.index(b"22") + 1], expected=("one",))
    assert caught.value.part == "end"


def test_nothing_at_all_is_missing_the_first_part() -> None:
    with pytest.raises(PartMissing) as caught:
        parse_parts(b"", expected=("one",))
    assert caught.value.part == "one"


@given(st.binary())
def test_any_bytes_are_parsed_or_refused(output: bytes) -> None:
    with suppress(ParseFailed):
        assert "one" in parse_parts(output, expected=("one",))


@given(st.dictionaries(st.from_regex(r"[a-z]{1,9}", fullmatch=True), st.text(), max_size=4))
def test_what_is_framed_comes_back(texts: dict[str, str]) -> None:
    texts = {name: text.replace("\x1e", "") for name, text in texts.items() if name != "end"}
    output = "".join(
        f"\n\x1etendhost {name} stderr\n{text}\n\x1etendhost {name} 7\n{text}"
        for name, text in texts.items()
    )
    parts = parse_parts((output + "\n\x1etendhost end\n").encode(), expected=tuple(texts))
    assert {name: (part.status, part.stdout, part.stderr) for name, part in parts.items()} == {
        name: (7, text, text) for name, text in texts.items()
    }
