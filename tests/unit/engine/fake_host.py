"""A fake Debian host: packages, boots and faults in memory, and the answers that a real one would give.

What it answers has the shape of what the scripts print on a real host; test_fake_host.py holds it to
that by running the same scripts on the machine of the tests.
"""

import uuid
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from tendhost.server.clock import Clock
from tendhost.server.domain.host_errors import HostError
from tests.unit.engine.fake_command import Command, Hold
from tests.unit.engine.fake_jobs import FakeJobs

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFakeFakeFakeFakeFakeFakeFakeFakeFakeFakeFak"
OTHER_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOtherOtherOtherOtherOtherOtherOtherOthe"
DARK_TIME = timedelta(seconds=20)
CONFFILE = """\
Configuration file '/etc/{name}.conf'
 ==> Modified (by you or by a script) since installation.
 ==> Package distributor has shipped an updated version.
 ==> Keeping old config file as default.
"""
POST_INSTALL_PROBLEM = (
    "installed {name} package post-installation script subprocess returned error exit status 1"
)
POST_INSTALL_FAILED = f"""\
dpkg: error processing package {{name}} (--configure):
 {POST_INSTALL_PROBLEM}
Errors were encountered while processing:
 {{name}}
E: Sub-process /usr/bin/dpkg returned an error code (1)
"""


DPKG_DIED = "E: Sub-process /usr/bin/dpkg received a segmentation fault.\n"
UNREACHABLE = (
    "E: Failed to fetch http://deb.example.org/debian/dists/bookworm/InRelease  Could not connect\n"
)
INTERRUPTED = (
    "E: dpkg was interrupted, you must manually run 'dpkg --configure -a' to correct the problem."
)


class Rebooting(StrEnum):
    """What an order to reboot does."""

    COMES_BACK = "comes_back"
    REFUSED = "refused"
    NEVER_RETURNS = "never_returns"
    SAME_BOOT = "same_boot"
    """It answers again, and has not rebooted."""
    IGNORED = "ignored"
    """It says yes and goes on as before."""
    OTHER_KEY = "other_key"
    """It comes back as somebody else."""


@dataclass(kw_only=True)
class Pending:
    """A newer version in the archive."""

    to: str = "2.0-1"
    security: bool = False
    held: bool = False
    conffile_kept: bool = False
    breaks: bool = False
    """Its post-install script fails."""
    says: str = ""
    """Lines that its post-install script prints."""
    kills: bool = False
    """dpkg dies of a signal while it is configured, once."""
    wants_reboot: bool = False
    arrives: str = ""
    """The version that is installed in place of `to`; empty: `to`."""
    stays: bool = False
    """The upgrade succeeds and leaves it as it is."""


