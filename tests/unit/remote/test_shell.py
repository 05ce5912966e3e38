"""Command lines for any login shell, and what of their output is the script's."""

import os
import shlex
import shutil
import subprocess
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tendhost.server.remote.shell import (
    BEGIN,
    LONGEST_LINE,
    LONGEST_WORD,
    MARK,
    MOST_NOISE,
    NoiseTooLong,
    ScriptOutput,
    command_line,
)
from tests.command_lines import printed, script_of
from tests.tools import SHELLS

LOGIN_SHELLS = [
    name
    for name in ("sh", "bash", "rbash", "zsh", "fish", "tcsh", "bsd-csh", "mksh", "yash")
    if shutil.which(name)
]
MANY = " ".join(f"'name-{number}=1:2.0-{number}'" for number in range(5000))
PLAIN = {"PATH": os.environ["PATH"], "HOME": "/"}
TEXTS = st.text(st.characters(exclude_characters="\0", codec="utf-8"))


class Output(ScriptOutput):
    """What of an output is the script's."""

    def __init__(self) -> None:
        self.out, self.err = bytearray(), bytearray()
        super().__init__(self.out.extend, self.err.extend)


def ran(
    login: tuple[str, ...],
    script: str,
    *,
    input: bytes = b"",
    env: dict[str, str] = PLAIN,
    through_sudo: bool = False,
) -> Output:
    """The output of a script that a login shell was sent."""
    line, head = command_line(script, through_sudo=through_sudo)
    done = subprocess.run(
        [*login, "-c", line],
        input=head + input,
        capture_output=True,
        check=False,
        timeout=60,
        env=env,
    )
    output = Output()
    output.stdout(done.stdout)
    output.stderr(done.stderr)
    output.flush()
    return output


@pytest.fixture(params=SHELLS)
def sh(request: pytest.FixtureRequest, tmp_path) -> dict[str, str]:
    """An environment in which sh is one of the shells that a host may have as sh."""
    shell, *options = request.param
    program = tmp_path / "sh"
    if options == ["sh"]:
        program.write_text(f'#!/bin/dash\nexec {shutil.which(shell)} sh "$@"\n')
        program.chmod(0o755)
    else:
        program.symlink_to(shutil.which(shell))
    return PLAIN | {"PATH": f"{tmp_path}:{PLAIN['PATH']}"}


SCRIPTS = [
    ("cat; exit 3", "", 3),
    (f"set -- {MANY}\necho $#; cat; false", "5000\n", 1),
    ("f() {\n  echo \"$1\"\n}\n\nf 'a \\ b!' # comment\ncat", "a \\ b!\n", 0),
    ("cat <<X\n  indented\nX\ncat", "  indented\n", 0),
    ("cat\nexit", "", 0),
    ("exec cat", "", 0),
    ("echo $# ${1-none}; cat", "0 none\n", 0),
    ("printf '\\303\\251 \\\\0101 %s|' 'é\t'; cat", "é \\0101 é\t|", 0),
    ("kill -9 $(sh -c 'echo $PPID'); cat", "", 137),
]


@pytest.mark.parametrize("input", [b"", b"a\n\0b"])
@pytest.mark.parametrize(("script", "stdout", "status"), SCRIPTS)
def test_script__runs_in_every_sh_and_has_its_input(
    sh: dict[str, str], input: bytes, script: str, stdout: str, status: int
) -> None:
    output = ran(("sh",), script, input=input, env=sh)
    left = b"" if status == 137 else input
    assert (output.status, bytes(output.out)) == (status, stdout.encode() + left)


@pytest.mark.parametrize("login", LOGIN_SHELLS)
@pytest.mark.parametrize(("script", "stdout", "status"), SCRIPTS)
def test_script__runs_alike_whatever_the_login_shell_is(
    login: str, script: str, stdout: str, status: int
) -> None:
    output = ran((login,), script, input=b"in")
    left = b"" if status == 137 else b"in"
    assert (output.status, bytes(output.out)) == (status, stdout.encode() + left)


