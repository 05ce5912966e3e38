"""What commands print for a terminal reads the same as what they print into a pipe."""

import random
import re
import subprocess

import pytest

from tendhost.server.packages.apt.progress import AptStatusParser
from tendhost.server.packages.errors import PackageError
from tendhost.server.packages.terminal import plain_text
from tendhost.server.packages.zypper.commands import WHOLE_UPDATE
from tests.tools import needs
from tests.unit.packages.recordings import names, recorded
from tests.unit.packages.test_absent_parts import parsed

SEQUENCES = (b"\x1b[0m", b"\x1b[1;31m", b"\x1b[K", b"\x1b[38;5;196m", b"\x1b[?25l")
_FRAME = re.compile(rb"(\n\x1etendhost [^\n]*\n)")


def coloured(output: bytes) -> bytes:
    """The output with colours around words, as commands print them; the frames are printed by the script."""
    chance = random.Random(1)
    pieces = _FRAME.split(output)
    for n in range(0, len(pieces), 2):
        words = re.split(rb"(?=[ \n|])", pieces[n])
        pieces[n] = b"".join(
            chance.choice(SEQUENCES) + word if chance.random() < 0.3 else word for word in words
        )
    return b"".join(pieces)


@pytest.mark.parametrize("name", names("*/*.out"))
def test_coloured_output__is_parsed_like_any_other(name: str) -> None:
    output = recorded(name)
    try:
        expected = repr(parsed(name, output))
    except PackageError as error:
        expected = repr(error)
    try:
        found = repr(parsed(name, coloured(output)))
    except PackageError as error:
        found = repr(error)
    assert found == expected


def test_coloured_progress__is_parsed_like_any_other() -> None:
    line = b"pmstatus:bash:50.0:Unpacking bash (amd64)\n"
    shown = b"\x1b[32mpmstatus:bash:\x1b[1m50.0\x1b[0m:Unpacking bash (amd64)\x1b[0m\n"
    assert AptStatusParser().feed(shown) == AptStatusParser().feed(line)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"\x1b[31mred\x1b[0m", "red"),
        (b"no sequence \x1b here", "no sequence \x1b here"),
        (b"\xff\x1b[Kcut \x1b[3", "\ufffdcut \x1b[3"),
    ],
)
def test_plain_text__has_no_control_sequences(data: bytes, expected: str) -> None:
    assert plain_text(data) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("403 for http://me:hunter2@a.example/x (2)", "403 for http://a.example/x (2)"),
        ("https://me:hun@ter2@a.example", "https://a.example"),
        ("http://token-hunter2@[::1]:80/ ftp://a:b@c d", "http://[::1]:80/ ftp://c d"),
        ("curlftpfs#ftp://me:hunter2@a.example/", "curlftpfs#ftp://a.example/"),
        ("http\x1b[1m://me:hunter2@a.example/", "http://a.example/"),
        ("http://a.example/x@y me@a.example", "http://a.example/x@y me@a.example"),
        ("docker://a.example/b@sha256:1 file:///a@b", "docker://a.example/b@sha256:1 file:///a@b"),
        (
            "mail to me@a.example or see http://b.example",
            "mail to me@a.example or see http://b.example",
        ),
    ],
)
def test_plain_text__has_no_name_and_password_of_an_address(text: str, expected: str) -> None:
    assert plain_text(text.encode()) == expected


@pytest.mark.parametrize(
    "awk",
    [
        pytest.param("awk", id="awk", marks=needs("awk")),
        pytest.param("busybox awk", id="busybox", marks=needs("busybox")),
    ],
)
def test_whole_update_of_zypper__lists_what_is_coloured(awk: str) -> None:
    program = re.search(r"awk (-F.*)", WHOLE_UPDATE)
    assert program is not None
    table = (
        b"S  | Repository | Name | Current | Available | Arch\n"
        b"\x1b[1mv \x1b[0m | \x1b[32mFleet\x1b[0m | \x1b[1mlib-7\x1b[0m | 1 | 2 | noarch\n"
        b"vl | Fleet | held | 1 | 2 | noarch\n"
    )
    done = subprocess.run(
        ["sh", "-c", f"{awk} {program[1]}"], input=table, capture_output=True, check=True
    )
    assert done.stdout.split() == [b"lib-7"]
