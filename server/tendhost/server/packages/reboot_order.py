"""The order to reboot a host, and what shows that a host is on its way down and what it waits for.

A host that is on its way down already gets no order: systemd refuses a second one ("There's already a shutdown or
sleep operation in progress"), and what somebody else has begun is theirs to end.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from tendhost.server.domain.abbreviation import abbreviated
from tendhost.server.domain.operations.permission import ChangeKind, ChangingCommand
from tendhost.server.packages.boot import same_boot
from tendhost.server.packages.bounding import parser
from tendhost.server.packages.errors import ParseFailed
from tendhost.server.packages.script import Part, framed_script, parse_parts

MOST_NAMED = 3
"""Units and inhibitors that a message names."""

# systemd: the jobs of systemctl(1), and by org.freedesktop.login1(5) the shutdown that logind has announced and
# holds back for those who delay it, and all inhibitors: what systemd-inhibit(1) prints depends on its version.
# Others: runlevel(8), and the state file of OpenRC. A shutdown stops dbus early: from then on neither systemctl of a
# user nor busctl has an answer, which is not to say that the host stays up. One without logind has announced nothing.
_GOING_DOWN = r"""
logind() {
  busctl --system "$1" org.freedesktop.login1 /org/freedesktop/login1 org.freedesktop.login1.Manager "$2"
}
going_down() {
  if [ -d /run/systemd/system ]; then
    case $(systemctl is-system-running) in
      stopping) echo stopping ;;
      initializing | starting | running | degraded | maintenance) ;;
      *) echo unknown ;;
    esac
    { systemctl list-jobs --no-legend --plain --no-pager || echo unknown; } | sed -n -e '/^unknown$/p' \
      -e 's/^ *[0-9][0-9]*  *\([^ ]*\)  *\([^ ]*\)  *\([^ ]*\) *$/job \1 \2 \3/p'
    case $(logind get-property PreparingForShutdown) in
      'b true') echo announced ;;
      'b false') ;;
      *) ! systemctl is-active --quiet systemd-logind.service || echo unknown ;;
    esac
    logind call ListInhibitors
  elif command -v runlevel >/dev/null; then
    case $(runlevel) in *' 0' | *' 6') echo stopping ;; esac
  elif [ -r /run/openrc/softlevel ]; then
    case $(cat /run/openrc/softlevel) in shutdown | reboot) echo stopping ;; esac
  fi
  :
}
"""
_ORDER = r"""
molly() { [ -e /lib/molly-guard/molly-guard ] || [ -e /usr/lib/molly-guard/molly-guard ]; }
order() {
  # molly-guard(8) is asked where there is one, and no refusal is gone around: not by another command either.
  if ! molly && command -v systemctl >/dev/null; then
    systemctl reboot; rc=$?
    { [ $rc != 0 ] && [ ! -d /run/systemd/system ]; } || return $rc
  fi
  if command -v shutdown >/dev/null; then shutdown -r now; else reboot; fi
}
prevented() {
  printf '%s\n' "$out" | grep -qE \
    -e '^(stopping|announced)$' \
    -e '^job (reboot|poweroff|halt|kexec|soft-reboot|exit)[.]target start ' \
    -e '"([a-z-]*:)*shutdown(:[a-z-]*)*" "([^"\\]|\\.)*" "([^"\\]|\\.)*" "block" '
}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inhibitor:
    """Who holds a shutdown back, and why."""

    who: str
    why: str
    blocks: bool
    """Whether it forbids the shutdown. Another one delays it for a time that logind bounds (logind.conf(5))."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GoingDown:
    """What shows whether a host is on its way down."""

    stopping: bool = False
    announced: bool = False
    """Whether logind has announced a shutdown and waits for those who delay it."""
    target: str = ""
    """The target that systemd has begun to reach: "reboot.target"."""
    stopped: tuple[str, ...] = ()
    """The units that systemd is stopping at present."""
    inhibitors: tuple[Inhibitor, ...] = ()

    def __bool__(self) -> bool:
        return self.stopping or self.announced or bool(self.target)

    @property
    def blockers(self) -> tuple[Inhibitor, ...]:
        """Those who forbid a shutdown."""
        return tuple(each for each in self.inhibitors if each.blocks)

    @property
    def words(self) -> str:
        """What the host waits for, as an end of a sentence; empty if nothing is known."""
        if not self:
            return ""
        what = self.target or ("a shutdown" if self.announced else "")
        found = [f"it is on its way down ({what})" if what else "it is on its way down"]
        if self.stopped:
            stopped = abbreviated(self.stopped, most=MOST_NAMED)
            found.append(f"and waits for {stopped} to stop")
        elif self.announced and self.inhibitors:
            held = abbreviated(_holders(self.inhibitors), most=MOST_NAMED)
            found.append(f"and waits for {held}")
        return " ".join(found)


def _holders(inhibitors: Iterable[Inhibitor]) -> list[str]:
    return [f"{each.who} ({each.why})" for each in inhibitors]


class OrderResult(StrEnum):
    """What became of an order to reboot."""

    GIVEN = "given"
    OTHER_BOOT = "other_boot"
    """The host runs another boot already, so nothing was ordered."""
    UNDER_WAY = "under_way"
    """The host was on its way down already."""
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderAnswer:
    """What a host answered to an order to reboot."""

    result: OrderResult
    words: str = ""
    """Why it refused, or what is under way."""
    exit_status: int = 0
    """Of a command that refused; 0: none was given, for somebody blocks it."""


def going_down_script() -> str:
    """The script that asks whether the host is on its way down. It changes nothing, and needs no root."""
    return framed_script(_GOING_DOWN, "part going_down going_down")


def reboot_command(boot: str) -> ChangingCommand:
    """The order to reboot a host that still runs `boot`; one that runs another does nothing.

    So it can be given any number of times, and the host reboots once. It returns before the host goes
    down, or the link drops under it.
    """
    lines = (
        same_boot(boot),
        _GOING_DOWN,
        _ORDER,
        "if same_boot; then",
        "part before going_down",
        "if ! prevented; then",
        "part order order",
        "if [ $rc != 0 ]; then ! molly || part molly echo; part after going_down; fi",
        "fi; fi",
    )
    return ChangingCommand(
        kind=ChangeKind.REBOOT, change_script=framed_script(*lines), privileged=True
    )


@parser
def parse_going_down(output: bytes) -> GoingDown:
    """Understand the output of `going_down_script`.

    Raises PartMissing, and ParseFailed for a host that cannot be asked: it may be on its way down.
    """
    part = parse_parts(output, expected=("going_down",))["going_down"]
    found = _going_down(part)
    if not found and "unknown" in part.stdout.split("\n"):
        raise ParseFailed(part="going_down", line=part.message or "unknown")
    return found


@parser
def parse_order(output: bytes) -> OrderAnswer:
    """Understand the output of `reboot_command`. Raises PartMissing where it was cut off."""
    parts = parse_parts(output, expected=())
    if "before" not in parts:
        return OrderAnswer(result=OrderResult.OTHER_BOOT)
    before = _going_down(parts["before"])
    if "order" not in parts:
        if before:
            return OrderAnswer(result=OrderResult.UNDER_WAY, words=before.words)
        held = abbreviated(_holders(before.blockers), most=MOST_NAMED)
        return OrderAnswer(result=OrderResult.REFUSED, words=f"a shutdown is blocked by {held}")
    order = parts["order"]
    # 255 is what ssh itself, and a command that is killed on the way down, end with.
    if order.status == 0 or order.status >= 128:
        return OrderAnswer(result=OrderResult.GIVEN)
    after = _going_down(parts["after"]) if "after" in parts else GoingDown()
    lines = [line for line in f"{order.stdout}\n{order.stderr}".split("\n") if line.strip()]
    said = " ".join(lines[-1].split()) if lines else "the command printed no message"
    guard = "molly-guard: " if "molly" in parts else ""
    if after or _UNDER_WAY.search(order.stderr):
        return OrderAnswer(result=OrderResult.UNDER_WAY, words=after.words or said)
    return OrderAnswer(result=OrderResult.REFUSED, words=f"{guard}{said}", exit_status=order.status)


_UNDER_WAY = re.compile(
    r"already a shutdown|operation (?:is )?(?:already )?in progress|shutdown: already running"
    r"|Transaction (?:for \S+ )?is destructive",
    re.IGNORECASE,
)
"""What systemctl(1) and shutdown(8) of sysvinit say of a second order."""
_JOB = re.compile(r"job (\S+) (\S+) (\S+)\Z")
_DOWN_TARGET = re.compile(r"(?:reboot|poweroff|halt|kexec|soft-reboot|exit)\.target\Z")
_QUOTED = r'"((?:[^"\\]|\\.)*)"'
_INHIBITOR = re.compile(rf"{_QUOTED} {_QUOTED} {_QUOTED} {_QUOTED} \d+ \d+")
"""One of ListInhibitors, as busctl(1) prints them: what, who, why, mode, uid, pid."""


def _going_down(part: Part) -> GoingDown:
    stopping = announced = False
    target, stopped = "", []
    inhibitors = []
    for line in part.stdout.split("\n"):
        stopping |= line == "stopping"
        announced |= line == "announced"
        if (job := _JOB.match(line)) and job[2] == "start" and _DOWN_TARGET.match(job[1]):
            target = job[1]
        elif job and (job[2], job[3]) == ("stop", "running"):
            stopped.append(job[1])
        for what, who, why, mode in _INHIBITOR.findall(line):
            if "shutdown" in what.split(":"):
                inhibitors.append(Inhibitor(who=who, why=why, blocks=mode == "block"))
    return GoingDown(
        stopping=stopping,
        announced=announced,
        target=target,
        stopped=tuple(stopped),
        inhibitors=tuple(inhibitors),
    )
