"""What dnf 4 and dnf 5 say, as recorded: pending packages, advisories, plans, failures, progress."""

from datetime import timedelta

import pytest

from tendhost.server.domain.inventory.inventory import (
    PackageChange,
    PendingPackage,
    RebootNeed,
    Severity,
    Withheld,
)
from tendhost.server.packages.dnf.dnf import Dnf, Dnf5, Yum
from tendhost.server.packages.dnf.listing import (
    parse_check_update,
    parse_needs_restarting,
    parse_sizes,
    parse_upgrades,
    parse_versionlock,
)
from tendhost.server.packages.errors import (
    DatabaseBroken,
    LockHeld,
    NotPrivileged,
    NotRefreshed,
    ParseFailed,
    SourceUntrusted,
)
from tendhost.server.packages.failures import FailureKind
from tendhost.server.packages.package_manager import Transaction
from tendhost.server.packages.progress import Phase
from tendhost.server.packages.query import parse_preflight, parse_query
from tendhost.server.packages.script import Part
from tests.unit.packages.recordings import (
    ASKED_AT,
    RECORDED,
    exit_status,
    log,
    query,
    recorded,
)

FOUR, FIVE = "fedora40-dnf4", "fedora42-dnf5"
MANAGERS = {FOUR: Dnf(), FIVE: Dnf5()}
EACH = pytest.mark.parametrize("system", [FOUR, FIVE])


@EACH
def test_pending_packages_have_versions_advisories_and_what_holds_them(system: str) -> None:
    result = query(f"{system}/query")
    assert result.manager is not None
    assert result.manager.name == MANAGERS[system].name
    assert result.problems == ()
    pending = {package.name: package for package in result.pending.packages}
    secure = pending["tb-secure"]
    assert (secure.from_version, secure.to_version, secure.origin) == ("1.0-1", "1.0-2", "fleet")
    (advisory,) = secure.advisories
    assert advisory.id == "FLEET-2024-2001"
    assert (advisory.security, advisory.severity) == (True, Severity.IMPORTANT)
    assert advisory.cves == ("CVE-2024-20001", "CVE-2024-20002")
    assert secure.security is True
    assert pending["tb-simple"].security is False
    assert pending["tb-simple"].advisories[0].id == "FLEET-2024-2002"
    assert pending["tb-slow"].security is False
    assert pending["tb-held"].withheld is Withheld.HELD
    assert pending["kernel-core"].from_version == "6.8.5-301"
    assert result.pending.security_count == 1
    assert result.reboot.need is not RebootNeed.NEEDED


def test_users_without_root_see_the_same_and_are_told_what_they_lack() -> None:
    with_sudo, without = query(f"{FOUR}/query-ops"), query(f"{FOUR}/query-nosudo")
    assert with_sudo.pending == query(f"{FOUR}/query").pending
    assert isinstance(without.problems[0], NotPrivileged)


def test_missing_metadata_of_advisories_is_not_known_and_not_zero() -> None:
    output = recorded(f"{FOUR}/query").replace(b"updateinfo.xml", b"other.xml")
    pending = parse_query(output, at=ASKED_AT).pending
    assert pending.security_count is None
    assert {p.security for p in pending.packages} == {True, None}


@pytest.mark.parametrize(
    ("name", "kind"),
    [("absent", NotRefreshed), ("broken", SourceUntrusted), ("untrusted", SourceUntrusted)],
)
def test_a_repository_that_cannot_be_used_is_named(name: str, kind: type[NotRefreshed]) -> None:
    (problem,) = query(f"{FOUR}/query-{name}").problems
    assert type(problem) is kind
    assert isinstance(problem, NotRefreshed)
    assert problem.sources == ("fleet",)


def test_a_core_library_that_was_replaced_is_a_reason_to_reboot() -> None:
    reboot = query(f"{FOUR}/query-after").reboot
    assert reboot.need is RebootNeed.NEEDED
    assert "linux-firmware" in reboot.reason


@pytest.mark.parametrize(
    ("status", "stdout", "need"),
    [
        (0, "Reboot should not be necessary.", RebootNeed.NOT_NEEDED),
        (1, "  * kernel\n\nReboot is required to fully utilize these updates.", RebootNeed.NEEDED),
        (1, "Error: Failed to open the database", RebootNeed.UNKNOWN),
        (0, "", RebootNeed.UNKNOWN),
        (3, "Reboot is required", RebootNeed.UNKNOWN),
    ],
)
def test_needs_restarting_is_a_yes_only_in_its_own_words(
    status: int, stdout: str, need: RebootNeed
) -> None:
    reboot = parse_needs_restarting(Part(status, stdout, ""))
    assert reboot is not None
    assert reboot.need is need


