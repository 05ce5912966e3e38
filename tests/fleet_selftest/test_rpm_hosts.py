"""Hosts with dnf or zypper, and their repositories, do with the real tools what their names promise."""

import pytest

from tests.fleet import Fleet, FleetError, Host, HostSpec

pytestmark = pytest.mark.fleet

FIRST_VERSIONS = {
    "fleet-release-40-1",
    "kernel-6.8.5-301",
    "kernel-core-6.8.5-301",
    "linux-firmware-20240410-1",
    "tb-conf-1.0-1",
    "tb-held-1.0-1",
    "tb-newdep-1.0-1",
    "tb-secure-1.0-1",
    "tb-simple-1.0-1",
    "tb-slow-1.0-1",
}
UPDATED = {
    "kernel 6.9.7-200",
    "kernel-core 6.9.7-200",
    "linux-firmware 20240709-1",
    "tb-conf 2.0-1",
    "tb-extra 2.0-1",
    "tb-newdep 2.0-1",
    "tb-secure 1.0-2",
    "tb-simple 2.0-1",
    "tb-slow 2.0-1",
}
REFRESH = {
    "dnf": "dnf -q --refresh makecache",
    "zypper": "zypper -n refresh --force",
}
UPGRADE = {
    "dnf": "dnf -y --refresh upgrade",
    "zypper": "zypper -n refresh --force && zypper -n update",
}
NEEDS_REBOOT = {"dnf": "dnf -q needs-restarting -r", "zypper": "zypper needs-rebooting"}


def installed(host: Host) -> set[str]:
    return set(host.output("rpm -qa --qf '%{NVR}\\n' | grep -v ^gpg-pubkey").splitlines())


@pytest.fixture(params=["dnf", "zypper"])
def host(rpm_fleet: Fleet, request: pytest.FixtureRequest) -> Host:
    """One with a systemd and the packages that a host of its family has by default."""
    return rpm_fleet[request.param]


@pytest.mark.parametrize(
    ("name", "system"), [("dnf", "fedora 40"), ("zypper", "opensuse-leap 15.6")]
)
def test_host_names_itself_after_its_family_and_has_no_tool_of_debian(
    rpm_fleet: Fleet, name: str, system: str
) -> None:
    host = rpm_fleet[name]
    assert host.output('. /etc/os-release; echo "$ID $VERSION_ID"') == system
    assert host.run("command -v apt-get dpkg dpkg-query").stdout == ""
    assert host.output("systemctl is-system-running") == "running"
    assert rpm_fleet.ssh(host, "sudo -n rpm -q tb-simple", user="ops").returncode == 0


def test_upgrade_brings_each_package_once_and_only_a_reboot_ends_the_wish_for_one(
    host: Host,
) -> None:
    asked = {"dnf": 1, "zypper": 102}[host.family]
    assert installed(host) == FIRST_VERSIONS
    assert host.transactions() == []
    assert host.run(NEEDS_REBOOT[host.family]).returncode == 0
    host.run("echo local=yes >>/etc/tb-conf.conf; echo 1 >/etc/tb-slow-seconds", check=True)
    host.run(UPGRADE[host.family], check=True)
    ran = host.transactions()
    assert set(ran) == UPDATED
    assert len(ran) == len(UPDATED)
    assert {"tb-held-1.0-1", "kernel-6.8.5-301", "kernel-6.9.7-200"} <= installed(host)
    assert "local=yes" in host.output("cat /etc/tb-conf.conf")
    assert "mode=v2" in host.output("cat /etc/tb-conf.conf.rpmnew")
    assert host.run(NEEDS_REBOOT[host.family]).returncode == asked
    boots = host.boot_count
    host.run("reboot")
    host.wait_up(boots=boots + 1)
    assert host.run(NEEDS_REBOOT[host.family]).returncode == 0
    host.publish("v3")
    host.run(UPGRADE[host.family], check=True)
    assert {"tb-simple-3.0-1", "tb-secure-1.0-3", "kernel-6.10.3-200"} <= installed(host)


