"""The commands that change packages, what a dry run says, and which configuration files were kept."""

import re
import shlex
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tendhost.server.domain.inventory.inventory import PackageChange, PendingPackage
from tendhost.server.packages.apt.apt import Apt
from tendhost.server.packages.apt.commands import (
    kept_conffiles,
    parse_plan,
    parse_sizes,
    plan_script,
    repair_command,
    restore_command,
    upgrade_command,
)
from tendhost.server.packages.apt.settings import DEFINE, SETTINGS
from tendhost.server.packages.errors import ParseFailed
from tendhost.server.packages.package_manager import Transaction
from tests.unit.packages.recordings import log, recorded


def packages(*names: str) -> tuple[PendingPackage, ...]:
    return tuple(PendingPackage(name=name, from_version="1", to_version="2") for name in names)


def test_the_upgrade_is_unattended_waits_for_the_lock_and_keeps_conffiles() -> None:
    command = upgrade_command(Transaction(lock_timeout=timedelta(seconds=90)))
    assert command == "{\n" + DEFINE + "\n" + (
        "env DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l DPKG_COLORS=never NO_COLOR=1 LC_ALL=C"
        " apt-get $apt_settings -y -o DPkg::Lock::Timeout=90"
        " -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold"
        " -o APT::Status-Fd=3 --with-new-pkgs upgrade\n} 3>&1 1>&2 </dev/null"
    )


def test_settings__are_words_that_a_shell_takes_as_they_are() -> None:
    defined = f"set -f; {DEFINE}; set -- $apt_settings; printf '%s\\n' \"$@\""
    done = subprocess.run(["sh", "-c", defined], capture_output=True, text=True, check=True)
    expected = [word for item in SETTINGS.items() for word in ("-o", "=".join(item))]
    assert done.stdout.split("\n")[:-1] == expected


@pytest.mark.parametrize("options", [{}, {"packages": packages("a")}, {"allow_removals": True}])
def test_settings__are_on_every_command_line_of_apt(options: dict[str, Any]) -> None:
    transaction = Transaction(autoremove=True, unneeded=("old",), **options)
    change = PackageChange(name="a", from_version="1", to_version="2")
    scripts = (
        plan_script(transaction),
        upgrade_command(transaction),
        restore_command((change,), lock_timeout=timedelta(0)),
        Apt().query_lines(refresh=True, lock_timeout=timedelta(0)),
        Apt().preflight_lines(lock_timeout=timedelta(0)),
    )
    for script in scripts:
        assert script.index(DEFINE) < script.index("$apt_settings")
        calls = re.findall(r"\bapt-(?:get|cache) (\S+)", script)
        assert calls
        assert set(calls) == {"$apt_settings"}


def test_removals_are_allowed_by_a_dist_upgrade() -> None:
    words = shlex.split(upgrade_command(Transaction(allow_removals=True)))
    assert "dist-upgrade" in words
    assert "--with-new-pkgs" not in words


def test_named_packages_are_upgraded_alone_and_never_newly_installed() -> None:
    words = shlex.split(upgrade_command(Transaction(packages=packages("a", "libc6:i386"))))
    start = words.index("--no-remove")
    assert words[start : start + 6] == [
        "--no-remove",
        "--only-upgrade",
        "install",
        "--",
        "a",
        "libc6:i386",
    ]


def test_exactly_planned_packages_are_named_with_their_versions() -> None:
    words = shlex.split(upgrade_command(Transaction(packages=packages("a"), exact=True)))
    assert "a=2" in words


def test_what_would_be_newly_installed_comes_with_those_that_need_it() -> None:
    new = PendingPackage(name="new", from_version="", to_version="2")
    words = shlex.split(upgrade_command(Transaction(packages=(*packages("a"), new), exact=True)))
    assert not [word for word in words if word.startswith("new")]


def test_packages_can_be_fetched_and_nothing_changed() -> None:
    assert " --download-only " in upgrade_command(Transaction(download_only=True))


def test_what_nothing_needs_any_more_goes_only_where_that_was_asked_for() -> None:
    assert "--auto-remove" not in plan_script(Transaction())
    assert " --auto-remove " in plan_script(Transaction(autoremove=True))
    command = upgrade_command(Transaction(autoremove=True, unneeded=("old", "older")))
    assert "--auto-remove" not in command
    assert " remove -- old older" in command


def test_a_way_back_names_the_former_versions_and_what_was_new() -> None:
    command = restore_command(
        (
            PackageChange(name="a", from_version="1:1", to_version="1:2"),
            PackageChange(name="new", from_version="", to_version="1"),
        ),
        lock_timeout=timedelta(seconds=90),
    )
    assert "for want in a=1:1;" in command
    assert "DPkg::Lock::Timeout=90" in command
    assert "--allow-downgrades" in command
    assert '"$@" new- 1>&2' in command


def test_named_packages_may_remove_others_where_that_is_allowed() -> None:
    options = Transaction(packages=packages("a"), allow_removals=True)
    assert "--no-remove" not in upgrade_command(options)


@pytest.mark.parametrize("name", ["; reboot", "$(reboot)", "a b", "-o", "'"])
def test_a_name_cannot_become_anything_but_one_argument(name: str) -> None:
    for command in (upgrade_command, plan_script):
        assert shlex.quote(name) in command(Transaction(packages=packages(name)))


@pytest.mark.parametrize(
    ("wait", "seconds"),
    [(timedelta(0), 0), (timedelta(milliseconds=100), 1), (timedelta(seconds=-5), 0)],
)
def test_the_wait_is_rounded_up_and_never_endless(wait: timedelta, seconds: int) -> None:
    # apt takes -1 for "wait for ever".
    assert f"DPkg::Lock::Timeout={seconds} " in upgrade_command(Transaction(lock_timeout=wait))