def test_a_host_without_needs_restarting_has_no_word_of_it() -> None:
    words = "No such command: needs-restarting. Please use /usr/bin/dnf --help"
    assert parse_needs_restarting(Part(1, "", words)) is None


def test_preflights_tell_a_lock_and_an_interrupted_transaction() -> None:
    assert parse_preflight(recorded(f"{FOUR}/preflight")).problems == ()
    assert parse_preflight(recorded(f"{FIVE}/preflight")).problems == ()
    # In the middle of its work, what it replaces is there twice as well.
    held, _ = parse_preflight(recorded(f"{FOUR}/preflight-locked")).problems
    assert isinstance(held, LockHeld)
    assert held.path == "/var/lib/dnf/rpmdb_lock.pid"
    assert held.command.startswith("dnf")
    (broken,) = parse_preflight(recorded(f"{FOUR}/preflight-interrupted")).problems
    assert isinstance(broken, DatabaseBroken)
    assert broken.repairable
    assert broken.packages == ("tb-slow",)


@EACH
def test_a_plan_says_what_is_upgraded_installed_and_fetched(system: str) -> None:
    plan = MANAGERS[system].parse_plan(recorded(f"{system}/plan"))
    assert plan.failure is None
    changes = {change.name: (change.from_version, change.to_version) for change in plan.changes}
    assert changes["tb-simple"] == ("1.0-1", "2.0-1")
    assert changes["tb-extra"][1] == "2.0-1"
    assert "tb-held" not in changes
    # On the second system everything had been fetched before.
    expected = {FOUR: 56_320, FIVE: 0}
    assert plan.download_bytes == expected[system]
    nothing = MANAGERS[system].parse_plan(recorded(f"{system}/plan-nothing"))
    assert (nothing.changes, nothing.removed, nothing.failure) == ((), (), None)


def test_pending_packages_that_replace_others_are_listed_with_them() -> None:
    pending = {p.name: p for p in query(f"{FOUR}/query-obsoletes").pending.packages}
    new = pending["newname"]
    assert (new.from_version, new.to_version, new.replaces) == ("", "2.0-1", ("oldname",))
    assert new.security is None
    assert pending["splitlib"].replaces == ("splitme",)
    assert pending["splitme"].replaces == ()
    assert pending["splitme"].from_version == "1.0-1"


def test_a_pending_kernel_comes_from_the_newest_one_as_rpm_orders_versions() -> None:
    pending = {p.name: p for p in query(f"{FOUR}/query-obsoletes").pending.packages}
    kernel = pending["kernel-core"]
    assert (kernel.from_version, kernel.to_version) == ("6.8.11-200", "6.9.1-200")
    plan = Dnf().parse_plan(recorded(f"{FOUR}/plan-obsoletes"))
    changes = {c.name: c.from_version for c in plan.changes}
    assert changes["kernel-core"] == "6.8.11-200"
    assert ("kernel-core", "6.8.9-200") in plan.removed


def test_a_plan_tells_what_replaces_what_and_that_it_goes() -> None:
    plan = Dnf().parse_plan(recorded(f"{FOUR}/plan-obsoletes"))
    replaces = {c.name: c.replaces for c in plan.changes if c.replaces}
    assert replaces == {"newname": ("oldname",), "splitlib": ("splitme",)}
    assert {("oldname", "1.0-1"), ("splitme", "1.0-1")} <= set(plan.removed)


def test_an_exact_transaction_names_what_replaces_others_and_plans_the_same() -> None:
    plan = Dnf().parse_plan(recorded(f"{FOUR}/plan-obsoletes"))
    chosen = tuple(c for c in plan.changes if c.name in ("newname", "splitlib", "other"))
    command = Dnf().upgrade_command(Transaction(packages=chosen, exact=True))
    assert " upgrade -- newname-2.0-1 other-2.0-1 splitlib-2.0-1;" in command
    exact = Dnf().parse_plan(recorded(f"{FOUR}/plan-obsoletes-exact"))
    assert exact.changes == chosen
    assert exact.removed == (("oldname", "1.0-1"), ("splitme", "1.0-1"))


def test_the_newest_of_several_newer_versions_is_pending() -> None:
    rows = "\n".join(f"k\t0\t{version}-1\tnoarch\tfleet" for version in ("6.9", "6.10", "6.8"))
    (upgrade,) = parse_upgrades(rows)
    assert upgrade.version == "6.10-1"


