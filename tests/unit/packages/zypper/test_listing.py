"""What recorded queries say of a SUSE host: updates, patches, locks, kernels, reboots."""

from dataclasses import replace

import pytest

from tendhost.server.domain.inventory.inventory import (
    Advisory,
    Pending,
    RebootNeed,
    Severity,
    Withheld,
)
from tendhost.server.packages.errors import (
    DatabaseBroken,
    LockHeld,
    NotPrivileged,
    NotRefreshed,
    PackageCommandFailed,
    ParseFailed,
    SourceUntrusted,
)
from tendhost.server.packages.query import QueryResult
from tendhost.server.packages.script import Part
from tendhost.server.packages.zypper.listing import (
    Update,
    ZypperListing,
    parse_fixes,
    parse_locks,
    parse_needs_rebooting,
    parse_patches,
    parse_stream,
    parse_updates,
    pending_packages,
)
from tests.unit.packages.zypper.recordings import query

PATCH = Advisory(
    id="SUSE-2024-2001",
    security=True,
    severity=Severity.IMPORTANT,
    cves=("CVE-2024-20001", "CVE-2024-20002"),
)
UPDATE = Update(
    name="tb", version="2-1", architecture="x86_64", repository="fleet", from_version="1-1"
)
LISTING = ZypperListing(
    updates=(UPDATE,),
    everything=(UPDATE,),
    locks=(),
    patches={"P": PATCH},
    fixes={},
    advised={"fleet"},
    native="x86_64",
)


def withheld(result: QueryResult) -> dict[str, Withheld]:
    return {p.name: p.withheld for p in result.pending.packages if p.withheld is not Withheld.NO}


@pytest.mark.parametrize("name", ["query", "query-sudo", "query-unprivileged"])
def test_a_query_lists_what_an_update_takes_and_what_it_leaves_alone(name):
    result = query(name)
    assert result.manager is not None
    assert result.manager.name == "zypper"
    assert result.pending.count == 9
    assert withheld(result) == {"tb-held": Withheld.HELD, "tb-kept": Withheld.KEPT_BACK}
    secure = next(p for p in result.pending.packages if p.name == "tb-secure")
    assert (secure.from_version, secure.to_version) == ("1.0-1", "1.0-2")
    assert (secure.architecture, secure.origin) == ("noarch", "fleet")


def test_a_pending_kernel_comes_from_the_newest_one_as_rpm_orders_versions():
    result = query("query-kernels")
    kernel = next(p for p in result.pending.packages if p.name == "kernel-core")
    assert (kernel.from_version, kernel.to_version) == ("6.8.11-200", "6.9.1-200")
    versions = [version for name, version in result.inventory.installed if name == "kernel-core"]
    assert versions == ["6.8.9-200", "6.8.10-200", "6.8.11-200"]


def test_patches_are_advisories_of_the_packages_that_they_fix():
    pending = {p.name: p for p in query("query").pending.packages}
    assert pending["tb-secure"].advisories == (PATCH,)
    assert pending["tb-secure"].security is True
    simple = pending["tb-simple"]
    assert simple.advisories == (
        Advisory(id="SUSE-2024-2002", security=False, severity=Severity.MODERATE),
    )
    assert simple.security is False
    assert pending["tb-slow"].advisories == ()
    assert query("query").pending.security_count == 1


def test_without_patches_in_the_repository_security_is_not_known():
    pending = query("query-no-patches").pending
    assert {p.security for p in pending.packages} == {None}
    assert pending.security_count is None


def test_keys_of_rpm_are_no_packages_and_both_kernels_are_listed():
    installed = query("query-after").inventory.installed
    kernels = [version for name, version in installed if name == "kernel-default"]
    assert kernels == ["6.4.0-150600.21.2", "6.4.0-150600.23.7.3"]
    assert ("tb-conf", "2.0-1") in installed


def test_what_zypper_says_of_a_reboot_is_taken_over():
    running = "kernel-default: /boot/vmlinuz-6.18.44"
    assert query("query", owners=running).reboot.need is RebootNeed.NOT_NEEDED
    after = query("query-after").reboot
    assert after.need is RebootNeed.NEEDED
    assert after.reason == "zypper needs-rebooting asks for it"
    locked = query("query-locked", owners=running).reboot
    assert locked.need is RebootNeed.UNKNOWN
    assert "locked by the application with pid" in locked.reason


def test_a_zypper_without_the_question_says_nothing_of_a_reboot():
    assert parse_needs_rebooting(Part(2, "", "Unknown command 'needs-rebooting'\n")) is None


def test_a_query_while_zypper_is_at_work_names_it_and_knows_no_updates():
    result = query("query-locked")
    (problem,) = result.problems
    assert isinstance(problem, LockHeld)
    assert problem.pid > 0
    assert problem.command == "zypper"
    assert result.pending == Pending()


def test_a_repository_that_has_gone_is_named_and_what_is_known_of_it_is_told():
    result = query("query-away")
    (problem,) = result.problems
    assert type(problem) is NotRefreshed
    assert problem.sources == ("Fleet",)
    assert result.pending.count == 9


