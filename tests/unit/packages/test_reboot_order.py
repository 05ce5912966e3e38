"""The order to reboot: what shows that a host goes down already, what refuses, and in which words.

Answers of systemctl, busctl and logind are those of systemd 252 on the Debian 12 hosts of tests/fleet; those of
shutdown(8) are sysvinit 3.06's, and those of molly-guard its version 0.7.2's.
"""

import subprocess
from pathlib import Path

import pytest

from tendhost.server.packages.boot import Boot, boot_script, parse_boot
from tendhost.server.packages.errors import ParseFailed
from tendhost.server.packages.reboot_order import (
    GoingDown,
    OrderAnswer,
    OrderResult,
    going_down_script,
    parse_going_down,
    parse_order,
    reboot_command,
)
from tests.tools import SHELLS

ID = "0b5a4f6e-3b0c-4c55-9d3e-0e2f6d1c7a11"
OTHER_ID = "0b5a4f6e-3b0c-4c55-9d3e-0e2f6d1c7a22"
BOOT = f"{ID}/42"
IN_PROGRESS = "Call to Reboot failed: There's already a shutdown or sleep operation in progress"
DELAY = (
    'a(ssssuu) 1 "shutdown:sleep" "Unattended Upgrades Shutdown"'
    ' "Stop ongoing upgrades or perform upgrades before shutdown" "delay" 0 138'
)
BLOCK = 'a(ssssuu) 2 "sleep" "UPower" "Pause" "delay" 0 90 "shutdown" "backup" "A \\"backup\\" runs" "block" 0 119'
NONE = "a(ssssuu) 0"
GOING = "131 reboot.target start waiting\n140 systemd-reboot.service start waiting\n 150 slow.service stop running"


class Machine:
    """A host in a folder, with programs that say what they are told to and write down that they were called."""

    def __init__(self, shell: tuple[str, ...], root: Path) -> None:
        self._shell, self.root = shell, root
        for folder in ("bin", "proc/1", "run/systemd/system", "etc", "lib"):
            (root / folder).mkdir(parents=True)
        self.write("proc/boot_id", f"{ID}\n")
        self.write("proc/1/stat", f"1 (init (x) y) S{' 0' * 18} 42 0\n")
        self.write("proc/mounts", "rootfs / rootfs rw 0 0\n/dev/sda1 / ext4 rw 0 0\n")
        self.program("id", "echo 0")
        self.program(
            "systemctl",
            'case $1 in is-system-running) cat "$SIM/state" ;; list-jobs) cat "$SIM/jobs" ;;'
            ' reboot) echo systemctl >>"$SIM/orders"; cat "$SIM/words" >&2; exit "$(cat "$SIM/rc")" ;; esac',
        )
        self.program(
            "busctl",
            'case $* in *PreparingForShutdown) cat "$SIM/announced" ;; *) cat "$SIM/inhibitors" ;; esac',
        )
        for name in ("shutdown", "reboot"):
            self.program(
                name, f'echo {name} >>"$SIM/orders"; cat "$SIM/words" >&2; exit "$(cat "$SIM/rc")"'
            )
        self.says()

    def says(
        self,
        *,
        state: str = "running",
        jobs: str = "",
        announced: bool = False,
        inhibitors: str = NONE,
        rc: int = 0,
        words: str = "",
    ) -> None:
        self.write("state", f"{state}\n")
        self.write("jobs", f"{jobs}\n")
        self.write("announced", "b true\n" if announced else "b false\n")
        self.write("inhibitors", f"{inhibitors}\n")
        self.write("rc", f"{rc}\n")
        self.write("words", f"{words}\n")

    def write(self, path: str, text: str) -> None:
        (self.root / path).write_text(text)

    def program(self, name: str, script: str) -> None:
        path = self.root / "bin" / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def run(self, script: str) -> bytes:
        for path, own in {
            "/proc/sys/kernel/random/boot_id": "proc/boot_id",
            "/proc/1/stat": "proc/1/stat",
            "/proc/mounts": "proc/mounts",
            "/run/": "run/",
            "/etc/initrd-release": "etc/initrd-release",
            "/usr/lib/molly-guard": "lib/no-molly-guard",
            "/lib/molly-guard": "lib/molly-guard",
        }.items():
            script = script.replace(path, f"{self.root}/{own}")
        tools = self.root / "tools"
        if not tools.exists():
            tools.mkdir()
            for name in ("cat", "sed", "cut", "grep", "sh"):
                (tools / name).symlink_to(
                    f"/bin/{name}" if Path(f"/bin/{name}").exists() else f"/usr/bin/{name}"
                )
        shell = [str(Path("/bin") / self._shell[0]), *self._shell[1:]]
        environment = {"PATH": f"{self.root}/bin:{tools}", "SIM": str(self.root)}
        return subprocess.run(
            [*shell, "-c", script], capture_output=True, check=True, env=environment
        ).stdout

    def order(self, boot: str = BOOT) -> OrderAnswer:
        return parse_order(self.run(reboot_command(boot).change_script))

    @property
    def orders(self) -> list[str]:
        path = self.root / "orders"
        return path.read_text().split() if path.exists() else []