@pytest.mark.parametrize(
    "rows",
    [
        "    old.noarch  1.0-1  @fleet\n",  # nothing that takes its place
        "new.noarch  2.0-1\n",
        "new.noarch  2.0-1  fleet  more\n",
    ],
)
def test_what_is_no_list_of_obsoleting_packages_is_refused(rows: str) -> None:
    with pytest.raises(ParseFailed):
        parse_check_update(f"Obsoleting Packages\n{rows}")


def test_a_package_may_replace_several_others_and_be_an_upgrade_itself() -> None:
    text = (
        "app.noarch                      2.0-1           fleet\n"
        "Obsoleting Packages\n"
        "app.noarch                      2.0-1           fleet\n"
        "    app.noarch                  1.0-1           @fleet\n"
        "app.noarch                      2.0-1           fleet\n"
        "    a-very-long-name-of-a-plugin-that-has-its-own-line.noarch\n"
        "                                1.0-1           @fleet\n"
        "app.noarch                      2.0-1           fleet\n"
        "    app-common.noarch           1.0-1           @fleet\n"
    )
    (app,) = parse_check_update(text)
    assert app.replaces == (
        ("a-very-long-name-of-a-plugin-that-has-its-own-line", "noarch"),
        ("app-common", "noarch"),
    )


def test_what_an_upgrade_prints_is_its_progress_and_no_failure() -> None:
    text = log(f"{FOUR}/upgrade")
    assert Dnf().failure(exit_status(f"{FOUR}/upgrade"), text) is None
    assert Dnf().kept_conffiles(text) == ("/etc/tb-conf.conf",)
    told = Dnf().progress_parser().feed((RECORDED / f"{FOUR}/upgrade.log").read_bytes())
    assert told[0].phase is Phase.DOWNLOAD
    assert [p.phase for p in told if p.package == "tb-simple"][:2] == [
        Phase.UNPACK,
        Phase.CONFIGURE,
    ]
    assert max(p.percent for p in told) == 100.0


def test_dnf_5_prints_its_progress_in_another_way() -> None:
    told = Dnf5().progress_parser().feed((RECORDED / f"{FIVE}/upgrade.log").read_bytes())
    assert {Phase.DOWNLOAD, Phase.UNPACK, Phase.REMOVE} <= {p.phase for p in told}
    assert "tb-simple" in {p.package for p in told}
    failure = Dnf5().failure(exit_status(f"{FIVE}/upgrade"), log(f"{FIVE}/upgrade"))
    assert failure is not None
    assert failure.kind is FailureKind.SCRIPT_FAILED
    assert "tb-badpost" in failure.packages


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("badpost", FailureKind.SCRIPT_FAILED, "tb-badpost: post-install script failed"),
        ("badpre", FailureKind.SCRIPT_FAILED, "tb-badpre: pre-install script failed"),
        ("killed", FailureKind.KILLED, "killed by signal 9"),
    ],
)
def test_a_failure_is_told_whatever_the_exit_status(
    name: str, kind: FailureKind, words: str
) -> None:
    name = f"{FOUR}/upgrade-{name}"
    failure = Dnf().failure(exit_status(name), log(name))
    assert failure is not None
    assert failure.kind is kind
    assert failure.reason.startswith(words)
    assert "\n" not in failure.reason


def test_a_held_lock_passes_by_itself() -> None:
    failure = Dnf().failure(200, "")
    assert failure is not None
    assert failure.transient


def test_long_names_stand_on_a_line_of_their_own() -> None:
    # As yum 3 prints them, by its manual and source; obsoletes repeat what is listed above.
    text = (
        "\njava-1.8.0-openjdk-headless.x86_64\n"
        "                       1:1.8.0.412.b08-1.el7_9              updates\n"
        "bash.x86_64            4.2.46-35.el7_9                      updates\n"
        "Obsoleting Packages\n"
        "grub2.x86_64           1:2.02-0.87.el7                      updates\n"
    )
    java, bash = parse_check_update(text)
    assert (java.name, java.version) == (
        "java-1.8.0-openjdk-headless",
        "1:1.8.0.412.b08-1.el7_9",
    )
    assert (bash.name, bash.architecture, bash.repository) == ("bash", "x86_64", "updates")


