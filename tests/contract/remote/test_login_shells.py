"""Users of a real host, by their shell and by what sshd makes of them: commands run, or the host's words come back."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

import pytest

from tendhost.server.domain.host_errors import PrivilegeMissing, ShellUnusable
from tendhost.server.packages.detection import package_manager
from tendhost.server.packages.package_manager import Transaction
from tendhost.server.packages.query import QueryOptions, query_script
from tendhost.server.packages.script import parse_parts
from tendhost.server.remote.commands import CommandRemote
from tests.contract.remote.ways import Way, over_sshd
from tests.fleet import Fleet, Host

pytestmark = pytest.mark.fleet
LONG = timedelta(seconds=30)
SCRIPT = "printf '%s|' \"a 'b'\" '!x' '$HOME \\n' é; cat; id -u; echo err >&2; exit 3"
NOISE = """
echo Welcome; echo noise >&2; stty -echo
set -eCu; umask 077; IFS=a; TMOUT=1; export TMOUT BASH_ENV=~/.bashrc ENV=~/.bashrc LANG=de_DE.UTF-8
cat() { echo mine; }; printf() { echo mine; }; export -f cat printf; alias id='echo mine'; shopt -s expand_aliases
trap 'echo bye' EXIT
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A user of the host."""

    shell: str
    startup: tuple[str, str] = ("", "")
    """A file of the user's home, and what stands in it."""
    key_options: str = ""
    """What stands before the user's key in authorized_keys, sshd(8)."""
    also: str = ""
    """A command for root that makes the user complete."""


RUNS = {
    "tcsh": User(
        shell="/bin/tcsh", startup=(".tcshrc", "echo Welcome\nset noclobber\nset autologout=1")
    ),
    "csh": User(shell="/bin/bsd-csh", startup=(".cshrc", "echo Welcome; alias sh echo mine")),
    "fish": User(shell="/usr/bin/fish", startup=(".config/fish/config.fish", "echo Welcome")),
    "zsh": User(
        shell="/bin/zsh", startup=(".zshenv", "echo Welcome; setopt noclobber rcquotes; cat() {}")
    ),
    "rbash": User(shell="/bin/rbash", startup=(".bashrc", "echo Welcome")),
    "noisy": User(shell="/bin/bash", startup=(".bashrc", NOISE)),
    "bashsh": User(
        shell="/bin/bash",
        startup=(".bashrc", f"PATH=~/bin:$PATH\n{NOISE}"),
        also="mkdir ~bashsh/bin; ln -s /bin/bash ~bashsh/bin/sh",
    ),
}
DOES_NOT_RUN = {
    "cloud": (
        User(
            shell="/bin/bash",
            key_options=(
                'no-port-forwarding,command="echo \'Please login as the user \\"ubuntu\\" rather than the user'
                ' \\\\"root\\\\".\';echo;exit 142"'
            ),
        ),
        r"Please login as the user .*ubuntu.* exit status 142",
    ),
    "mute": (
        User(shell="/usr/sbin/nologin"),
        "This account is currently not available.* exit status 1",
    ),
    "nothing": (User(shell="/bin/false"), "printed nothing and ended with exit status 1"),
    "sftponly": (
        User(shell="/bin/bash", key_options='command="internal-sftp"'),
        "This service allows sftp connections only.* exit status 1",
    ),
    "sftpshell": (User(shell="/usr/lib/openssh/sftp-server"), "exit status"),
    "menu": (
        User(shell="/bin/bash", key_options='command="echo 1: backup 2: quit; read choice"'),
        "1: backup 2: quit",
    ),
    "patient": (
        User(shell="/bin/bash", key_options='command="echo 1: backup 2: quit; exec sleep 60"'),
        r"1: backup 2: quit.* did not end within 2 s",
    ),
    "endless": (
        User(shell="/bin/bash", key_options='command="exec yes menu"'),
        "menu menu .*goes on printing",
    ),
    "other": (
        User(shell="/bin/bash", startup=(".bashrc", "echo Welcome; exec cat")),
        "Welcome' and ended with exit status 0",
    ),
    "expired": (
        User(shell="/bin/bash", also="echo expired:x | chpasswd; chage -d 0 expired"),
        "(?i)password.* exit status 1",
    ),
    "nosh": (
        User(shell="/bin/rbash", startup=(".bashrc", "PATH=~/bin")),
        "sh: command not found.* exit status 127",
    ),
    "gone": (
        User(shell="/bin/bash", startup=(".bashrc", "echo maintenance until 8 >&2; exit 7")),
        "maintenance until 8' and ended with exit status 7",
    ),
}
ASKING = User(
    shell="/bin/bash", startup=(".bashrc", "echo -n 'Continue? '; read answer; echo $answer")
)
USERS = RUNS | {name: user for name, (user, _) in DOES_NOT_RUN.items()} | {"asking": ASKING}