@dataclass(kw_only=True)
class FakeHost:
    """One host. Its fields are knobs; `ran` counts what was done to it."""

    address: str
    clock: Clock
    key: str = KEY
    further_keys: tuple[str, ...] = ()
    """Host keys of other kinds, each worse than `key`."""
    certificate: str = ""
    """The key in its certificate, which its host authority has signed; empty: it has none."""
    machine_id: str = ""
    """Its own, unless it is given one."""
    installed: dict[str, str] = field(
        default_factory=lambda: {"dpkg": "1.21", "web": "1.0-1", "db": "1.0-1"}
    )
    pending: dict[str, Pending] = field(default_factory=dict)
    interrupted: bool = False
    repairable: bool = True
    dying_repairs: int = 0
    """So many of the next repairs die of a signal."""
    unreadable: bool = False
    """dpkg's database cannot be read."""
    reboot_required: bool = False
    reboot_unreadable: bool = False
    failed_units: list[str] = field(default_factory=list)
    outdated: list[str] = field(default_factory=list)
    """Services that run what was replaced; a restart renews them."""
    fails_after_boot: list[str] = field(default_factory=list)
    free_kib: int = 10_000_000
    privileged: bool = True
    refresh_fails: bool = False
    refresh_says: str = UNREACHABLE
    """What apt-get update prints then."""
    rebooting: Rebooting = Rebooting.COMES_BACK
    reachable: bool = True
    accepts_key: bool = True
    cut_during: Command | None = None
    """The link breaks while this command runs; what it does is done all the same."""
    fails: dict[Command, list[HostError]] = field(default_factory=dict)
    """What the next of these commands end with; nothing of them is executed."""
    garbles: Command | None = None
    """This command's answer is cut off, once."""
    boot: int = 1
    dark_until: datetime | None = None
    boot_time: timedelta = DARK_TIME
    """How long a reboot takes."""
    rebooted_at: list[datetime] = field(default_factory=list)
    swallows_reboot: timedelta | None = None
    """The next order to reboot is lost with its link, and the host is out of reach for so long."""
    in_initramfs: bool = False
    """Whether its initramfs answers, with the key that the host has."""
    inhibitors: str = ""
    """What logind says of them, as busctl(1) prints it."""
    others_reboot: datetime | None = None
    """When it goes down because somebody else has ordered a reboot. Until then it refuses another order."""
    delays_reboot: timedelta | None = None
    """How long the next order is held back for somebody who delays shutdowns."""
    stopping: bool = False
    """Whether systemd says that it is on its way down."""
    mute: bool = False
    """Whether systemd cannot say whether it is on its way down."""
    hook_status: int = 0
    """With what a hook ends."""
    ran: list[Command] = field(default_factory=list)
    holds: dict[Command, Hold] = field(default_factory=dict)
    job_requests: int = 0
    cuts: int = 0

    def __post_init__(self) -> None:
        self.jobs = FakeJobs(self)
        self.machine_id = self.machine_id or uuid.uuid5(uuid.NAMESPACE_DNS, self.address).hex

    @property
    def keys(self) -> tuple[str, ...]:
        """All its host keys."""
        return (self.key, *self.further_keys)

    def cut(self) -> None:
        """Break every open connection; new ones can be made."""
        self.cuts += 1

    def hold(self, command: Command) -> Hold:
        """Have the next such command wait."""
        self.holds[command] = Hold()
        return self.holds[command]

    def count(self, command: Command) -> int:
        """How often such a command ran."""
        return self.ran.count(command)

    @property
    def answers(self) -> bool:
        """Whether anything listens at its address now."""
        if self.others_reboot is not None and self.clock.now() >= self.others_reboot:
            self.others_reboot = None
            self.reboot()
        dark = self.dark_until is not None and self.clock.now() < self.dark_until
        return self.reachable and not dark

    @property
    def boot_id(self) -> str:
        return str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{self.address}/{self.boot}"))

    def reboot(self) -> tuple[int, str]:
        """Exit status and words of the order; the host is down afterwards, or not."""
        if self.delays_reboot is not None:
            self.others_reboot = self.clock.now() + self.delays_reboot
            self.delays_reboot = None
            return 0, ""
        match self.rebooting:
            case Rebooting.REFUSED:
                return 1, "Failed to reboot: Operation inhibited\nshutdown: refused\n"
            case Rebooting.SAME_BOOT:
                self.dark_until = self.clock.now() + DARK_TIME
                return 0, ""
            case Rebooting.IGNORED:
                return 0, ""
            case Rebooting.NEVER_RETURNS:
                self.reachable = False
                return 0, ""
            case Rebooting.OTHER_KEY:
                self.key = OTHER_KEY
        self.boot += 1
        self.rebooted_at.append(self.clock.now())
        self.dark_until = self.clock.now() + self.boot_time
        self.reboot_required = False
        self.failed_units = list(self.fails_after_boot)
        return 0, ""

    def upgrade(self) -> tuple[int, str, str]:
        """Exit status, status lines and words of an upgrade."""
        if self.interrupted:
            return 100, "", f"{INTERRUPTED}\n"
        status = 0
        lines = ["dlstatus:1:100.0000:Downloading"]
        words: list[str] = []
        for name, waiting in list(self.pending.items()):
            if waiting.held or waiting.stays:
                continue
            lines.append(f"pmstatus:{name}:50.0000:Unpacking {name} (amd64)")
            lines.append(f"pmstatus:{name}:75.0000:Configuring {name} (amd64)")
            words.append(f"Setting up {name} ({waiting.to}) ...\n{waiting.says}")
            if waiting.kills:
                self.pending[name] = replace(waiting, kills=False)
                self.interrupted = True
                return 100, "\n".join(lines) + "\n", "".join((*words, DPKG_DIED))
            if waiting.conffile_kept:
                words.append(CONFFILE.format(name=name))
            if waiting.breaks:
                status = 100
                words += [f"{name}: cannot migrate\n", POST_INSTALL_FAILED.format(name=name)]
                lines.append(f"pmerror:{name}:75.0000:{POST_INSTALL_PROBLEM.format(name=name)}")
            self.installed[name] = waiting.arrives or waiting.to
            self.reboot_required |= waiting.wants_reboot
            del self.pending[name]
        return status, "\n".join(lines) + "\n", "".join(words)

    def hook(self) -> tuple[int, str, str]:
        """Exit status, status line and words of a hook."""
        return 0, f"exit {self.hook_status}", "one\n\ntwo\nthree\nfour\nfive\nsix\n"

    def repair(self) -> tuple[int, str, str]:
        """Exit status, status lines and words of the repair."""
        if self.dying_repairs:
            self.dying_repairs -= 1
            return 139, "", "Segmentation fault\n"
        self.interrupted = not self.repairable
        return (0 if self.repairable else 1), "", ""