def test_script__that_is_cut_off_on_standard_input_is_not_executed(sh: dict[str, str]) -> None:
    line, head = command_line("echo begun\n" * LONGEST_LINE)
    for length in (0, 1, 9, 10, 11, 12, 1000, len(head) - 1):
        done = subprocess.run(
            ["sh", "-c", line], input=head[:length], capture_output=True, check=False, env=sh
        )
        assert b"begun" not in done.stdout
        assert done.returncode == 255


def test_command_line__has_no_character_that_login_shells_read_in_different_ways() -> None:
    for through_sudo in (False, True):
        line, head = command_line("a 'b' !c \\ \n\t é \x7f", through_sudo=through_sudo)
        assert head == b""
        words = line.split("'")
        assert not set(line) & set("!\n\t\x7f")
        assert line.isascii()
        assert set("".join(words[::2])) <= set("sh -c")
        assert max(map(len, words)) < 1024


ESCAPED = (*"\n\t\\'!\x7fé\U0001f600", "\\n", "\\0101", "\\\\", "\udcff")
"""What stands in a command line as other characters, and what looks like an escape."""


def words_of(script: str) -> list[str]:
    """The words of a command line that its script is restored from."""
    head, body = (shlex.split(command_line(text)[0]) for text in ("", script))
    return body[len(head) - 1 :]


def restored(scripts: Sequence[str]) -> list[bytes]:
    """What one sh makes of the words of each script, one word after the other."""
    words = [word for script in scripts for word in (*words_of(script), "\\0000")]
    program = 'for word; do printf %b "$word"; done'
    done = subprocess.run(
        ["dash", "-c", program, "sh", *words], capture_output=True, check=True, env=PLAIN
    )
    return done.stdout.split(b"\0")[:-1]


def test_words__of_every_length_are_cut_between_the_characters_of_a_script() -> None:
    scripts = [
        "a" * (LONGEST_WORD - before) + escaped * repeated + digits
        for before in range(12)
        for escaped in ESCAPED
        for repeated in (1, 3)
        for digits in ("", "0", "7")
    ]
    for some in (scripts[at : at + 80] for at in range(0, len(scripts), 80)):
        assert restored(some) == [script.encode("utf-8", "surrogateescape") for script in some]
    assert all(len(word) <= LONGEST_WORD for script in scripts for word in words_of(script))


@given(
    st.lists(
        st.lists(st.sampled_from((*ESCAPED, "a", "0", "x" * 90, "x" * 799)), max_size=60).map(
            "".join
        ),
        max_size=8,
    )
)
@settings(max_examples=60, deadline=None)
def test_words__are_restored_to_their_script_by_printf(scripts: list[str]) -> None:
    assert restored(scripts) == [script.encode("utf-8", "surrogateescape") for script in scripts]
    assert all(len(word) <= LONGEST_WORD for script in scripts for word in words_of(script))


@given(TEXTS)
@settings(max_examples=200, deadline=None)
def test_command_line__is_read_as_the_script_by_sh(script: str) -> None:
    assert script_of(command_line(script)[0]) == script
    line, _ = command_line(f"printf %s '{script.replace(chr(39), '')}'")
    done = subprocess.run(["dash", "-c", line], capture_output=True, check=False)
    assert done.stdout == printed(script.replace("'", "").encode())


# --- the environment ------------------------------------------------------------------------------

BAD_ENVIRONMENTS = {
    "functions": {
        f"BASH_FUNC_{name}%%": "() { echo noise; }"
        for name in ("printf", "cat", "test", "echo", "part", "sh", "command")
    },
    "options": {"SHELLOPTS": "errexit:nounset:noclobber:noglob:xtrace:verbose:pipefail"},
    "more options": {"BASHOPTS": "nocasematch:xpg_echo:failglob:nullglob"},
    "startup": {"BASH_ENV": "/tmp/none; echo noise", "ENV": "$(echo noise >&2)"},
    "fields": {"IFS": "a/", "CDPATH": "/:/etc", "TMOUT": "1"},
    "tools": {
        "POSIXLY_CORRECT": "1",
        "GREP_OPTIONS": "-v",
        "BLOCK_SIZE": "1",
        "LS_BLOCK_SIZE": "k",
    },
    "language": {"LANG": "de_DE.UTF-8", "LC_ALL": "de_DE.UTF-8", "LANGUAGE": "de"},
    "no path": {"PATH": "PATH-of-sh-only"},
}
IN_THEM = """
false
part() { echo part; }
x=${unset_name}; echo "a/b" | cat >"$T/file"; echo again >"$T/file"
cd etc 2>/dev/null; case A in a) echo nocase;; esac
false | true && echo 'one\\ttwo'
part; echo "$T"/fil*; grep -c again "$T/file"; ls -l "$T/file" | grep -o ' 6 '
"""


