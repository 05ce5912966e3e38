"""What a host is made ready with before a run, and what it says of the run afterwards."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.fleet import Host

ALWAYS = ("tb-simple", "tb-slow", "tb-conf")
REBOOTING = "tb-kernel"
OLD, NEW = "1.0-1", "2.0-1"

# The packages as they were, for `dpkg -i` between two runs: a twentieth of what a new fleet takes.
FETCH_OLD = f"""
mkdir -p /root/v1 && cd /root/v1 && apt-get -qq update &&
apt-get -qq download {" ".join((*ALWAYS, REBOOTING))}
"""

# Links keep what a job printed when its folder goes, and survive it in /root; a job that appears again
# under the same name is another file, so it is kept beside the first.
KEEP_LOGS = """[Unit]
Description=Keep what jobs print
[Service]
ExecStart=/root/keep-logs
[Install]
WantedBy=multi-user.target
"""
# In Perl, which each Debian has: a shell that starts `sleep` twenty times a second costs as much as the updates.
KEEPER = r"""#!/usr/bin/perl
use strict;
while (1) {
  for my $log (glob "/var/lib/tendhost/ops/*/*/log") {
    my ($operation, $job) = $log =~ m{([^/]+)/([^/]+)/log$};
    my ($device, $inode) = stat $log or next;
    next if $job =~ /\.new$/;
    my ($kept, $n) = ("/root/kept/$operation", 1);
    mkdir "/root/kept"; mkdir $kept;
    my @there;
    while (@there = stat "$kept/$job.$n") {
      last if $there[0] == $device and $there[1] == $inode;
      $n++;
    }
    link $log, "$kept/$job.$n" unless @there;
  }
  select undef, undef, undef, 0.05;
}
"""

# A changed conffile is what a package manager would ask about.
END = 32_768
BOTH_ENDS = f"""
  size=$(stat -c %s "$log") left=0
  [ "$size" -lt {32 << 20} ] || left=$((size - {2 * END}))
  echo "$log $left $(
    if [ $left = 0 ]; then cat "$log"; else head -c {END} "$log"; tail -c {END} "$log"; fi | base64 -w0
  )"
"""

PUT_BACK = """
rm -rf /var/lib/tendhost /root/kept /run/reboot-required /run/reboot-required.pkgs
rm -f /var/cache/apt/archives/*.deb /run/tb-slow-running /run/held
[ {rebooting} = yes ] || dpkg --purge tb-kernel || exit 1
cd /root/v1 && dpkg --force-downgrade,confnew,confmiss -i {files} || exit 1
echo local=yes >>/etc/tb-conf.conf
echo {slow_seconds} >/etc/tb-slow-seconds
: >/var/log/tb-transactions && : >/var/log/dpkg.log
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptLog:
    """What one job printed."""

    job: str
    """Its name and, where it was there more than once, which of them: apply-1.1."""
    text: bytes
    left_out: int = 0
    """Of a very long one, so many bytes between two ENDs."""

    @property
    def kind(self) -> str:
        """What kind of job: apply or repair."""
        return self.job.partition("-")[0]

    @property
    def order(self) -> tuple[int, ...]:
        """Jobs of an operation are numbered in the order in which they are begun."""
        return tuple(int(number) for number in self.job.rpartition("-")[2].split("."))


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What a host says of a run, past sshd and network."""

    begun: Sequence[str]
    """A line `NAME VERSION` for each post-install that was begun."""
    finished: Sequence[str]
    """Likewise for each that dpkg recorded as installed."""
    versions: Sequence[str]
    """A line `NAME VERSION` for each package."""
    logs: Mapping[str, Sequence[KeptLog]]
    """What jobs printed, by operation, in the order in which they were begun."""
    boots: int
    conffile_kept: bool
    """Whether the conffile is still as it was changed before the run."""
    audit: str
    """What dpkg finds unfinished."""


def packages(*, rebooting: bool) -> tuple[str, ...]:
    """Those that an update of the host is to bring to the new version."""
    return (*ALWAYS, REBOOTING) if rebooting else ALWAYS


def prepare(host: Host) -> None:
    """Make a new host ready for all of its runs."""
    host.publish("v1")
    host.run(FETCH_OLD, check=True)
    host.publish("v2")
    host.run("cat >/root/keep-logs && chmod 755 /root/keep-logs", input=KEEPER, check=True)
    host.run("cat >/etc/systemd/system/keep-logs.service", input=KEEP_LOGS, check=True)
    host.run("systemctl -q enable --now keep-logs", check=True)


def put_back(host: Host, *, rebooting: bool, slow_seconds: int) -> None:
    """Give the host the old versions again, and forget the run before."""
    files = " ".join(f"{name}_{OLD}_all.deb" for name in packages(rebooting=rebooting))
    words = "yes" if rebooting else "no"
    script = PUT_BACK.format(rebooting=words, files=files, slow_seconds=slow_seconds)
    host.run(script, check=True)


def truth(host: Host) -> Truth:
    """Ask the host."""
    logs: dict[str, list[KeptLog]] = {}
    kept = host.output(f"cd /root/kept 2>/dev/null || exit 0; for log in */*; do {BOTH_ENDS} done")
    for line in kept.splitlines():
        name, left_out, text = line.split(" ")
        operation, _, job = name.partition("/")
        kept_log = KeptLog(job=job, text=base64.b64decode(text), left_out=int(left_out))
        logs.setdefault(operation, []).append(kept_log)
    installed = host.output(
        "sed -n 's/.* status installed \\([^:]*\\):[^ ]* /\\1 /p' /var/log/dpkg.log"
    )
    return Truth(
        begun=host.transactions(),
        finished=installed.splitlines(),
        versions=sorted(host.output("dpkg-query -W -f '${Package} ${Version}\\n'").splitlines()),
        logs={id: sorted(group, key=lambda log: log.order) for id, group in logs.items()},
        boots=host.boot_count,
        conffile_kept=host.run("grep -qx local=yes /etc/tb-conf.conf").returncode == 0,
        audit=host.output("dpkg --audit"),
    )
