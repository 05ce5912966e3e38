"""The package archive and the packages do on real apt what their names promise."""

import pytest

from tests.fleet import ALL_PACKAGES, Fleet, Host

pytestmark = pytest.mark.fleet

UPDATE = "apt-get update -qq -o APT::Update::Error-Mode=any"
OPTIONS = "-y -qq -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold"
UPGRADE = f"apt-get {OPTIONS} --with-new-pkgs upgrade"
VERSIONS = "dpkg-query -W -f '${Package} ${Version}\\n' 'tb-*'"


def versions(host: Host) -> dict[str, str]:
    return dict(line.split() for line in host.output(VERSIONS).splitlines())


def kept_back(host: Host, command: str) -> set[str]:
    """What apt says that it would keep back."""
    lines = iter(host.output(f"apt-get -s {command}").splitlines())
    for line in lines:
        if line.startswith("The following packages have been kept back"):
            return set(next(lines).split())
    return set()


def test_host_has_the_first_versions_and_no_history(updates: Host) -> None:
    installed = versions(updates)
    assert set(ALL_PACKAGES) <= set(installed)
    assert set(installed.values()) == {"1.0-1"}
    assert updates.output("apt-mark showhold") == "tb-held"
    assert updates.transactions() == []


def test_each_package_is_kept_back_for_its_own_reason(updates: Host) -> None:
    updates.run(UPDATE, check=True)
    assert kept_back(updates, "upgrade") == {"tb-held", "tb-phased", "tb-conflict", "tb-newdep"}
    assert kept_back(updates, "--with-new-pkgs upgrade") == {"tb-held", "tb-phased", "tb-conflict"}
    assert kept_back(updates, "dist-upgrade") == {"tb-held", "tb-phased"}
    ignore = "-o APT::Get::Always-Include-Phased-Updates=true"
    assert kept_back(updates, f"{ignore} dist-upgrade") == {"tb-held"}


def test_security_update_comes_from_the_security_suite(updates: Host) -> None:
    updates.run(UPDATE, check=True)
    policy = updates.output("apt-get -s upgrade | grep '^Inst tb-secure'")
    assert policy == "Inst tb-secure [1.0-1] (1.0-1+deb12u1 Debian-Security:stable-security [all])"


def test_upgrade_runs_each_post_install_once_and_asks_for_a_reboot(updates: Host) -> None:
    updates.run("echo local=yes >>/etc/tb-conf.conf; echo 1 >/etc/tb-slow-seconds", check=True)
    updates.run(f"{UPDATE} && {UPGRADE}", check=True)
    ran = updates.transactions()
    assert sorted(ran) == [
        "tb-conf 2.0-1",
        "tb-extra 2.0-1",
        "tb-failing 2.0-1",
        "tb-kernel 2.0-1",
        "tb-newdep 2.0-1",
        "tb-secure 1.0-1+deb12u1",
        "tb-simple 2.0-1",
        "tb-slow 2.0-1",
    ]
    assert updates.output("cat /run/reboot-required.pkgs") == "tb-kernel"
    assert "local=yes" in updates.output("cat /etc/tb-conf.conf")
    assert updates.output("ls /etc/tb-conf.conf.dpkg-dist")
    updates.publish("v3")
    updates.run(f"{UPDATE} && {UPGRADE}", check=True)
    assert versions(updates)["tb-simple"] == "3.0-1"
    boots = updates.boot_count
    updates.run("reboot")
    updates.wait_up(boots=boots + 1)
    assert updates.run("ls /run/reboot-required").returncode != 0
    assert versions(updates)["tb-kernel"] == "3.0-1"


def test_failing_package_fails_until_its_cause_is_mended(fleet: Fleet) -> None:
    host = fleet["failing"]
    assert set(versions(host)) == {"tb-simple", "tb-failing"}
    failed = host.run(f"{UPDATE} && {UPGRADE}")
    assert failed.returncode == 100
    assert "tb-failing: cannot migrate database" in failed.stdout + failed.stderr
    assert host.run(UPGRADE).returncode == 100
    host.run("touch /etc/tb-failing-ok; dpkg --configure -a", check=True)
    assert versions(host) == {"tb-simple": "2.0-1", "tb-failing": "2.0-1"}


@pytest.mark.parametrize("version_set", ["broken", "untrusted", "absent"])
def test_damaged_untrusted_or_missing_archive_fails_the_update_of_one_host_only(
    fleet: Fleet, version_set: str
) -> None:
    host, other = fleet["tiny"], fleet["power"]
    host.publish(version_set)
    assert host.run(UPDATE).returncode == 100
    host.publish("v2")
    host.run(UPDATE, check=True)
    other.run(UPDATE, check=True)


def test_first_version_set_has_nothing_to_offer(fleet: Fleet) -> None:
    host = fleet["cable"]
    host.publish("v1")
    host.run(UPDATE, check=True)
    assert host.output("apt list --upgradable 2>/dev/null") == "Listing..."
