"""The guide names every program that a script calls on a host, and none that no script calls."""

import importlib
import pkgutil
import re
from collections.abc import Iterable
from pathlib import Path

import tendhost.server.packages
import tendhost.server.remote
from tendhost.server.remote.shell import PATH
from tests.skipped_parts import SCRIPTS

GUIDE = Path(__file__).parents[2] / "docs" / "packages.md"
_LIST = """
awk base64 basename blkid cat chmod chown cmp comm cp cut date dd df diff dirname dmidecode du egrep
env expr fallocate find findmnt flock fold getconf getent grep head id install ip join ln ls lsblk
lscpu lsmod md5sum mkdir mktemp modinfo mount mountpoint mv nice nl nohup nproc od openssl paste
perl pgrep pkill printenv python3 readlink realpath rm rmdir sed seq setsid sha256sum sleep sort
split ss stat stdbuf sync sysctl tac tail tee timeout touch tr tsort umount uname uniq uptime wc
which who xargs
"""
UTILITIES = frozenset(_LIST.split())
"""Programs of coreutils, util-linux and the like: package managers and what comes with them are beside the point."""
_NAME = r"\s*(?:[A-Za-z_]+=[^\s(]*\s+)*([a-z][a-z0-9_.+-]*)(?=[\s;)|&]|$)"
_WORDS = "set --|then|do|else|exec|if|elif|while|until|as_root|part [a-z_]+"
_COMMANDS = (
    re.compile(rf"(?:^|[|;&({{!`]){_NAME}", re.MULTILINE),
    re.compile(rf"(?=(?:\b(?:{_WORDS})|-exec)\s{_NAME})", re.MULTILINE),
)
"""The name of a command, behind a sign and behind a word of a script for sh. Such a word may follow another."""


def texts() -> list[str]:
    """The scripts, and every piece of one."""
    found = list(SCRIPTS)
    for package in (tendhost.server.packages, tendhost.server.remote):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            values = vars(importlib.import_module(module.name))
            found += [value for key, value in values.items() if is_script(key, value)]
    return found


def is_script(key: str, value: object) -> bool:
    return isinstance(value, str) and "\n" in value and not key.startswith("__")


def called() -> set[str]:
    return programs(texts())


def programs(scripts: Iterable[str]) -> set[str]:
    """The utilities that these scripts call."""
    found = (kind.findall(script) for script in scripts for kind in _COMMANDS)
    return {name for names in found for name in names} & UTILITIES


def named() -> set[str]:
    """The programs in the guide's section: those that a host needs, and those that are used if they are there."""
    section = GUIDE.read_text().partition("## Requirements of a host\n")[2].partition("\n## ")[0]
    return {word.removesuffix("(1)") for word in re.findall(r"`([^`\s]+)`", section)}


def test_programs__that_scripts_call_are_those_that_the_guide_names() -> None:
    assert called() == named() & UTILITIES


def test_path__is_set_for_all_scripts_in_one_place() -> None:
    setting = re.compile(r"\bPATH=.*")
    found = {match for text in texts() for match in setting.findall(text)}
    assert found == {PATH}


def test_programs__are_found_wherever_a_command_can_stand() -> None:
    lines = (
        "cat x",
        "  wc -c <x | tail -n 1",
        "x=$(sort y)",
        "if grep -q a b; then rm c; fi",
        "if LC_ALL=C uniq",
        "while sleep 1; do sync; done",
        "as_root env A=1 x",
        "find . -exec ls -l {} +",
        "set -- df /",
        "part uname uname -r",
        "! id",
        "{ cut -d x; }",
    )
    names = "cat wc tail sort grep rm uniq sleep sync env find ls df uname id cut"
    assert programs(lines) == set(names.split())