@pytest.fixture(params=SHELLS)
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Machine:
    return Machine(request.param, tmp_path)


def test_order__is_given_once_to_the_boot_that_it_is_for(machine: Machine) -> None:
    machine.says(inhibitors=DELAY)
    assert machine.order().result is OrderResult.GIVEN
    assert machine.orders == ["systemctl"]


@pytest.mark.parametrize("boot", [f"{OTHER_ID}/42", f"{ID}/43", f"{OTHER_ID}/"])
def test_order__for_another_boot_does_nothing(machine: Machine, boot: str) -> None:
    assert machine.order(boot).result is OrderResult.OTHER_BOOT
    assert machine.orders == []


def test_order__whose_boot_was_read_with_less_rights_is_given(machine: Machine) -> None:
    assert machine.order(f"{ID}/").result is OrderResult.GIVEN
    (machine.root / "proc/1/stat").unlink()
    assert machine.order(BOOT).result is OrderResult.GIVEN


@pytest.mark.parametrize(
    ("says", "words"),
    [
        (
            {"jobs": GOING},
            "it is on its way down (reboot.target) and waits for slow.service to stop",
        ),
        ({"jobs": "7 poweroff.target start waiting"}, "it is on its way down (poweroff.target)"),
        ({"state": "stopping"}, "it is on its way down"),
        (
            {"announced": True, "inhibitors": DELAY},
            "it is on its way down (a shutdown) and waits for Unattended Upgrades Shutdown (Stop ongoing"
            " upgrades or perform upgrades before shutdown)",
        ),
    ],
)
def test_order__to_a_host_on_its_way_down_is_not_given(
    machine: Machine, says: dict[str, object], words: str
) -> None:
    machine.says(**says)  # type: ignore[arg-type]
    answer = machine.order()
    assert (answer.result, answer.words) == (OrderResult.UNDER_WAY, words)
    assert machine.orders == []


@pytest.mark.parametrize(
    "jobs",
    ["7 reboot.target stop waiting", "7 reboot.timer start waiting", "7 web.service stop running"],
)
def test_order__to_a_host_with_other_jobs_is_given(machine: Machine, jobs: str) -> None:
    machine.says(jobs=jobs)
    assert machine.order().result is OrderResult.GIVEN


@pytest.mark.parametrize(
    "said",
    [
        IN_PROGRESS,
        "Failed to reboot system via logind: There's already a shutdown or sleep operation in progress",
        "Failed to start reboot.target: Transaction for reboot.target/start is destructive (x.target has"
        " 'start' job queued, but 'stop' is included in transaction).",
        "shutdown: already running.",
    ],
)
def test_order__that_is_refused_for_another_one_is_under_way(machine: Machine, said: str) -> None:
    machine.says(rc=1, words=said)
    assert machine.order().result is OrderResult.UNDER_WAY
    assert machine.orders == ["systemctl"]


def test_order__that_somebody_blocks_is_refused_with_the_name(machine: Machine) -> None:
    machine.says(inhibitors=BLOCK)
    answer = machine.order()
    assert answer.result is OrderResult.REFUSED
    assert answer.words == 'a shutdown is blocked by backup (A \\"backup\\" runs)'
    assert machine.orders == []


def test_order__that_systemd_refuses_is_not_given_by_another_command(machine: Machine) -> None:
    machine.says(rc=1, words="Failed to reboot: Access denied")
    answer = machine.order()
    assert (answer.result, answer.words) == (
        OrderResult.REFUSED,
        "Failed to reboot: Access denied",
    )
    assert machine.orders == ["systemctl"]


@pytest.mark.parametrize("programs", [["shutdown", "reboot"], ["reboot"]])
def test_order__without_systemd_is_one_command(machine: Machine, programs: list[str]) -> None:
    (machine.root / "run/systemd/system").rmdir()
    for name in {"systemctl", "shutdown", "reboot"} - set(programs):
        (machine.root / "bin" / name).unlink()
    assert machine.order().result is OrderResult.GIVEN
    assert machine.orders == programs[:1]


def test_order__that_molly_guard_refuses_says_so_by_name(machine: Machine) -> None:
    (machine.root / "lib/molly-guard").mkdir()
    machine.write("lib/molly-guard/molly-guard", "")
    machine.says(rc=1, words="W: aborting shutdown due to 40-backup exiting with code 1.")
    answer = machine.order()
    assert answer.result is OrderResult.REFUSED
    assert answer.words == (
        "molly-guard: W: aborting shutdown due to 40-backup exiting with code 1."
    )
    assert machine.orders == ["shutdown"]


def test_going_down__is_nothing_on_a_host_that_runs(machine: Machine) -> None:
    found = parse_going_down(machine.run(going_down_script()))
    assert found == GoingDown()
    assert not found
    assert found.words == ""


