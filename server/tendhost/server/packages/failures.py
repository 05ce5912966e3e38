"""Why a package manager failed: kinds of failures, and what the parsers of all of them share."""

import re
from dataclasses import dataclass
from enum import StrEnum


class FailureKind(StrEnum):
    """What kind of failure it is."""

    LOCK_HELD = "lock_held"
    INTERRUPTED = "interrupted"
    """The package manager was cut off before, and has to be repaired first."""
    DATABASE_UNREADABLE = "database_unreadable"
    REINSTALL_IMPOSSIBLE = "reinstall_impossible"
    """A half installed package is in no archive any more."""
    SCRIPT_FAILED = "script_failed"
    """A maintainer script of a package failed."""
    DISK_FULL = "disk_full"
    UNMET_DEPENDENCIES = "unmet_dependencies"
    HASH_MISMATCH = "hash_mismatch"
    FETCH_FAILED = "fetch_failed"
    NOT_PRIVILEGED = "not_privileged"
    HOOK_FAILED = "hook_failed"
    """A command that the package manager's configuration has it run failed."""
    CONFFILE_PROMPT = "conffile_prompt"
    """The package manager asked a person about a configuration file."""
    KILLED = "killed"
    OTHER = "other"


TRANSIENT = frozenset({FailureKind.LOCK_HELD, FailureKind.HASH_MISMATCH, FailureKind.FETCH_FAILED})
"""The kinds that pass by themselves: another process, the network, an archive under way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageFailure:
    """Why the package manager failed."""

    kind: FailureKind
    reason: str
    """One line, mostly as the package manager prints it."""
    packages: tuple[str, ...] = ()
    """The packages at fault, where it names them."""
    began: bool = False
    """Whether packages had been changed by then, and their scripts had run."""

    @property
    def interrupted(self) -> bool:
        """Whether the package manager was cut off, and left what a repair can finish."""
        return self.kind in (FailureKind.KILLED, FailureKind.INTERRUPTED)

    @property
    def transient(self) -> bool:
        """Whether a later try may succeed without anybody touching the host.

        Never once packages were changed: a later try runs their scripts again.
        """
        return self.kind in TRANSIENT and not self.began


@dataclass(frozen=True, slots=True, kw_only=True)
class LockHolder:
    """A lock of the package manager and who holds it."""

    path: str
    pid: int = 0
    """0 where it could not be told."""
    command: str = ""


LAST_SIGNAL = 64
"""The last of the real-time signals of signal(7)."""


def killed_by_signal(exit_status: int) -> PackageFailure | None:
    """The failure of a command that a signal ended, whatever it printed before; None: it ended by itself.

    Its exit status is 128 and the number of the signal then, as sh(1) has it.
    """
    if not 128 < exit_status <= 128 + LAST_SIGNAL:
        return None
    reason = f"killed by signal {exit_status - 128}"
    return PackageFailure(kind=FailureKind.KILLED, reason=reason)


LONGEST_REASON = 500
"""Characters of a reason, which is shown as one line."""


def line_signs(*signs: tuple[FailureKind, str]) -> tuple[tuple[FailureKind, re.Pattern[str]], ...]:
    """A table of the kinds of failures with the patterns that tell them, each made to match its line."""
    return tuple(
        (kind, re.compile(rf"^.*(?:{pattern}).*$", re.MULTILINE)) for kind, pattern in signs
    )


def one_line(text: str) -> str:
    """The text as one line of at most LONGEST_REASON characters."""
    return " ".join(text.split())[:LONGEST_REASON]
