"""The script that shows who has logged in, in every shell, and what is understood of its output."""

import shutil
import subprocess
from pathlib import Path

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


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("allowed", "privilege"),
    [
        ("true", Privilege.NONE),  # what is tried must be what is used
        ("sh -c *", Privilege.SUDO),
        ("apt-get *", Privilege.NONE),
        ("env *", Privilege.NONE),
        ("*", Privilege.SUDO),
    ],
)
def test_the_script__tries_the_command_with_which_scripts_become_root(
    shell: tuple[str, ...], tmp_path: Path, allowed: str, privilege: Privilege
) -> None:
    words = '#!/bin/sh\n[ "$1 $2" = "-n --" ] && shift || shift\n[ "$1" != -- ] || shift\n'
    pattern = allowed.replace(" ", "\\ ")
    programs = {
        "id": "#!/bin/sh\n[ $1 = -u ] && echo 1000 || echo ops\n",
        "sudo": f'{words}case "$*" in {pattern}) exec "$@" ;; esac\necho "not allowed" >&2; exit 1\n',
    }
    for name, text in programs.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    command = [shutil.which(shell[0]) or "", *shell[1:], "-c", login_script()]
    done = subprocess.run(command, capture_output=True, check=True, env=environment)
    assert parse_login(done.stdout).privilege is privilege


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
