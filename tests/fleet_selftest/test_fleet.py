"""The hosts of a fleet are what tests take them for: reachable, rebootable, breakable, and gone at the end."""

import shutil
import time

import pytest

from tests.fleet import Fleet, FleetError, FleetStartError, HostIsDown, HostSpec

pytestmark = pytest.mark.fleet

BOOT_ID = "cat /proc/sys/kernel/random/boot_id"
UPTIME = "cut -d. -f1 /proc/uptime"


@pytest.mark.parametrize("name", ["systemd", "tiny"])
@pytest.mark.parametrize(("user", "sudo"), [("root", "0"), ("ops", "0"), ("nosudo", "")])
def test_host_answers_ssh_and_sudo_depends_on_the_user(
    fleet: Fleet, name: str, user: str, sudo: str
) -> None:
    answer = fleet.ssh(fleet[name], "hostname; id -un; sudo -n id -u", user=user)
    assert answer.stdout.split() == [name, user, *sudo.split()]
    assert ("password is required" in answer.stderr) == (sudo == "")


def test_systemd_host_runs_a_real_systemd(fleet: Fleet) -> None:
    host = fleet["systemd"]
    assert host.output("systemctl is-system-running") == "running"
    assert fleet.ssh(host, "systemd-run --wait --quiet sh -c 'exit 3'").returncode == 3
    assert host.run("systemctl is-active ssh.service").stdout == "active\n"


@pytest.mark.parametrize("name", ["systemd", "tiny"])
def test_reboot_gives_a_new_boot_id_and_a_clear_run_and_keeps_the_disk(
    fleet: Fleet, name: str
) -> None:
    host = fleet[name]
    before = host.output(BOOT_ID)
    host.run("touch /run/marker /var/lib/marker", check=True)
    boots = host.boot_count
    assert fleet.ssh(host, "reboot").returncode in (0, 255)
    host.wait_up(boots=boots + 1)
    assert fleet.ssh(host, BOOT_ID).stdout.strip() not in (before, "")
    assert int(host.output(UPTIME)) < 10
    assert host.output("ls -d /run/marker /var/lib/marker 2>/dev/null; true") == "/var/lib/marker"


def test_power_faults_are_used_once(fleet: Fleet) -> None:
    host = fleet["power"]
    before = host.output(BOOT_ID)
    host.knobs.next_boot = "same-boot-id"
    host.run("reboot")
    host.wait_up(boots=2)
    assert host.output(BOOT_ID) == before
    host.knobs.next_boot = "no-sshd"
    host.run("reboot")
    with pytest.raises(FleetError, match="did not come up"):
        host.wait_up(boots=3, timeout=2)
    assert host.boot_count == 3
    host.knobs.next_boot = "never"
    host.run("reboot")
    with pytest.raises(FleetError, match="it will not come up"):
        host.wait_up(boots=4)
    host.power_on()
    host.wait_up(boots=4)
    assert host.output(BOOT_ID) != before


def test_systemd_host_can_come_back_without_sshd(fleet: Fleet) -> None:
    host = fleet["systemd"]
    boots = host.boot_count
    host.knobs.next_boot = "no-sshd"
    host.run("systemctl reboot")
    with pytest.raises(FleetError, match="did not come up"):
        host.wait_up(boots=boots + 1, timeout=4)
    assert host.boot_count == boots + 1
    assert fleet.ssh(host, "true").returncode == 255
    host.power_cut()
    host.power_on()
    host.wait_up(boots=boots + 2)


def test_host_stays_dark_for_as_long_as_it_is_told(fleet: Fleet) -> None:
    host = fleet["tiny"]
    boots = host.boot_count
    host.knobs.down_for = 1.5
    host.run("reboot")
    started = time.monotonic()
    host.wait_up(boots=boots + 1)
    assert time.monotonic() - started >= 1.5
    host.knobs.down_for = 0