@pytest.mark.parametrize("name", BAD_ENVIRONMENTS)
def test_script__does_not_depend_on_what_the_users_environment_brings(
    sh: dict[str, str], name: str, tmp_path
) -> None:
    environment = {key: value for key, value in sh.items() if key != "PATH"}
    environment |= {"T": str(tmp_path)} | BAD_ENVIRONMENTS[name]
    environment["PATH"] = str(tmp_path) if name == "no path" else sh["PATH"]
    output = ran(("/bin/dash",), IN_THEM, env=environment)
    expected = f"one\\ttwo\npart\n{tmp_path}/file\n1\n 6 \n"
    if sh["PATH"] and b"one\ttwo" in output.out:
        expected = expected.replace("\\t", "\t")  # dash's own echo
    assert bytes(output.out) == expected.encode(), output.err
    assert output.status == 0


# --- what is the script's -------------------------------------------------------------------------

NOISE = b"Last login: today\r\n\x1b[1mWelcome\x1b[0m \x1e\x1etendhost no\n\x1etendhost-sh  begi"


@given(
    st.binary(),
    st.integers(0, 255),
    st.sampled_from([b"", NOISE]),
    st.sampled_from([b"", b"bye\n", b"\x1etendhost-sh e"]),
    st.lists(st.integers(1, 20)),
)
@settings(max_examples=300)
def test_output__is_the_scripts_whatever_stands_around_it_and_however_it_arrives(
    said: bytes, status: int, before: bytes, after: bytes, sizes: list[int]
) -> None:
    output, whole = Output(), before + printed(said, status) + after
    for size in [*sizes, len(whole)]:
        output.stdout(whole[:size])
        whole = whole[size:]
    output.flush()
    assert (bytes(output.out), output.status, output.begun) == (said, status, True)


@given(st.binary(), st.integers(0, 60))
def test_output__without_the_mark_behind_it_is_handed_on_to_its_last_byte(
    said: bytes, cut: int
) -> None:
    whole = BEGIN + said + MARK + b"end 0\n"
    kept = whole[: max(len(BEGIN), len(whole) - 1 - cut)]
    output = Output()
    output.stdout(kept)
    output.flush()
    assert output.status is None
    assert bytes(output.out) == kept[len(BEGIN) :]


def test_output__of_a_script_that_prints_the_marks_itself_is_its_own() -> None:
    said = BEGIN + b"a" + MARK + b"end 3\n" + b"b"
    output = Output()
    output.stdout(printed(said, 7))
    output.flush()
    assert (bytes(output.out), output.status) == (said, 7)


def test_output__is_handed_on_while_it_comes() -> None:
    output = Output()
    output.stdout(BEGIN + b"one\n")
    assert bytes(output.out) == b"one\n"
    output.stdout(b"two \x1e")
    assert bytes(output.out) == b"one\ntwo "
    output.stdout(b"x")
    assert bytes(output.out) == b"one\ntwo \x1ex"


def test_words__are_those_that_came_instead_of_the_script() -> None:
    output = Output()
    output.stdout(b'Please login as the user "ubuntu"\r\n')
    output.stderr(b"bye\n")
    assert not output.begun
    assert output.words() == 'Please login as the user "ubuntu" bye'


def test_noise__without_an_end_is_refused() -> None:
    output = Output()
    output.stdout(b"m" * MOST_NOISE)
    with pytest.raises(NoiseTooLong):
        output.stdout(b"m")


def test_noise__behind_the_script_is_not_kept_without_bound() -> None:
    output = Output()
    output.stdout(printed(b"x"))
    for _ in range(10):
        output.stdout(b"y" * MOST_NOISE)
    output.flush()
    assert len(output.out) > 9 * MOST_NOISE
