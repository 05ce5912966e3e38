"""The commands that change a SUSE host's packages, run in a shell with a zypper that only tells."""

import subprocess
from datetime import timedelta

import pytest

from tendhost.server.domain.inventory.inventory import PackageChange, PendingPackage
from tendhost.server.packages.package_manager import Transaction
from tests.unit.packages.zypper.recordings import ZYPPER

NO_WAIT = timedelta()
NAMED = (
    PendingPackage(name="tb-a", from_version="1", to_version="2"),
    PendingPackage(name="tb-new", from_version="", to_version="2"),
)
ZYPPER_BASE = "--non-interactive --no-refresh"


@pytest.fixture
def run(tmp_path):
    """Run a command with a zypper that writes down its words, and ends as `ends` says, one by one."""

    def run(command: str, *, ends: str = "0", says: str = "") -> tuple[int, list[str], str]:
        (tmp_path / "ends").write_text(f"{ends}\n")
        (tmp_path / "says").write_text(says)
        fake = tmp_path / "zypper"
        fake.write_text(
            f'#!/bin/sh\ncd {tmp_path}\necho "$*" >>called\ncat says\n'
            'read -r status rest <ends\necho "${rest:-$status}" >ends\nexit "$status"\n'
        )
        fake.chmod(0o755)
        (tmp_path / "sleep").write_text("#!/bin/sh\n")
        (tmp_path / "sleep").chmod(0o755)
        done = subprocess.run(
            ["sh", "-c", command],
            env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=False,
        )
        called = tmp_path / "called"
        assert done.stdout == ""
        return (
            done.returncode,
            called.read_text().splitlines() if called.exists() else [],
            done.stderr,
        )

    return run


def upgrade(**options) -> str:
    return ZYPPER.upgrade_command(Transaction(lock_timeout=NO_WAIT, **options))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "update"),
        ({"download_only": True}, "update --download-only"),
        ({"packages": NAMED}, "update -- tb-a"),
        ({"packages": NAMED, "exact": True}, "update -- tb-a=2"),
        (
            {"packages": NAMED, "allow_removals": True, "download_only": True},
            "update --download-only --force-resolution -- tb-a",
        ),
    ],
)
def test_the_words_of_an_upgrade(run, options, words):
    status, called, _ = run(upgrade(**options))
    assert status == 0
    assert [call.strip() for call in called] == [f"{ZYPPER_BASE} {words}"]


def test_nothing_to_upgrade_calls_nobody(run):
    assert run(upgrade(packages=()))[:2] == (0, [])


def test_what_zypper_says_goes_to_the_log(run):
    assert run(upgrade(), says="Nothing to do.\n")[2] == "Nothing to do.\n"


def test_after_an_update_of_zypper_itself_it_runs_once_more(run):
    status, called, _ = run(upgrade(), ends="103 102")
    assert status == 102
    assert len(called) == 2


def test_it_does_not_run_a_third_time(run):
    status, called, _ = run(upgrade(), ends="103 103 0")
    assert status == 103
    assert len(called) == 2


def test_a_lock_is_waited_for(run):
    command = ZYPPER.upgrade_command(Transaction(lock_timeout=timedelta(seconds=10)))
    status, called, _ = run(command, ends="7 7 0")
    assert status == 0
    assert len(called) == 3


def test_a_lock_is_not_waited_for_longer_than_allowed(run):
    command = ZYPPER.upgrade_command(Transaction(lock_timeout=timedelta(seconds=4)))
    status, called, _ = run(command, ends="7")
    assert status == 7
    assert len(called) == 3


TABLE = """S  | Repository | Name    | Current Version | Available Version | Arch
---+------------+---------+-----------------+-------------------+-------
v  | Fleet      | tb-conf | 1.0-1           | 2.0-1             | noarch
vl | Fleet      | tb-held | 1.0-1           | 2.0-1             | noarch
v  | Fleet      | tb-kept | 1.0-1           | 2.0-1             | noarch
"""


def test_where_removals_are_allowed_everything_but_what_is_locked_is_named(run):
    _, called, _ = run(upgrade(allow_removals=True), says=TABLE)
    assert called == [
        f"{ZYPPER_BASE} list-updates --all",
        f"{ZYPPER_BASE} update --force-resolution -- tb-conf tb-kept",
    ]


@pytest.mark.parametrize(
    ("release", "words"),
    [
        ('ID="opensuse-tumbleweed"\nID_LIKE="opensuse suse"', "dist-upgrade --force-resolution"),
        ('ID="opensuse-slowroll"\nID_LIKE="opensuse suse"', "dist-upgrade --force-resolution"),
        ("ID=opensuse-slowroll", "dist-upgrade --force-resolution"),
        ('ID="gecko"\nID_LIKE="opensuse-tumbleweed suse"', "dist-upgrade --force-resolution"),
        (
            'ID="opensuse-leap"\nID_LIKE="suse opensuse"',
            "update --force-resolution -- tb-conf tb-kept",
        ),
        (
            'ID="sles"\nHOME_URL="https://get.opensuse-tumbleweed.example"',
            "update --force-resolution -- tb-conf tb-kept",
        ),
    ],
)
def test_what_moves_in_snapshots_is_upgraded_to_the_next_one(run, tmp_path, release, words):
    (tmp_path / "os-release").write_text(f"{release}\n")
    command = upgrade(allow_removals=True).replace("/etc/os-release", f"{tmp_path}/os-release")
    _, called, _ = run(command, says=TABLE)
    assert called[-1] == f"{ZYPPER_BASE} {words}"


def test_only_what_is_unneeded_is_removed_and_only_after_success(run):
    _, called, _ = run(upgrade(unneeded=("tb-x",)))
    assert called[1:] == [f"{ZYPPER_BASE} remove --no-clean-deps -- tb-x"]


def test_after_a_failure_nothing_is_removed(run):
    status, called, _ = run(upgrade(unneeded=("tb-x",)), ends="8")
    assert status == 8
    assert len(called) == 1


def test_changes_are_taken_back_in_one_transaction_without_the_kernel(run):
    command = ZYPPER.restore_command(
        (
            PackageChange(name="tb-a", from_version="1-1", to_version="2-1"),
            PackageChange(name="tb-gone", from_version="1-1", to_version=""),
            PackageChange(name="tb-new", from_version="", to_version="2-1"),
            PackageChange(name="kernel-default", from_version="", to_version="6-1"),
        ),
        lock_timeout=timedelta(minutes=5),
    )
    _, called, _ = run(command)
    assert called == [f"{ZYPPER_BASE} install --oldpackage -- tb-a=1-1 tb-gone=1-1 !tb-new"]


def test_firmware_is_taken_back_like_any_other_package(run):
    change = PackageChange(name="kernel-firmware-all", from_version="1-1", to_version="2-1")
    _, called, _ = run(ZYPPER.restore_command((change,), lock_timeout=timedelta(minutes=5)))
    assert called == [f"{ZYPPER_BASE} install --oldpackage -- kernel-firmware-all=1-1"]


def test_a_new_kernel_alone_is_not_taken_back(run):
    change = PackageChange(name="kernel-default", from_version="", to_version="6-1")
    assert run(ZYPPER.restore_command((change,), lock_timeout=timedelta(minutes=5)))[:2] == (0, [])


@pytest.mark.parametrize("options", [{}, {"packages": NAMED}, {"allow_removals": True}])
def test_a_plan_never_asks_for_the_change_itself(options):
    script = ZYPPER.plan_script(Transaction(**options))
    line = next(line for line in script.split("\n") if line.startswith("part plan "))
    assert "--dry-run" in line.partition(" -- ")[0]