def test_power_cut_ends_everything_and_the_disk_comes_back(fleet: Fleet) -> None:
    host = fleet["keys"]
    host.run("echo kept >/var/lib/kept", check=True)
    host.power_cut()
    assert not host.is_on
    with pytest.raises(HostIsDown):
        host.run("true")
    assert fleet.ssh(host, "true").returncode == 255
    host.power_on()
    host.wait_up()
    assert host.output("cat /var/lib/kept") == "kept"


def test_changed_host_key_is_refused_by_a_client_that_knows_the_old_one(fleet: Fleet) -> None:
    host = fleet["keys"]
    old = host.host_key
    assert host.change_host_key() == host.host_key != old
    assert "REMOTE HOST IDENTIFICATION HAS CHANGED" in fleet.ssh(host, "true").stderr
    fleet.write_known_hosts()
    assert fleet.ssh(host, "true").returncode == 0


@pytest.mark.parametrize("how", ["down", "drop", "reset"])
def test_cut_link_stops_ssh_until_it_is_restored(fleet: Fleet, how: str) -> None:
    host = fleet["link"]
    fleet.cut_link(host, how)  # type: ignore[arg-type]
    started = time.monotonic()
    answer = fleet.ssh(host, "true", options=("ConnectTimeout=2",))
    assert answer.returncode == 255
    assert (time.monotonic() - started < 1) == (how == "reset")
    assert host.output("hostname") == "link"
    fleet.restore_link(host)
    assert fleet.ssh(host, "true").returncode == 0
    assert host.run("apt-get update -o APT::Update::Error-Mode=any").returncode == 0


def test_link_stays_cut_over_a_reboot(fleet: Fleet) -> None:
    host = fleet["link"]
    fleet.cut_link(host, "reset")
    boots = host.boot_count
    host.run("reboot")
    with pytest.raises(FleetError, match="did not come up"):
        host.wait_up(boots=boots + 1, timeout=2)
    assert host.boot_count == boots + 1
    fleet.restore_link(host)
    host.wait_up()


def test_cable_delays_and_cuts(fleet: Fleet) -> None:
    host = fleet["cable"]
    host.knobs.wire(delay_ms=50)
    time.sleep(0.1)
    started = time.monotonic()
    assert fleet.ssh(host, "true").returncode == 0
    assert time.monotonic() - started > 0.5
    host.knobs.wire(cut=True)
    time.sleep(0.1)
    assert fleet.ssh(host, "true", options=("ConnectTimeout=1",)).returncode == 255
    host.knobs.wire()
    host.run("reboot")
    host.wait_up(boots=2)
    with pytest.raises(FleetError, match="no userspace cable"):
        fleet["tiny"].knobs.wire(delay_ms=1)


def test_two_fleets_at_once_do_not_meet(fleet: Fleet) -> None:
    with Fleet([HostSpec(name="tiny")], init="tiny", packages=("tb-simple",)) as other:
        assert other.gateway != fleet.gateway
        assert other.ssh(other["tiny"], "hostname").stdout == "tiny\n"
        assert other["tiny"].host_key != fleet["tiny"].host_key
    assert fleet.ssh(fleet["tiny"], "true").returncode == 0


def test_wrong_wish_is_refused_before_anything_starts() -> None:
    with pytest.raises(FleetError, match="no such package: tb-typo"):
        Fleet(1, packages=("tb-typo",))
    with pytest.raises(FleetError, match="no such version set: v9"):
        Fleet(1, version_set="v9")
    with pytest.raises(FleetError, match="two hosts are called a"):
        Fleet([HostSpec(name="a"), HostSpec(name="a")])
    with pytest.raises(FleetError, match="not a host name"):
        Fleet([HostSpec(name="../a")])


def test_fleet_that_does_not_come_up_keeps_its_logs(
    able: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.fleet.fleet.START_SECONDS", -1.0)
    with pytest.raises(FleetStartError, match="did not come up") as caught:
        Fleet(1, init="tiny").start()
    assert (caught.value.logs / "host1.console").exists()
    assert str(caught.value.logs) in str(caught.value)
    shutil.rmtree(caught.value.logs)
