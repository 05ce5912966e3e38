"""The loader that reads a script from standard input, in every sh that is to be had here."""

import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tendhost.server.remote.script_input import CUT_OFF, END, loader, standard_input

SHELLS = [s for s in (("dash",), ("bash", "--posix"), ("busybox", "sh")) if shutil.which(s[0])]
LOGIN_SHELLS = [
    name for name in ("sh", "bash", "rbash", "zsh", "fish", "tcsh") if shutil.which(name)
]
MANY = " ".join(f"'name-{number}=1:2.0-{number}'" for number in range(5000))


def run(
    shell: tuple[str, ...], sent: bytes, *, reads: bool
) -> "subprocess.CompletedProcess[bytes]":
    line = loader(reads=reads, through_sudo=False)
    assert line.startswith("sh -c '")
    words = [*shell, "-c", line.removeprefix("sh -c '").removesuffix("'")]
    return subprocess.run(words, input=sent, capture_output=True, check=False, timeout=60)


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
@pytest.mark.parametrize("input", [b"", b"a\n\0b"])
@pytest.mark.parametrize(
    ("script", "stdout", "status"),
    [
        ("cat; exit 3", "", 3),
        (f"set -- {MANY}\necho $#; cat; false", "5000\n", 1),
        ("f() {\n  echo \"$1\"\n}\n\nf 'a \\ b' # comment\ncat", "a \\ b\n", 0),
        ("cat <<X\n  indented\nX\ncat", "  indented\n", 0),
        ("cat\nexit", "", 0),
    ],
)
def test_loader__runs_the_script_and_leaves_it_its_input(
    shell: tuple[str, ...], input: bytes, script: str, stdout: str, status: int
) -> None:
    done = run(shell, standard_input(script, input), reads=bool(input))
    assert (done.returncode, done.stdout, done.stderr) == (status, stdout.encode() + input, b"")


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
@pytest.mark.parametrize("input", [b"", b"input"])
def test_loader__executes_nothing_of_a_script_that_is_cut_off(
    shell: tuple[str, ...], input: bytes
) -> None:
    whole = standard_input("echo begun\necho done", b"")
    for length in range(0, len(whole) - 1, 3):
        done = run(shell, whole[:length], reads=bool(input))
        assert (done.returncode, done.stdout) == (CUT_OFF, b""), whole[:length]


@pytest.mark.parametrize("login", LOGIN_SHELLS)
@pytest.mark.parametrize("reads", [False, True])
def test_loader__is_the_same_for_every_login_shell(login: str, reads: bool) -> None:
    sent = standard_input("x='a!b'\nprintf '%s\\n' \"$x\"; cat; exit 4", b"more" if reads else b"")
    line = loader(reads=reads, through_sudo=False)
    done = subprocess.run(
        [login, "-c", line], input=sent, capture_output=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout) == (4, b"a!b\n" + (b"more" if reads else b""))


def test_loader__has_no_character_that_login_shells_read_in_different_ways() -> None:
    for reads in (False, True):
        line = loader(reads=reads, through_sudo=True)
        assert line.count("'") == 2
        assert not set(line) & set("!\\\n")
        assert len(line) < 400


@given(st.text(st.characters(exclude_characters="\0", codec="utf-8")))
@settings(max_examples=200, deadline=None)
def test_standard_input__ends_with_the_end_or_is_refused(script: str) -> None:
    sent = standard_input(script, b"rest").decode()
    assert sent.index(f"\n{END}\n") == len(script)


def test_standard_input__refuses_a_script_with_the_end_in_it() -> None:
    for script in (END, f"echo\n{END}\nreboot", f"{END}\nreboot"):
        with pytest.raises(ValueError, match="ends a script"):
            standard_input(script, b"")
