"""systemd's units: their state, the services that run what was replaced, and what is never restarted."""

import re
import subprocess

import pytest

from tendhost.server.packages.errors import ParseFailed
from tendhost.server.packages.reboot import REBOOT, parse_outdated
from tendhost.server.packages.script import Part
from tendhost.server.packages.units import by_reboot_only, parse_units, restart_command
from tendhost.server.remote.local import own_unit
from tests.tools import SHELLS
from tests.unit.engine.fake_answers import framed

OUTDATED = re.search(r"^outdated\(\) \{\n.*?^\}$", REBOOT, re.MULTILINE | re.DOTALL)


def units(state: str, failed: str = "", *, status: int = 0) -> bytes:
    return framed([("state", 0, f"{state}\n", ""), ("failed", status, failed, "")])


@pytest.mark.parametrize(
    ("state", "started"),
    [("running", True), ("degraded", True), ("starting", False), ("maintenance", False)],
)
def test_a_host_has_started_when_systemd_says_so(state: str, started: bool) -> None:
    assert parse_units(units(state)).started is started


def test_a_host_without_systemd_has_always_started() -> None:
    health = parse_units(framed([]))
    assert (health.started, health.failed) == (True, ())


@pytest.mark.parametrize(
    "answer", [units(""), units("Failed to connect to bus"), units("running", status=1)]
)
def test_a_systemctl_that_cannot_ask_is_no_word_of_health(answer: bytes) -> None:
    with pytest.raises(ParseFailed):
        parse_units(answer)


@pytest.mark.parametrize(
    "unit",
    [
        *("dbus.service", "systemd-logind.service", "user@1000.service", "getty@tty1.service"),
        *("docker.service", "containerd.service", "NetworkManager.service", "sddm.service"),
        *("wpa_supplicant@wlan0.service", "openvpn@office.service", "networking.service"),
    ],
)
def test_what_would_break_others_is_left_for_a_reboot(unit: str) -> None:
    assert by_reboot_only(unit)
    assert unit not in restart_command([unit, "nginx.service"]).change_script


@pytest.mark.parametrize("unit", ["nginx.service", "dockerish.service", "my-dbus.service"])
def test_what_only_sounds_alike_is_restarted(unit: str) -> None:
    assert not by_reboot_only(unit)
    assert unit in restart_command([unit]).change_script


MAPS = {
    "10": "7f00-7f10 r-xp 00000000 fd:00 1234                       /usr/lib/x/libssl.so.3 (deleted)",
    "11": "7f00-7f10 r-xp 00000000 fd:00 1234                       /opt/app/libfoo.so.1 (deleted)",
    "12": "7f00-7f10 r-xp 00000000 fd:00 1234                       /tmp/usr/lib/libn.so (deleted)",
    "13": "5500-5510 r-xp 00000000 fd:00 1234                       /usr/sbin/nginx (deleted)",
    "14": "7f00-7f10 r-xp 00000000 fd:00 1234                       /lib/libc.so.6 (deleted)",
    "15": "7f00-7f10 r-xp 00000000 fd:00 1234                       /usr/lib/libc.so.6",
    "16": "7f00-7f10 r-xp 00000000 fd:00 1234                       /usr/lib/libc.so.6 (deleted)",
}
CGROUPS = {
    "10": "0::/system.slice/ssh.service",
    "11": "0::/system.slice/java.service",
    "12": "0::/system.slice/netty.service",
    "13": "0::/system.slice/system-web.slice/nginx@a.service/worker",
    "14": "0::/lxc.payload.c1/system.slice/inside.service",
    "15": "0::/system.slice/current.service",
    "16": "12:pids:/system.slice/cron.service\n1:name=systemd:/system.slice/cron.service",
}


@pytest.mark.parametrize("shell", SHELLS)
def test_services_are_outdated_by_the_systems_own_files_and_on_the_host_itself(
    tmp_path, shell: tuple[str, ...]
) -> None:
    for pid, text in MAPS.items():
        (tmp_path / pid).mkdir()
        (tmp_path / pid / "maps").write_text(f"{text}\n")
        (tmp_path / pid / "cgroup").write_text(f"{CGROUPS[pid]}\n")
    assert OUTDATED is not None
    script = OUTDATED[0].replace("/proc", str(tmp_path))
    command = f'as_root() {{ "$@"; }}\n{script}\noutdated'
    done = subprocess.run([*shell, "-c", command], capture_output=True, text=True, check=True)
    found = parse_outdated(Part(0, done.stdout, ""))
    assert found == ("cron.service", "nginx@a.service", "ssh.service")


@pytest.mark.parametrize("shell", SHELLS)
def test_services__of_processes_that_only_root_may_see_are_outdated(
    tmp_path, shell: tuple[str, ...]
) -> None:
    """hidepid=2 of proc(5): another user finds no process but its own."""
    (tmp_path / "10").mkdir()
    (tmp_path / "10/maps").write_text(f"{MAPS['10']}\n")
    (tmp_path / "10/cgroup").write_text(f"{CGROUPS['10']}\n")
    assert OUTDATED is not None
    command = (
        'root=; as_root() { root=yes; "$@"; rc=$?; root=; return $rc; }\n'
        'find() { [ -z "$root" ] || command find "$@"; }\n'
        f"{OUTDATED[0].replace('/proc', str(tmp_path))}\noutdated"
    )
    done = subprocess.run([*shell, "-c", command], capture_output=True, text=True, check=True)
    assert parse_outdated(Part(0, done.stdout, "")) == ("ssh.service",)


@pytest.mark.parametrize(
    ("cgroups", "unit"),
    [
        ("0::/system.slice/tendhost.service\n", "tendhost.service"),
        ("12:pids:/\n1:name=systemd:/system.slice/a.slice/b.service/c\n", "b.service"),
        ("0::/user.slice/user-0.slice/session-1.scope\n", ""),
        ("", ""),
    ],
)
def test_the_server_knows_the_service_that_it_runs_in(cgroups: str, unit: str) -> None:
    assert own_unit(cgroups) == unit