def test_dnf_lists_the_advisories_and_the_cves_of_the_security_one(rpm_fleet: Fleet) -> None:
    host = rpm_fleet["tiny-dnf"]
    listed = host.output("dnf -q updateinfo list").splitlines()
    assert [line.split() for line in listed] == [
        ["FLEET-2024-2001", "Important/Sec.", "tb-secure-1.0-2.noarch"],
        ["FLEET-2024-2002", "bugfix", "tb-simple-2.0-1.noarch"],
    ]
    told = host.output("dnf -q updateinfo info --security")
    assert "CVE-2024-20001" in told
    assert "CVE-2024-20002" in told
    assert host.run("dnf -q check-update --security").returncode == 100


def test_zypper_has_a_patch_for_each_advisory(rpm_fleet: Fleet) -> None:
    host = rpm_fleet["tiny-zypper"]
    assert host.run("zypper -n refresh && zypper patch-check").returncode == 101
    patches = host.output("zypper --quiet list-patches --cve")
    assert patches.count("FLEET-2024-2001 | security | important") == 2
    host.run("zypper -n patch --category security", check=True)
    assert installed(host) == {"fleet-release-40-1", "tb-simple-1.0-1", "tb-secure-1.0-2"}
    assert host.transactions() == ["tb-secure 1.0-2"]


@pytest.mark.parametrize(("name", "failed"), [("bad-dnf", 1), ("bad-zypper", 8)])
def test_failing_scriptlet_before_the_files_keeps_the_old_version_and_one_after_them_does_not(
    rpm_fleet: Fleet, name: str, failed: int
) -> None:
    host = rpm_fleet[name]
    update = host.run(UPGRADE[host.family])
    assert update.returncode == failed
    for line in ("tb-badpost: cannot migrate database", "tb-badpre: not on this host"):
        assert line in update.stdout + update.stderr
    assert {"tb-badpost-2.0-1", "tb-badpre-1.0-1"} <= installed(host)
    assert host.transactions() == ["tb-badpost 2.0-1"]


def test_dnf_calls_an_update_with_a_failed_post_install_a_success(rpm_fleet: Fleet) -> None:
    host = rpm_fleet["bad-dnf"]
    host.publish("v3")
    host.run(f"{UPGRADE['dnf']} tb-badpost", check=True)
    assert "tb-badpost-3.0-1" in installed(host)
    assert host.transactions()[-1] == "tb-badpost 3.0-1"


@pytest.mark.parametrize("name", ["tiny-dnf", "tiny-zypper"])
@pytest.mark.parametrize("version_set", ["broken", "untrusted", "absent"])
def test_damaged_untrusted_or_missing_repository_fails_the_refresh_of_one_host_only(
    rpm_fleet: Fleet, name: str, version_set: str
) -> None:
    host, other = rpm_fleet[name], rpm_fleet[f"bad-{name.removeprefix('tiny-')}"]
    refresh = REFRESH[host.family]
    host.run(refresh, check=True)
    host.publish(version_set)
    assert host.run(refresh).returncode == {"dnf": 1, "zypper": 4}[host.family]
    other.run(refresh, check=True)
    host.publish("v2")
    host.run(refresh, check=True)


def test_broken_repository_is_found_out_without_signatures_too(rpm_fleet: Fleet) -> None:
    host = rpm_fleet["tiny-dnf"]
    host.publish("broken")
    refused = host.run(f"{REFRESH['dnf']} --setopt=fleet.repo_gpgcheck=0")
    assert refused.returncode == 1
    assert "primary.xml" in refused.stderr
    host.publish("v2")


def test_package_of_another_family_is_refused_before_anything_starts() -> None:
    with pytest.raises(FleetError, match="no such package: tb-kernel"):
        Fleet([HostSpec(family="dnf", packages=("tb-kernel",))])
    with pytest.raises(FleetError, match="no such family: pacman"):
        Fleet([HostSpec(family="pacman")])  # type: ignore[arg-type]