def test_the_repair_keeps_conffiles_too() -> None:
    assert repair_command() == (
        "env DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l DPKG_COLORS=never NO_COLOR=1 LC_ALL=C"
        " dpkg --force-confdef --force-confold --configure -a 1>&2 </dev/null"
    )


def test_a_dry_run_tells_what_changes_and_what_it_costs() -> None:
    planned = parse_plan(recorded("debian12/dry-run"))
    assert len(planned.changes) == 9
    assert not {"tb-held", "tb-kept"} & {change.name for change in planned.changes}
    assert {change.name for change in planned.changes if change.security} == {"tb-secure"}
    assert planned.removed == ()
    assert (planned.download_bytes, planned.disk_bytes) == (7312, 0)
    assert planned.failure is None


@pytest.mark.parametrize(
    ("simulation", "asked"),
    [
        (
            "Inst b:i386 [1] (2 x [i386])\nInst new (2 x [all])\nConf b (2)\nInst a [1] (2 x [all])",
            ["b:i386", "a"],
        ),
        ("Inst new (2 x [all])\nRemv gone [1]", None),
        ("0 upgraded", None),
    ],
)
def test_a_dry_run_asks_for_the_policy_of_what_changes_alone(
    simulation: str, asked: list[str] | None
) -> None:
    script = plan_script(Transaction())
    stub = f"""set -f
part() {{
  name=$1; shift 2; echo "$name: $*"; out=
  [ $name != simulation ] || out={shlex.quote(simulation)}
}}
"""
    lines = script[script.index("apt_settings=") : script.index("for name in")]
    done = subprocess.run(["sh", "-c", stub + lines], capture_output=True, text=True, check=True)
    parts = dict(line.split(": ", 1) for line in done.stdout.splitlines())
    assert list(parts) == ["simulation", *(["policy"] if asked else []), "sources", "sizes"]
    if asked:
        assert parts["policy"].partition(" policy ")[2].split() == asked
    assert parts["sources"].endswith(" policy")


def test_a_dry_run_with_removals_names_what_goes() -> None:
    planned = parse_plan(recorded("debian12/dry-run-removals"))
    assert planned.removed == (("tb-olddep", "1.0-1"),)
    assert "tb-kept" in {p.name for p in planned.changes}


def test_a_dry_run_counts_in_apts_units() -> None:
    planned = parse_plan(recorded("ubuntu24.04/dry-run"))
    assert (planned.download_bytes, planned.disk_bytes) == (68_200_000, 21_100_000)


def test_a_dry_run_with_nothing_to_do_costs_nothing() -> None:
    planned = parse_plan(recorded("debian12/dry-run-nothing"))
    assert planned.changes == ()
    assert (planned.download_bytes, planned.disk_bytes) == (0, 0)


def test_a_dry_run_that_apt_cannot_plan_says_why() -> None:
    planned = parse_plan(recorded("debian12/dry-run-named"))
    assert planned.failure is not None
    assert planned.failure.reason.startswith("Held packages were changed")
    assert planned.changes == ()


@pytest.mark.parametrize(
    ("text", "sizes"),
    [
        ("Need to get 0 B/6500 B of archives.", (0, None)),
        ("Need to get 1,193 kB of archives.", (1_193_000, None)),
        ("Need to get 1.5 MB/2 GB of archives.", (1_500_000, None)),
        ("After this operation, 3242 kB of additional disk space will be used.", (None, 3_242_000)),
        ("After this operation, 12.3 MB disk space will be freed.", (None, -12_300_000)),
        ("\n0 upgraded, 0 newly installed, 0 to remove and 2 not upgraded.\n", (0, 0)),
        ("E: something else", (None, None)),
    ],
)
def test_sizes_are_read_in_every_form(text: str, sizes: tuple[int | None, int | None]) -> None:
    assert parse_sizes(text) == sizes


def test_a_size_in_an_unknown_unit_is_refused() -> None:
    with pytest.raises(ParseFailed):
        parse_sizes("Need to get 1 QB of archives.")


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("debian12/upgrade-failing", ("/etc/tb-conf.conf",)),
        ("debian12/upgrade-named", ("/etc/tb-conf.conf",)),
        ("debian12/upgrade-half-repaired", ()),
        ("debian12/conffile-prompt", ()),
        ("ubuntu24.04/upgrade-named", ("/etc/needrestart/needrestart.conf",)),
    ],
)
def test_the_conffiles_that_were_kept_are_named(name: str, kept: tuple[str, ...]) -> None:
    assert kept_conffiles(log(name)) == kept


@pytest.mark.parametrize("setting", ["Dir::Cache::Archives=/DIR/debs", "Dir::Cache=/DIR/my cache"])
def test_a_way_back__takes_packages_from_where_the_host_keeps_them(
    tmp_path: Path, setting: str
) -> None:
    folder = tmp_path / ("debs" if "debs" in setting else "my cache/archives")
    folder.mkdir(parents=True)
    package = folder / "a_1%3a1_all.deb"
    package.touch()
    value = setting.replace("/DIR", str(tmp_path))
    programs = {
        "apt-config": f'exec /usr/bin/apt-config -o "{value}" "$@"',
        "apt-cache": "exit 100",
        "dpkg": "echo amd64",
        "apt-get": f'case "$*" in *" -s "*) ;; *) printf "%s\\n" "$@" >{tmp_path}/asked ;; esac',
    }
    for name, script in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    change = PackageChange(name="a", from_version="1:1", to_version="1:2")
    done = subprocess.run(
        ["sh", "-c", restore_command((change,), lock_timeout=timedelta(0))],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        stderr=subprocess.PIPE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert str(package) in (tmp_path / "asked").read_text().splitlines()
