"""The server as a service: installed on a booted host by the guide's commands, hardened, and restarted at work."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.installation import GUIDE, ROOT, SETTINGS, SOCKET, install
from tests.fleet import Fleet, Host, HostSpec

pytestmark = [pytest.mark.fleet, pytest.mark.slow, pytest.mark.timeout(600)]

TENDHOST = f"/opt/tendhost/bin/tendhost --server unix:{SOCKET}"
MAIN_PID = "$(systemctl show -P MainPID tendhostd)"
WRITABLE = {"/var/lib/tendhostd", "/run/tendhost", "/tmp", "/var/tmp"}
FOLDERS = (
    *("/", "/dev", "/dev/shm", "/etc", "/etc/tendhost", "/etc/credstore", "/home", "/home/ops", "/opt"),
    *("/opt/tendhost/bin", "/proc", "/proc/sys/kernel", "/root", "/run", "/run/lock", "/run/systemd", "/srv"),
    *("/sys", "/sys/fs/cgroup", "/tmp", "/usr", "/usr/local", "/var", "/var/lib", "/var/log", "/var/tmp"),
    *("/run/credentials/tendhostd.service", "/run/tendhost", "/var/lib/dpkg", "/var/lib/tendhostd"),
)  # fmt: skip


@pytest.fixture(scope="module")
def site() -> Iterator[Fleet]:
    """A machine that runs the service, and a host that the service keeps."""
    server = HostSpec(name="server", python=True, packages=("tb-simple",))
    web = HostSpec(name="web1", packages=("tb-simple", "tb-slow"))
    with Fleet([server, web]) as fleet:
        install(fleet["server"], fleet.private_key)
        owner(fleet, f"host add web1 --address {fleet['web1'].address}")
        yield fleet


def owner(site: Fleet, words: str) -> str:
    """What the command prints to the owner of the socket."""
    return site["server"].output(f"runuser -u tendhost -- {TENDHOST} {words}", timeout=120)


def shown(site: Fleet, words: str) -> Any:
    return json.loads(owner(site, f"--output json {words}"))


def state(host: Host, *properties: str) -> list[str]:
    """Properties of the service, as systemd has them."""
    return [host.output(f"systemctl show -P {name} tendhostd") for name in properties]


def test_service__has_a_user_without_rights_and_serves_when_its_start_has_returned(site: Fleet):
    server = site["server"]
    assert state(server, "ActiveState", "SubState", "Type") == ["active", "running", "notify"]
    status = server.output(f"cat /proc/{MAIN_PID}/status")
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert {fields[name] for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert (fields["NoNewPrivs"], fields["Seccomp"]) == ("1", "2")
    assert server.output(f"ps -o user= -p {MAIN_PID}") == "tendhost"
    account = server.output("getent passwd tendhost").split(":")
    assert account[5:] == ["/var/lib/tendhostd", "/usr/sbin/nologin"]
    # After the restart the socket is there at once: nothing waits for it.
    server.run("systemctl restart tendhostd", check=True)
    assert "1 host" in owner(site, "info")


def test_socket__is_opened_by_its_owner_and_root_and_nobody_else(site: Fleet):
    server = site["server"]
    owned, mode = server.output(f"stat -c '%U %a' {SOCKET}").split()
    assert (owned, int(mode, 8) & 0o077) == ("tendhost", 0)
    assert "web1" in owner(site, "host list")
    assert "web1" in server.output(f"{TENDHOST} host list")
    refused = server.run(f"runuser -u ops -- {TENDHOST} host list")
    assert refused.returncode == 3
    assert "Permission denied" in refused.stderr


def test_key__comes_from_the_credential_which_only_the_service_can_read(site: Fleet):
    server = site["server"]
    assert "login      yes, as root" in owner(site, "host test web1")
    copy = "/run/credentials/tendhostd.service/ssh_key"
    assert server.output(f"stat -c '%U %a' {copy}") == "tendhost 400"
    assert server.run("runuser -u tendhost -- cat /etc/credstore/tendhost-ssh-key").returncode != 0
    environment = server.output(f"tr '\\0' '\\n' </proc/{MAIN_PID}/environ")
    assert "PRIVATE" not in environment


def test_service__writes_to_its_own_folders_only_even_where_root_would_be_let(site: Fleet):
    server = site["server"]
    folders = " ".join(FOLDERS)
    probe = f"for f in {folders}; do mktemp $f/probe.XXXX >/dev/null 2>&1 && echo $f; done; true"
    namespace = f"nsenter --target={MAIN_PID} --mount --"
    # The user's rights come on top of what the mounts allow, which root shows.
    assert set(server.output(f"{namespace} sh -c '{probe}'").splitlines()) == WRITABLE
    as_user = server.output(f"{namespace} runuser -u tendhost -- sh -c '{probe}'")
    assert set(as_user.splitlines()) == WRITABLE
    assert (
        server.output("find /tmp /var/tmp -name 'probe.*' -not -path '*/systemd-private-*'") == ""
    )
    server.run("rm /run/tendhost/probe.* /var/lib/tendhostd/probe.*", check=True)
    assert server.run(f"{namespace} ls /home/ops").returncode != 0


def test_exposure__is_what_the_guide_says(site: Fleet):
    said = site["server"].output("systemd-analyze --no-pager security tendhostd")
    measured = re.search(r"Overall exposure level for tendhostd.service: ([\d.]+) (\w+)", said)
    assert measured, said
    assert f'says {measured[1]} ("{measured[2]}") on Debian 12' in GUIDE.read_text("utf-8")


def test_unit__has_nothing_that_systemd_does_not_know(site: Fleet):
    said = site["server"].run("systemd-analyze verify /etc/systemd/system/tendhostd.service")
    assert (said.returncode, said.stderr) == (0, "")


def test_restart_in_the_middle_of_an_upgrade__loses_nothing_and_repeats_nothing(site: Fleet):
    server, web = site["server"], site["web1"]
    web.run("echo 6 >/etc/tb-slow-seconds", check=True)
    id = owner(site, "update web1 --no-wait").split()[-1]
    web.run("until [ -e /run/tb-slow-running ]; do sleep 0.05; done", timeout=30, check=True)
    before = state(server, "MainPID")
    server.run("systemctl restart tendhostd", check=True)
    assert state(server, "MainPID") != before
    assert web.output("ls /run/tb-slow-running")  # it was restarted in the middle
    owner(site, f"operation watch {id}")
    assert shown(site, "host show web1")["state"] == "idle"
    assert sorted(web.transactions()) == ["tb-simple 2.0-1", "tb-slow 2.0-1"]


def test_server_that_is_killed__is_started_again(site: Fleet):
    server = site["server"]
    server.run(f"kill -9 {MAIN_PID}", check=True)
    server.run(
        "until [ $(systemctl show -P NRestarts tendhostd) = 1 ] && systemctl -q is-active tendhostd;"
        " do sleep 0.1; done",
        timeout=60,
        check=True,
    )
    assert "1 host" in owner(site, "info")


def test_own_machine__is_not_changed_as_local_for_its_files_are_read_only_there(site: Fleet):
    server = site["server"]
    owner(site, "host add self --address local --no-test")
    refused = server.run(f"runuser -u tendhost -- {TENDHOST} --output json update self")
    assert refused.returncode == 1
    problem = json.loads(refused.stdout)["problem"]
    assert problem["reason"] == "SYSTEM_IMMUTABLE", problem
    assert server.output("dpkg-query -W -f '${Version}' tb-simple") == "1.0-1"
    owner(site, "host remove self")


def test_invalid_settings__are_told_once_and_end_the_service(site: Fleet):
    server = site["server"]
    server.run(f"cp -p {SETTINGS} /root/settings && echo lissten=1 >>{SETTINGS}", check=True)
    try:
        assert server.run("systemctl restart tendhostd").returncode != 0
        assert state(server, "ActiveState", "ExecMainStatus") == ["failed", "2"]
        log = server.output("journalctl --no-pager -u tendhostd -n 5")
        assert "did you mean 'listen'?" in log
    finally:
        server.run(f"cp -p /root/settings {SETTINGS} && systemctl restart tendhostd", check=True)
    assert server.output(f"stat -c '%U %G %a' {SETTINGS}") == "root tendhost 640"


def test_files_of_the_service__are_all_installed_by_the_guide():
    guide = GUIDE.read_text("utf-8")
    files = list((ROOT / "deploy" / "systemd").iterdir())
    assert len(files) == 3
    for path in files:
        assert f" {path.relative_to(ROOT)} " in guide