def make(host: Host, name: str, user: User) -> None:
    """Make the user, who may use sudo."""
    path, text = user.startup
    lines = [
        f"useradd -m -s {user.shell} {name}",
        f'cp -r /home/ops/.ssh ~{name}/ && sed -i "s|^|$OPTIONS |;s|^ ||" ~{name}/.ssh/authorized_keys',
        f"mkdir -p ~{name}/$(dirname {path or 'x'})",
        f'printf %s "$STARTUP" >~{name}/{path or ".none"}',
        f"echo '{name} ALL=(ALL:ALL) NOPASSWD: ALL' >/etc/sudoers.d/{name}",
        user.also or ":",
        f"chown -R {name}: ~{name}",
    ]
    options = user.key_options.replace("\\", "\\\\")
    quoted = [f"{key}={_quoted(value)}" for key, value in (("STARTUP", text), ("OPTIONS", options))]
    host.run("\n".join(("set -e", *quoted, *lines)), check=True)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


@pytest.fixture(scope="module")
def host(fleet: Fleet) -> Iterator[Host]:
    host = fleet["web1"]
    for name, user in USERS.items():
        make(host, name, user)
    yield host
    host.run("; ".join(f"userdel -rf {name}; rm -f /etc/sudoers.d/{name}" for name in USERS))


@pytest.fixture
async def way(fleet: Fleet, host: Host) -> AsyncIterator[Way]:
    way = over_sshd(fleet, host)
    yield way
    await way.connector.aclose()


@asynccontextmanager
async def connected(way: Way, user: str) -> AsyncIterator[CommandRemote]:
    remote = await way.connect(user)
    try:
        yield remote
    finally:
        await remote.close()


@pytest.mark.parametrize("user", RUNS)
@pytest.mark.parametrize("privileged", [False, True])
@pytest.mark.parametrize("input", [b"", b"its\0input"])
async def test_command__runs_with_sh_whatever_the_shell_of_the_user_is(
    way: Way, user: str, privileged: bool, input: bytes
) -> None:
    async with connected(way, user) as remote:
        for script in (SCRIPT, f"#{'x' * 200_000}\n{SCRIPT}"):
            done = await remote.run(script, timeout=LONG, privileged=privileged, input=input)
            head = "a 'b'|!x|$HOME \\n|é|".encode() + input
            assert done.stdout.startswith(head)
            assert (done.stdout.removeprefix(head) == b"0\n") is privileged
            assert (done.stderr, done.exit_status) == (b"err\n", 3)


@pytest.mark.parametrize("user", RUNS)
async def test_query__answers_the_same_whatever_the_shell_of_the_user_is(
    way: Way, user: str
) -> None:
    apt = package_manager("apt")
    assert apt is not None
    answers = []
    for name in ("ops", user):
        async with connected(way, name) as remote:
            done = [
                await remote.run(script, timeout=LONG)
                for script in (query_script(QueryOptions()), apt.plan_script(Transaction()))
            ]
            answers.append([parse_parts(each.stdout, expected=()) for each in done])
    mine, ops = ({name: part for parts in both for name, part in parts.items()} for both in answers)
    assert mine.keys() == ops.keys()
    for name in ("os_release", "uname", "manager", "container", "simulation", "installed"):
        assert mine[name] == ops[name]


@pytest.mark.parametrize("user", DOES_NOT_RUN)
@pytest.mark.parametrize("privileged", [False, True])
async def test_login_that_runs_no_commands__is_told_in_the_words_of_the_host(
    way: Way, user: str, privileged: bool
) -> None:
    async with connected(way, user) as remote:
        limit = timedelta(seconds=2) if user == "patient" else LONG
        with pytest.raises(ShellUnusable, match=DOES_NOT_RUN[user][1]) as caught:
            await remote.run("touch /tmp/ran", timeout=limit, privileged=privileged)
        assert (caught.value.user, caught.value.needs_person) == (user, True)


async def test_shell_that_a_startup_file_begins__gets_nothing_to_execute(
    way: Way, host: Host
) -> None:
    # cat would print what it is given.
    async with connected(way, "other") as remote:
        for script in ("touch /tmp/ran", f"touch /tmp/ran #{'x' * 200_000}"):
            with pytest.raises(ShellUnusable) as caught:
                await remote.run(script, timeout=timedelta(seconds=2), input=b"touch /tmp/ran\n")
            assert "touch" not in str(caught.value)


async def test_startup_file_that_reads__gets_nothing_of_a_script_or_its_input(way: Way) -> None:
    async with connected(way, "asking") as remote:
        assert (await remote.run("echo $0; cat", timeout=LONG)).stdout == b"sh\n"
        with pytest.raises(ShellUnusable, match=r"Continue\?. and did not end within 2 s"):
            await remote.run("cat", timeout=timedelta(seconds=2), input=b"yes\n")


async def test_sudo_that_refuses__is_no_unusable_shell(way: Way) -> None:
    async with connected(way, "nosudo") as remote:
        with pytest.raises(PrivilegeMissing, match="password is required"):
            await remote.run("true", timeout=LONG, privileged=True)
