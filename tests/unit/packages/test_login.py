"""The script that shows who has logged in, in every shell, and what is understood of its output."""

import subprocess

import pytest

from tendhost.server.packages.errors import PackageError
from tendhost.server.packages.facts import Privilege
from tendhost.server.packages.login import Login, login_script, parse_login
from tests.tools import SHELLS
from tests.unit.engine.fake_answers import framed


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_names_the_user_of_this_machine(shell: list[str]) -> None:
    printed = subprocess.run([*shell, "-c", login_script()], capture_output=True, check=True).stdout
    name = subprocess.run(["id", "-un"], capture_output=True, check=True, text=True).stdout.strip()
    assert parse_login(printed).user == name


@pytest.mark.parametrize(
    ("status", "printed", "sudo", "login"),
    [
        (0, "0\nroot", "", Login(user="root", privilege=Privilege.ROOT, sudo_message="")),
        (0, "1000\nops", "", Login(user="ops", privilege=Privilege.SUDO, sudo_message="")),
        (
            1,
            "1000\nops",
            "sudo: a password is required\n",
            Login(
                user="ops", privilege=Privilege.NONE, sudo_message="sudo: a password is required"
            ),
        ),
    ],
    ids=["root", "sudo", "none"],
)
def test_a_login__is_understood_behind_a_banner(
    status: int, printed: str, sudo: str, login: Login
) -> None:
    output = b"Welcome!\n" + framed([("privilege", status, printed, sudo)])
    assert parse_login(output) == login


@pytest.mark.parametrize(
    "output",
    [b"", b"This account is currently not available.\n", framed([("privilege", 127, "", "")])],
    ids=["nothing", "nologin", "no id"],
)
def test_a_shell_that_runs_nothing_is_not_taken_for_a_login(output: bytes) -> None:
    with pytest.raises(PackageError):
        parse_login(output)


def test_a_login__cut_off_at_any_byte_is_refused() -> None:
    whole = framed([("privilege", 0, "0\nroot", "")])
    for length in range(len(whole) - 1):
        with pytest.raises(PackageError):
            parse_login(whole[:length])