@pytest.mark.parametrize("line", ["garbage", "a b c d", "bash 1.0 updates"])
def test_what_is_no_update_is_refused(line: str) -> None:
    with pytest.raises(ParseFailed):
        parse_check_update(line)


def test_versionlocks_are_read_in_both_forms() -> None:
    assert parse_versionlock("# Added\ntb-held-0:1.0-1.*\n!bad-2.0-1.*\n*\n") == {"tb-held", "bad"}
    assert parse_versionlock('version = "1.0"\n[[packages]]\nname = "tb-held"\n') == {"tb-held"}


@pytest.mark.parametrize(
    ("text", "sizes"),
    [
        ("Total download size: 55 k", (56_320, None)),
        ("Total download size: 1.5 M\nInstalled size: 2.0 k", (1_572_864, 2048)),
        ("Total size: 6.1 k", (0, None)),
        ("Nothing to do.", (0, 0)),
        ("Total size of inbound packages is 6 KiB. Need to download 6 KiB.", (6144, None)),
        ("After this operation, 3 B will be freed (install 34 B, remove 37 B).", (None, -3)),
    ],
)
def test_sizes_are_read_in_every_form(text: str, sizes: tuple[int | None, int | None]) -> None:
    assert parse_sizes(text) == sizes


def test_transactions_name_what_is_wanted_and_nothing_else() -> None:
    wanted = PendingPackage(name="a", from_version="1-1", to_version="2:2-1")
    new = PendingPackage(name="new", from_version="", to_version="1-1")
    command = Dnf().upgrade_command(Transaction(packages=(wanted, new), exact=True))
    assert " upgrade -- a-2:2-1;" in command
    assert "new" not in command.replace("no-new", "")
    none = Dnf().upgrade_command(Transaction(packages=(), unneeded=("old",)))
    assert " upgrade" not in none
    assert " remove -- old;" in none
    fetch = Dnf().upgrade_command(Transaction(download_only=True, unneeded=("old",)))
    assert "--downloadonly" in fetch
    assert "old" not in fetch
    kept = Dnf().upgrade_command(Transaction(exclude=("postgresql*",)))
    assert " upgrade '--exclude=postgresql*';" in kept
    assert "--assumeno --setopt=tsflags=test upgrade" in Dnf().plan_script(Transaction())


def test_a_way_back_leaves_the_kernels_alone() -> None:
    command = Dnf().restore_command(
        (
            PackageChange(name="a", from_version="1-1", to_version="2-1"),
            PackageChange(name="gone", from_version="1-1", to_version=""),
            PackageChange(name="new", from_version="", to_version="1-1"),
            PackageChange(name="kernel-core", from_version="", to_version="6-1"),
            PackageChange(name="kernel-core", from_version="5-1", to_version=""),
            PackageChange(name="kernel6.12", from_version="", to_version="6-1"),
            PackageChange(name="kernel-rt-core", from_version="", to_version="6-1"),
            PackageChange(name="kernel-modules-extra", from_version="", to_version="6-1"),
            PackageChange(name="kernel-devel", from_version="5-1", to_version=""),
            PackageChange(name="glibc.i686", from_version="1-1", to_version="2-1"),
        ),
        lock_timeout=timedelta(minutes=5),
    )
    assert "downgrade -- a-1-1 glibc-1-1.i686 ||" in command
    assert "repoquery --available" in command
    assert "install -- gone-1-1 ||" in command
    assert "remove -- new-1-1 ||" in command
    assert "kernel" not in command


def test_a_way_back__removes_what_was_installed_beside_others_by_its_version() -> None:
    command = Dnf().restore_command(
        (
            PackageChange(name="installonly", from_version="", to_version="1:3-1"),
            PackageChange(name="lib.i686", from_version="", to_version="2-1"),
            PackageChange(name="kernel-tools", from_version="5-1", to_version="6-1"),
            PackageChange(name="kernel-headers", from_version="5-1", to_version="6-1"),
            PackageChange(name="kernelshark", from_version="5-1", to_version="6-1"),
        ),
        lock_timeout=timedelta(minutes=5),
    )
    assert "remove -- installonly-1:3-1 lib-2-1.i686 ||" in command
    # What has the kernel's name and is there once is taken back.
    assert "downgrade -- kernel-tools-5-1 kernel-headers-5-1 kernelshark-5-1 ||" in command


def test_yum_asks_only_what_it_knows() -> None:
    lines = Yum().query_lines(refresh=True, lock_timeout=timedelta(seconds=3))
    assert "repoquery" not in lines
    assert "yum -q -C --setopt=color=never check-update" in lines