def test_a_repository_never_reached_leaves_the_updates_unknown():
    result = query("query-unreachable")
    assert [type(problem) for problem in result.problems] == [NotRefreshed]
    assert result.pending == Pending()


def test_an_index_without_its_signature_is_not_trusted():
    result = query("query-unsigned")
    (problem,) = result.problems
    assert isinstance(problem, SourceUntrusted)
    assert problem.text == "Warning: File 'repomd.xml' from repository 'Fleet' is unsigned."
    assert problem.sources == ("Fleet",)
    assert result.pending == Pending()


def test_without_repositories_the_updates_are_unknown():
    result = query("query-no-repositories")
    (problem,) = result.problems
    assert isinstance(problem, PackageCommandFailed)
    assert problem.text == "no repositories are defined"
    assert result.pending == Pending()
    assert result.inventory.installed


def test_a_broken_database_is_a_problem_of_its_own():
    result = query("query-broken")
    (problem,) = result.problems
    assert isinstance(problem, DatabaseBroken)
    assert not problem.repairable


def test_who_may_not_become_root_is_told_so():
    (problem,) = query("query-unprivileged").problems
    assert isinstance(problem, NotPrivileged)
    assert problem.user == "nobody"


def test_a_patch_is_about_the_versions_before_its_own_only():
    older = replace(LISTING, fixes={"P": (("tb", "1-1"),)})
    newer = replace(LISTING, fixes={"P": (("tb", "1-2"),)})
    assert pending_packages(older, ())[0].advisories == ()
    assert pending_packages(newer, ())[0].advisories == (PATCH,)


def test_a_patch_may_name_the_architecture():
    named = replace(LISTING, fixes={"P": (("tb.x86_64", "1-2"),)})
    other = replace(LISTING, fixes={"P": (("tb.i586", "1-2"),)})
    assert pending_packages(named, ())[0].security is True
    assert pending_packages(other, ())[0].security is False


def test_a_foreign_architecture_is_part_of_the_name():
    foreign = replace(UPDATE, architecture="i586", from_version="")
    listing = replace(LISTING, updates=(foreign,), everything=(foreign,))
    (package,) = pending_packages(listing, (("tb.i586", "1-0"),))
    assert (package.name, package.from_version) == ("tb.i586", "1-0")


def test_a_repository_is_found_in_the_cache_in_spite_of_slashes_in_its_alias():
    update = replace(UPDATE, repository="vendor/fleet")
    listing = replace(LISTING, updates=(update,), everything=(update,), advised={"vendor_fleet"})
    assert pending_packages(listing, ())[0].security is False


def test_locks_are_patterns():
    listing = replace(LISTING, updates=(), locks=("t?",))
    assert pending_packages(listing, ())[0].withheld is Withheld.HELD
    listing = replace(LISTING, updates=(), locks=("x*",))
    assert pending_packages(listing, ())[0].withheld is Withheld.KEPT_BACK


def test_only_locks_of_packages_hold_packages():
    text = (
        "<stream><locks><lock><name>a</name><type>package</type></lock>"
        "<lock><name>b</name><type>patch</type></lock><lock><name>c*</name></lock>"
        "<lock><repo>d</repo><type>package</type></lock></locks></stream>"
    )
    assert parse_locks(text) == ("a", "c*")


def test_all_that_a_patch_fixes_is_listed_but_for_sources_and_patterns():
    text = """
Information for patch P-1:
Name        : P-1
Description :
    Conflicts   : tb-lie < 9
Provides    : patch:P-1 = 1
Conflicts   : [4]
    tb-a < 1:2.0-1
    tb-b.x86_64 < 0:2.0-1
    srcpackage:tb-a < 2.0-1
    pattern:x < 1
Information for patch P-2:
Name        : P-2
Conflicts   : tb-c < 3
"""
    assert parse_fixes(text) == {
        "P-1": (("tb-a", "1:2.0-1"), ("tb-b.x86_64", "2.0-1")),
        "P-2": (("tb-c", "3"),),
    }


def test_an_epoch_of_zero_is_left_out():
    text = (
        '<stream><update kind="package" name="a" edition="0:2-1" edition-old="1:1-1" arch="noarch">'
        '<source alias="r"/></update></stream>'
    )
    (update,) = parse_updates(text, part="updates")
    assert (update.version, update.from_version) == ("2-1", "1:1-1")


def test_an_unknown_severity_is_not_guessed():
    text = '<stream><update kind="patch" name="p" category="optional" severity="huge"/></stream>'
    assert parse_patches(text) == {"p": Advisory(id="p", security=False)}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<stream>",
        "<stream><a></stream>",
        "</stream><stream>",
        '<!DOCTYPE a [<!ENTITY b "c">]><stream>&b;</stream>',
        '<stream><!DOCTYPE a [<!ENTITY b "c">]>&b;</stream>',
    ],
)
def test_what_is_no_whole_document_or_declares_entities_is_refused(text):
    with pytest.raises(ParseFailed):
        parse_stream(text, part="updates")
