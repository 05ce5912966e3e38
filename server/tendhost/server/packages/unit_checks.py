"""Health checks that run on a host: scripts, and parsers of their output."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from tendhost.server.domain.policy.health_evaluation import CheckFinding
from tendhost.server.domain.shell_words import quoted
from tendhost.server.packages.bounding import parser
from tendhost.server.packages.script import framed_script, parse_parts

KILLED_AFTER = timedelta(seconds=5)
"""Beyond its time, for a command that does not heed SIGTERM."""
LONGEST_MESSAGE = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandScript:
    """How a command is run as a check."""

    script: str
    input: bytes
    """What the script reads; the command stands in no list of processes."""


def command_script(command: str, timeout: timedelta) -> CommandScript:
    """The script that ends as `command` does, or with 124 (timeout(1)) once its time is over."""
    limit = math.ceil(timeout.total_seconds())
    killed = math.ceil(KILLED_AFTER.total_seconds())
    # All of it is read before any of it runs, and it reads nothing itself.
    whole = f"{{\n{command}\n}} </dev/null\nexit\n"
    script = (
        "bounded=; ! command -v timeout >/dev/null 2>&1 ||"
        f" bounded='timeout -k {killed} {limit}'; exec $bounded sh -s"
    )
    return CommandScript(script=script, input=whole.encode())


@parser
def command_found(
    exit_status: int, output: bytes, timeout: timedelta, *, took: timedelta
) -> CheckFinding:
    """What a command's end means; `output` is all that it printed, `took` how long it ran."""
    if exit_status >= 124 and took >= timeout:
        return no_end_within(timeout)
    if exit_status == 0:
        return CheckFinding(holds=True, words="exit status 0")
    lines = [line.strip() for line in output.decode("utf-8", "replace").splitlines()]
    said = next((line for line in reversed(lines) if line), "")[:LONGEST_MESSAGE]
    return CheckFinding(holds=False, words=f"exit status {exit_status}{': ' if said else ''}{said}")


def no_end_within(timeout: timedelta) -> CheckFinding:
    """A try that was given up."""
    return CheckFinding(holds=False, words=f"no end within {timeout.total_seconds():g} s")


def active_script(units: Sequence[str]) -> str:
    """The script that asks which of these units are active."""
    names = " ".join(quoted(unit) for unit in units)
    return framed_script(f"part active systemctl is-active -- {names}")


@parser
def parse_active(output: bytes, units: Sequence[str]) -> CheckFinding:
    """Understand the output of `active_script` for the same `units`. Raises ParseFailed."""
    part = parse_parts(output, expected=("active",))["active"]
    states = part.stdout.split()
    if len(states) != len(units):
        message = part.message or f"exit status {part.status}"
        return CheckFinding(
            holds=False, words=f"systemctl cannot tell: {message[:LONGEST_MESSAGE]}"
        )
    wrong = [
        f"{unit} is {state}" for unit, state in zip(units, states, strict=True) if state != "active"
    ]
    return CheckFinding(holds=not wrong, words=", ".join(wrong) or "active")