NO_BUS = "echo 'Failed to connect to bus: No such file or directory' >&2; exit 1"
"""A systemctl or busctl after dbus was stopped; systemctl prints nothing on its output then."""
RUNS = 'case $1 in is-system-running) cat "$SIM/state" ;; list-jobs) cat "$SIM/jobs" ;; esac'


@pytest.mark.parametrize(
    ("program", "script"),
    [
        ("systemctl", NO_BUS),
        ("systemctl", "case $1 in is-system-running) echo unknown; exit 1 ;; esac"),
        ("systemctl", "case $1 in is-system-running) echo offline; exit 1 ;; esac"),
        ("systemctl", f"case $1 in is-system-running) echo running ;; *) {NO_BUS} ;; esac"),
        ("busctl", NO_BUS),
        ("busctl", ":"),
    ],
)
def test_going_down__that_cannot_be_asked_is_unknown(
    machine: Machine, program: str, script: str
) -> None:
    machine.program(program, script)
    output = machine.run(going_down_script())
    with pytest.raises(ParseFailed):
        parse_going_down(output)


def test_going_down__is_known_of_a_host_that_says_so_in_part(machine: Machine) -> None:
    machine.program("busctl", NO_BUS)
    machine.says(state="stopping")
    assert parse_going_down(machine.run(going_down_script()))


def test_going_down__needs_no_logind_on_a_host_that_runs_none(machine: Machine) -> None:
    machine.program("busctl", NO_BUS)
    machine.program("systemctl", f"[ $1 != is-active ] || exit 3; {RUNS}")
    assert parse_going_down(machine.run(going_down_script())) == GoingDown()


@pytest.mark.parametrize("state", ["initializing", "starting", "degraded", "maintenance"])
def test_going_down__is_nothing_in_every_state_of_a_host_that_runs(
    machine: Machine, state: str
) -> None:
    machine.says(state=state)
    assert parse_going_down(machine.run(going_down_script())) == GoingDown()


def test_order__is_given_to_a_host_that_cannot_say_whether_it_goes_down(machine: Machine) -> None:
    machine.program("busctl", NO_BUS)
    assert machine.order().result is OrderResult.GIVEN
    assert machine.orders == ["systemctl"]


@pytest.mark.parametrize("kind", ["runlevel", "openrc"])
@pytest.mark.parametrize("stops", [True, False])
def test_going_down__without_systemd(machine: Machine, kind: str, stops: bool) -> None:
    (machine.root / "run/systemd/system").rmdir()
    if kind == "runlevel":
        machine.program("runlevel", f"echo 'N {6 if stops else 2}'")
    else:
        (machine.root / "run/openrc").mkdir()
        machine.write("run/openrc/softlevel", "shutdown\n" if stops else "default\n")
    assert bool(parse_going_down(machine.run(going_down_script()))) is stops


def test_boot__in_the_initramfs_is_told_from_the_system(machine: Machine) -> None:
    assert not parse_boot(machine.run(boot_script())).in_initramfs
    machine.write("proc/mounts", "rootfs / rootfs rw 0 0\nproc /proc proc rw 0 0\n")
    assert parse_boot(machine.run(boot_script())).in_initramfs
    machine.write("proc/mounts", "/dev/sda1 / ext4 rw 0 0\n")
    machine.write("etc/initrd-release", "ID=dracut\n")
    assert parse_boot(machine.run(boot_script())).in_initramfs


def test_boot__that_hides_process_1_is_read_as_root(machine: Machine) -> None:
    # hidepid=2 of proc(5): for anybody but root there is no /proc/1.
    hidden = (machine.root / "proc/1/stat").read_text()
    (machine.root / "proc/1/stat").unlink()
    machine.program("id", "echo 1000")
    wanted = f'-n -- sh -c LC_ALL=C "$@" sh cat {machine.root}/proc/1/stat'
    machine.write("wanted", wanted)
    machine.write("hidden", hidden)
    machine.program("sudo", '[ "$*" = "$(cat "$SIM/wanted")" ] && cat "$SIM/hidden"')
    assert str(parse_boot(machine.run(boot_script()))) == BOOT


@pytest.mark.parametrize(
    ("before", "now", "another"),
    [
        ("a/1", Boot(id="a", init_started="1"), False),
        ("a/1", Boot(id="b", init_started="1"), True),
        ("a/1", Boot(id="a", init_started="2"), True),
        ("a/1", Boot(id="a", init_started=""), False),
        ("a/", Boot(id="a", init_started="2"), False),
        ("a/", Boot(id="b", init_started=""), True),
    ],
)
def test_boot__that_is_not_known_as_a_whole_is_no_other_one(
    before: str, now: Boot, another: bool
) -> None:
    assert now.is_after(before) is another


def test_order__to_a_host_without_any_command_for_it_is_refused(machine: Machine) -> None:
    for name in ("systemctl", "shutdown", "reboot", "busctl"):
        (machine.root / "bin" / name).unlink()
    answer = machine.order()
    assert answer.result is OrderResult.REFUSED
    assert "not found" in answer.words
